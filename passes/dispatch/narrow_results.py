"""dlas-narrow-results: what kernels hand on to one another in 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import flow

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.linalg import indexing_maps, loop_extents, reduction_loops
from dlas_mlir.opt.base import Pass, option
from dlas_mlir.passes.dispatch._narrow import REGION, buffers, inserted, is_f32, may_be_narrow, read_narrow, readers
from dlas_mlir.passes.dispatch._reduction import Reduction


@dataclass(frozen=True)
class NarrowResultsPass(Pass):
    """Store float32 results of dispatch regions that only other regions read, as inputs of a linalg.generic, be it
    a part of them or with padding around them, in 16 bits: rounded where they are computed, extended where they are
    read; buffers that several regions fill up (the parts of a concatenation), too. What a function returns, and what
    something else than a region reads, stays as it is. So does what would save little and may not fit: what is only
    summed up (the squares of a norm are infinite in float16 from 256 on), and what a sum makes for many elements of
    something larger (means, and the reciprocals of deviations).

    Convolutions whose operands are of 16 bits (dlas-demote-contractions) round them anyway; with this pass the
    residual that skips them is no second copy in 32 bits, which takes twice the bandwidth of a GPU's memory.

    Before:
    ```mlir
    %1:2 = flow.dispatch.region -> (tensor<...xf32>, tensor<...xf16>) { ...; flow.return %sum, %rounded }
    %2 = flow.dispatch.region { %3 = linalg.generic ins(%acc, %1#0) { arith.addf } }
    ```
    After:
    ```mlir
    %1 = flow.dispatch.region -> (tensor<...xf16>) { ...; flow.return %rounded }
    %2 = flow.dispatch.region { %3 = linalg.generic ins(%acc, %1) { arith.extf, arith.addf } }
    ```
    """

    name: ClassVar[str] = "dlas-narrow-results"

    element: str = option("f16", "the type that results are stored in", choices=("f16", "bf16"))

    def run(self, module: ir.Module) -> None:
        element = ir.Type.parse(self.element)
        filled = buffers(module, element)
        for op in build.operations(module):
            if op.name == REGION:
                _narrow(op, element, filled)


def _narrow(region: ir.Operation, element: ir.Type, filled: set[tuple[int, int]]) -> None:
    """Let results of a region be of type `element`, and those that are buffers in `filled`."""
    block = region.regions[0].blocks[0]
    end = list(block.operations)[-1].operation
    returned = list(end.operands)
    summed = any(_sums(op.operation) for op in block.operations)
    chosen = [
        place
        for place, (result, value) in enumerate(zip(region.results, returned, strict=True))
        if _is_filled(region, place, filled)
        or (_may_be_narrow(result, element) and not _is_of_norm(result, summed) and _insertion(value) is None)
    ]
    if not chosen:
        return
    values = [_rounded(value, element, end) if place in chosen else value for place, value in enumerate(returned)]
    # What was returned in 16 bits already is one result.
    distinct = list(dict.fromkeys(values))
    end.erase()
    for place in chosen:
        if (insertion := _insertion(returned[place])) is not None:
            insertion.erase()
    with ir.InsertionPoint(block), region.location:
        flow.return_(distinct)
    with ir.InsertionPoint(region), region.location:
        new = flow.DispatchRegionOp([value.type for value in distinct], [], []).operation
    block.append_to(new.regions[0])
    for place, (old, value) in enumerate(zip(region.results, values, strict=True)):
        result = new.results[distinct.index(value)]
        if place in chosen:
            for use in list(old.uses):
                read_narrow(use, result)
        else:
            old.replace_all_uses_with(result)
    region.erase()


def _may_be_narrow(result: ir.Value, element: ir.Type) -> bool:
    uses = list(result.uses)
    return is_f32(result) and bool(uses) and all(may_be_narrow(use, element) for use in uses)


def _is_filled(region: ir.Operation, place: int, filled: set[tuple[int, int]]) -> bool:
    return (build.identity(region), place) in filled


def _insertion(value: ir.Value) -> ir.Operation | None:
    """What inserts a part into a tensor that other regions fill up, too, if `value` is that."""
    op = build.defining(value)
    return op if op is not None and op.name == "tensor.insert_slice" else None


def _is_of_norm(result: ir.Value, summed: bool) -> bool:
    """Whether a result is but summed up, or is a sum (`summed`) that is read for many elements."""
    uses = readers(result)
    return all(_sums(use.owner.operation) for use in uses) or (summed and any(map(_spreads, uses)))


def _sums(op: ir.Operation) -> bool:
    """Whether `op` adds up, or multiplies, what it reads; sums of products are those of layers."""
    view = Reduction.of(op)
    return view is not None and view.combiner in ("arith.addf", "arith.mulf") and not view.is_contraction()


def _spreads(use: ir.OpOperand) -> bool:
    """Whether an element-wise operation reads the same for all iterations of a loop."""
    op = use.owner.operation
    if not build.is_static(op) or reduction_loops(op):
        return False
    map_, extents = indexing_maps(op)[use.operand_number], loop_extents(op)
    used = set().union(*(affine.dims_of(expr) for expr in map_.results))
    return any(size > 1 and loop not in used for loop, size in enumerate(extents))


def _rounded(value: ir.Value, element: ir.Type, end: ir.Operation) -> ir.Value:
    """`value` in 16 bits: what the region rounds already, or a new operation before its end."""
    if (insertion := _insertion(value)) is not None:
        return inserted(insertion, element)
    for user in build.users(value):
        if user.name == "linalg.generic" and _only_rounds(user, value, element):
            return user.results[0]
    with ir.InsertionPoint(end), end.location:
        return build.truncated(value, element)


def _only_rounds(op: ir.Operation, value: ir.Value, element: ir.Type) -> bool:
    if len(op.operands) != 2 or op.operands[0] != value or build.element_type(op.results[0]) != element:
        return False
    block = op.regions[0].blocks[0]
    first, *rest = [inner.operation for inner in block.operations]
    rounds = first.name == "arith.truncf" and first.operands[0] == block.arguments[0]
    maps = list(ir.ArrayAttr(op.attributes["indexing_maps"]))
    return rounds and len(rest) == 1 and rest[0].operands[0] == first.results[0] and maps[0] == maps[1]
