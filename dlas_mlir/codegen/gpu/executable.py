"""The executable around a kernel that addresses memory by itself, and the dispatch that runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import flow, hal

from dlas_mlir.codegen import build
from dlas_mlir.codegen.gpu import machine

_READ, _WRITE = "#hal.pipeline.binding<storage_buffer, ReadOnly>", "#hal.pipeline.binding<storage_buffer>"
_READ_ONLY = 1
# What a kernel gets: pointers to what it reads, and to where each result is.
Body = Callable[[list[ir.Value], list[ir.Value]], None]


@dataclass(frozen=True)
class Launch:
    """How a kernel is launched: workgroups along three dimensions, threads of each, and workgroups of a cluster along
    the last dimension. `beside`: how many workgroups of it a multiprocessor must have registers for; 0: that is up to
    NVIDIA's assembler, which may take so few that some are kept in memory."""

    grid: tuple[int, int, int]
    threads: int
    cluster: int = 1
    beside: int = 0


@dataclass(frozen=True)
class Binding:
    """A tensor that a kernel is given: read, or (`written`) updated or made."""

    kind: ir.Type
    written: bool

    def pointer(self, number: int, layout: ir.Attribute) -> ir.Value:
        """Where it begins."""
        tensor = ir.RankedTensorType(self.kind)
        space = ir.Attribute.parse("#hal.descriptor_type<storage_buffer>")
        kind = ir.MemRefType.get([math.prod(tensor.shape)], tensor.element_type, memory_space=space)
        flags = None if self.written else ir.IntegerAttr.get(machine.i32(), _READ_ONLY)
        place = hal.interface_binding_subspan(
            kind, layout, number, [], byte_offset=build.index(0), alignment=64, descriptor_flags=flags
        )
        return machine.address(place, machine.GLOBAL)


def dispatch(
    name: str,
    launch: Launch,
    reads: Sequence[ir.Value],
    results: Sequence[ir.Type],
    updates: Sequence[ir.Value | None],
    body: Body,
) -> ir.Operation:
    """A dispatch of the kernel `name` at the insertion point. Its executable is made at the start of the module, if
    there is none of this name: one name stands for one kernel. `updates` holds for each result the buffer that it
    updates, which is none of `reads`; None for a fresh one."""
    updated = [value for value in updates if value is not None]
    operands = [*reads, *updated]
    fresh = [kind for kind, value in zip(results, updates, strict=True) if value is None]
    bindings = [Binding(value.type, False) for value in reads] + [Binding(value.type, True) for value in updated]
    bindings += [Binding(kind, True) for kind in fresh]
    places = iter(range(len(operands), len(bindings)))
    targets = [next(places) if value is None else operands.index(value) for value in updates]
    block = _module_of(ir.InsertionPoint.current.block)
    if not any(_is_named(op.operation, name) for op in block.operations):
        with ir.InsertionPoint.at_block_begin(block):
            _executable(name, launch, bindings, lambda given: body(given[: len(reads)], [given[at] for at in targets]))
    ties = [-1 if value is None else operands.index(value) for value in updates]
    index = ir.IndexType.get()
    tied = ir.ArrayAttr.get([ir.IntegerAttr.get(index, tie) for tie in ties])
    entry = ir.ArrayAttr.get([ir.Attribute.parse(f"@{name}::@{name}")])
    return flow.DispatchOp(list(results), [], entry, operands, [], [], tied_operands=tied).operation


def _is_named(op: ir.Operation, name: str) -> bool:
    return op.name == "hal.executable.source" and ir.StringAttr(op.attributes["sym_name"]).value == name


def _module_of(block: ir.Block) -> ir.Block:
    owner = block.owner.operation
    while owner.name != "builtin.module":
        block, owner = owner.block, owner.parent.operation
    return block


def _executable(name: str, launch: Launch, bindings: Sequence[Binding], body: Callable[[list[ir.Value]], None]) -> None:
    text = ", ".join(_WRITE if binding.written else _READ for binding in bindings)
    layout = ir.Attribute.parse(f"#hal.pipeline.layout<bindings = [{text}]>")
    source = hal.ExecutableSourceOp(name, sym_visibility="private")
    try:
        with ir.InsertionPoint(source.regions[0].blocks.append()):
            _export(name, launch, layout)
            inner = ir.Operation.create("builtin.module", regions=1)
            block = inner.regions[0].blocks.append()
            ir.Operation.create("hal.executable.source_end")
        with ir.InsertionPoint(block):
            function = _function(name, launch)
        with ir.InsertionPoint(function):
            body([binding.pointer(number, layout) for number, binding in enumerate(bindings)])
            ir.Operation.create("func.return")
    except Exception:
        source.operation.erase()
        raise


def _export(name: str, launch: Launch, layout: ir.Attribute) -> None:
    index = ir.IndexType.get()
    sizes = ir.ArrayAttr.get([ir.IntegerAttr.get(index, size) for size in (launch.threads, 1, 1)])
    export = hal.ExecutableExportOp(
        name,
        layout,
        ordinal=ir.IntegerAttr.get(index, 0),
        workgroup_size=sizes,
        subgroup_size=ir.IntegerAttr.get(index, 32),
    )
    device = ir.Type.parse("!hal.device")
    with ir.InsertionPoint(export.regions[0].blocks.append(device, arg_locs=[ir.Location.unknown()])):
        hal.return_([build.index(count) for count in launch.grid])


def _function(name: str, launch: Launch) -> ir.Block:
    info = f"pipeline = #iree_codegen.no_pipeline workgroup_size = [{launch.threads}, 1, 1] subgroup_size = 32"
    attributes = {
        "sym_name": ir.StringAttr.get(name),
        "function_type": ir.TypeAttr.get(ir.FunctionType.get([], [])),
        "translation_info": ir.Attribute.parse(f"#iree_codegen.translation_info<{info}>"),
    }
    if launch.beside:
        attributes["nvvm.minctasm"] = ir.IntegerAttr.get(machine.i32(), launch.beside)
    if launch.cluster > 1:
        attributes["nvvm.cluster_dim"] = ir.DenseI32ArrayAttr.get([1, 1, launch.cluster])
    function = ir.Operation.create("func.func", regions=1, attributes=attributes)
    return function.regions[0].blocks.append()
