"""flow.dispatch.workgroups: what a grid of workgroups reads, updates and makes, and how it loads and stores that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from iree.compiler import ir
from iree.compiler.dialects import flow, iree_tensor_ext

from dlas_mlir.codegen import build

_DYNAMIC = ir.ShapedType.get_dynamic_size()
# What the body of a dispatch gets: the arguments for what is read, and for each result the one it is stored to.
Body = Callable[[list[ir.Value], list[ir.Value]], None]
# IREE's default CPU pipeline, as far as it does anything to our kernels, for those that name a buffer. The first pass
# is no part of that: arguments have a memory space there until tensors have become buffers, and a buffer that was named
# before has none, so that it would be a copy.
_PIPELINE = (
    "iree-codegen-erase-hal-descriptor-type-from-memref",
    "iree-eliminate-empty-tensors",
    "empty-tensor-to-alloc-tensor",
    "iree-codegen-iree-comprehensive-bufferize",
    "iree-codegen-inject-assume-alignment",
    "resolve-shaped-type-result-dims",
    "iree-codegen-canonicalize",
    "cse",
    "iree-codegen-canonicalize",
    "iree-codegen-cleanup-buffer-alloc-view",
)


def dispatch(
    grid: Sequence[int],
    reads: Sequence[ir.Value],
    results: Sequence[ir.Type],
    updates: Sequence[ir.Value | None],
    body: Body,
) -> ir.Operation:
    """A dispatch of `grid` workgroups (the fastest dimension first, at most three) over `reads`. `updates` holds for
    each result the buffer that it updates, which is none of `reads`; None for a fresh one. An error of `body` leaves
    nothing behind."""
    updated = [value for value in updates if value is not None]
    operands = [*reads, *updated]
    ties = [-1 if value is None else operands.index(value) for value in updates]
    index = ir.IndexType.get()
    tied = ir.ArrayAttr.get([ir.IntegerAttr.get(index, tie) for tie in ties])
    op = flow.DispatchWorkgroupsOp(results, [], operands, [], [], tied_operands=tied).operation
    fresh = [kind for kind, value in zip(results, updates, strict=True) if value is None]
    kinds = [_argument("readonly", value.type) for value in reads]
    kinds += [_argument("readwrite", value.type) for value in updated]
    kinds += [_argument("writeonly", kind) for kind in fresh]
    block = op.regions[0].blocks.append(*kinds, arg_locs=[ir.Location.unknown()] * len(kinds))
    try:
        with ir.InsertionPoint(op.regions[1].blocks.append()):
            flow.return_([build.index(count) for count in (*grid, 1, 1, 1)[:3]])
        with ir.InsertionPoint(block):
            arguments = list(block.arguments)
            body(arguments[: len(reads)], _targets(arguments[len(reads) :], updates))
            flow.return_([])
    except Exception:
        op.erase()
        raise
    return op


def _argument(access: str, kind: ir.Type) -> ir.Type:
    return ir.Type.parse(f"!iree_tensor_ext.dispatch.tensor<{access}:{kind}>")


def _targets(arguments: list[ir.Value], updates: Sequence[ir.Value | None]) -> list[ir.Value]:
    """The argument that each result is stored to: those that are updated come first."""
    rest = iter(arguments)
    found = {place: next(rest) for place, value in enumerate(updates) if value is not None}
    found |= {place: next(rest) for place, value in enumerate(updates) if value is None}
    return [found[place] for place in range(len(updates))]


def workgroup_id(dimension: int) -> ir.Value:
    """Which workgroup this is along a dimension of the grid."""
    index = ir.IndexType.get()
    return flow.dispatch_workgroup_id(ir.IntegerAttr.get(index, dimension), results=[index])


def load(argument: ir.Value, kind: ir.Type) -> ir.Value:
    """All of a tensor of type `kind`."""
    shape = list(ir.RankedTensorType(kind).shape)
    zeros, ones = [0] * len(shape), [1] * len(shape)
    return iree_tensor_ext.dispatch_tensor_load(kind, argument, [], [], [], [], zeros, shape, ones)


def buffer_of(tensor: ir.Value) -> ir.Value:
    """The memory of an argument that was loaded, for what tensors cannot say; it is not to be written. At most one in a
    kernel."""
    kind = ir.RankedTensorType(tensor.type)
    strides = [math.prod(kind.shape[place + 1 :]) for place in range(kind.rank)]
    layout = ir.StridedLayoutAttr.get(ir.ShapedType.get_dynamic_stride_or_offset(), strides)
    pipeline = f'#iree_codegen.pass_pipeline<"{",".join(_PIPELINE)}">'
    info = (
        "#iree_codegen.compilation_info<lowering_config = #iree_cpu.lowering_config<distribution = [0]>, "
        f"translation_info = #iree_codegen.translation_info<pipeline = {pipeline}>>"
    )
    marks = {"read_only": ir.UnitAttr.get(), "compilation_info": ir.Attribute.parse(info)}
    results = [ir.MemRefType.get(kind.shape, kind.element_type, layout)]
    return ir.Operation.create("bufferization.to_buffer", results, [tensor], marks).result


def store(tile: ir.Value, target: ir.Value, offsets: Sequence[int | ir.Value]) -> None:
    """Store `tile` to `target` at `offsets`."""
    shape = list(ir.RankedTensorType(tile.type).shape)
    dynamic = [offset for offset in offsets if not isinstance(offset, int)]
    static = [offset if isinstance(offset, int) else _DYNAMIC for offset in offsets]
    iree_tensor_ext.dispatch_tensor_store(tile, target, [], dynamic, [], [], static, shape, [1] * len(shape))
