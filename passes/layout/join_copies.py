"""dlas-join-copies: what pads and transposes a tensor, and is done to its elements before that, is one copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import dtype_of
from dlas_mlir.ir.evaluate import CannotEvaluate, evaluate_body, is_elementwise
from dlas_mlir.ir.linalg import indexing_maps
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class JoinCopiesPass(Pass):
    """Make one linalg.generic of a linalg.transpose, of the padding that it alone reads, and of the element-wise
    operations before that (rounding to float16, quantizing) on something that no other kernel computes, which is a
    network's input. Where there is padding, they must leave zero as what the padding is filled with: it is around
    what they read then, of zeros.

    So the input of a network is brought into the layout of its first layer by one kernel. A transposition alone stays:
    iree-compile has a kernel for that. One that moves dimensions of one element only is none.

    Before:
    ```mlir
    %1 = linalg.generic ins(%x : tensor<1x3x8x8xf32>) { arith.truncf }
    %2 = tensor.pad %1 low[0, 0, 1, 1] high[0, 5, 1, 1] { tensor.yield %zero }
    %3 = linalg.transpose ins(%2) permutation = [0, 2, 3, 1]
    ```
    After:
    ```mlir
    %2 = tensor.pad %x low[0, 0, 1, 1] high[0, 5, 1, 1] { tensor.yield %zero }
    %3 = linalg.generic {indexing_maps = [(d0, d1, d2, d3) -> (d0, d3, d1, d2), (d0, d1, d2, d3) -> (d0, d1, d2, d3)]}
        ins(%2) { arith.truncf }
    ```
    """

    name: ClassVar[str] = "dlas-join-copies"

    def run(self, module: ir.Module) -> None:
        for op in build.operations(module):
            if op.name == "linalg.transpose" and build.is_static(op) and _moves(op):
                _join(op)
        build.erase_dead(module)


def _moves(op: ir.Operation) -> bool:
    """Whether a transposition of what is no constant brings elements into another order."""
    sizes = ir.RankedTensorType(op.operands[0].type).shape
    order = [place for place in ir.DenseI64ArrayAttr(op.attributes["permutation"]) if sizes[place] > 1]
    return order != sorted(order) and not _is_constant(op.operands[0])


def _join(op: ir.Operation) -> None:
    """Replace a transposition with what can be done in the same copy, if there is anything."""
    source = op.operands[0]
    padding = Padding.of(build.defining(source))
    if padding is not None and (padding.cuts or not _reads_alone(padding.op)):
        padding = None
    if padding is not None:
        source = padding.source
    before = _before(source, padding)
    if padding is None and not before:
        return
    if before:
        source = before[0].operands[0]
    with ir.InsertionPoint(op), op.location:
        if padding is not None and before:
            source = build.pad(source, padding.low, padding.high, build.zero(build.element_type(source)))
        elif padding is not None:
            source = padding.result
        copy = _transposed(op, source, before)
    op.results[0].replace_all_uses_with(copy)
    op.erase()


def _before(value: ir.Value, padding: Padding | None) -> list[ir.Operation]:
    """The element-wise operations that make `value` of one that nobody computes, the first one first; none where that
    is not so."""
    found: list[ir.Operation] = []
    while (maker := build.defining(value)) is not None:
        if not _is_plain(maker) or not _reads_alone(maker):
            return []
        found.insert(0, maker)
        value = maker.operands[0]
    return found if padding is None or _keeps_zero(found, padding) else []


def _is_plain(op: ir.Operation) -> bool:
    """Whether `op` makes of each element of one tensor another."""
    if not is_elementwise(op) or len(op.operands) != 2 or len(set(map(str, indexing_maps(op)))) != 1:
        return False
    body = op.regions[0].blocks[0]
    own = {*body.arguments, *(result for inner in body.operations for result in inner.operation.results)}
    # Constants may be anywhere.
    used = [value for inner in body.operations for value in inner.operation.operands]
    return not list(body.arguments[1].uses) and all(value in own or _is_constant(value) for value in used)


def _is_constant(value: ir.Value) -> bool:
    op = build.defining(value)
    return op is not None and op.name == "arith.constant"


def _reads_alone(op: ir.Operation) -> bool:
    return len(list(op.results[0].uses)) == 1


def _keeps_zero(operations: list[ir.Operation], padding: Padding) -> bool:
    """Whether zero becomes what `padding` is filled with."""
    if not operations:
        return True
    try:
        value = np.zeros((), dtype_of(build.element_type(operations[0].operands[0])))
        for op in operations:
            value = evaluate_body(op.regions[0].blocks[0], [value, None])
        return value.item() == padding.constant.value  # type: ignore[attr-defined]
    except (CannotEvaluate, KeyError):
        return False


def _transposed(op: ir.Operation, source: ir.Value, before: list[ir.Operation]) -> ir.Value:
    """The copy of `source` that `op` makes, with the bodies of `before`, at the insertion point."""
    kind = ir.RankedTensorType(op.results[0].type)
    permutation = list(ir.DenseI64ArrayAttr(op.attributes["permutation"]))
    loops = [affine.dim(i) for i in range(kind.rank)]
    read = [loops[permutation.index(place)] for place in range(kind.rank)]

    def body(value: ir.Value, _: ir.Value) -> ir.Value:
        for stage in before:
            block = stage.regions[0].blocks[0]
            value = build.inline_body(block, [value, *list(block.arguments)[1:]])
        return value

    destination = build.empty(kind.shape, kind.element_type)
    return build.generic([source], destination, [read, loops], ["parallel"] * kind.rank, body).results[0]
