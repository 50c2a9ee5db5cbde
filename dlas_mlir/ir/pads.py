"""Padding with a constant, seen as one value: the only place that decodes the bounds and the filler of a tensor.pad."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir.linalg import scalar_constant


@dataclass(frozen=True)
class Padding:
    """A tensor.pad of constantly many elements, `low` before and `high` behind `source` in each dimension (fewer than
    none cut it off), all of them the scalar `constant`."""

    op: ir.Operation
    source: ir.Value
    low: tuple[int, ...]
    high: tuple[int, ...]
    constant: ir.Attribute

    @staticmethod
    def of(op: ir.Operation | None) -> Padding | None:
        """`op` as padding; None for another operation, bounds that depend on values, or something else than a constant
        around it."""
        if op is None or op.name != "tensor.pad" or len(op.operands) != 1:
            return None
        constant = scalar_constant(_filler(op))
        if constant is None:
            return None
        low, high = (tuple(ir.DenseI64ArrayAttr(op.attributes[name])) for name in ("static_low", "static_high"))
        return Padding(op, op.operands[0], low, high, constant)

    @property
    def cuts(self) -> bool:
        """Whether elements of `source` are cut off."""
        return min((*self.low, *self.high), default=0) < 0

    @property
    def result(self) -> ir.Value:
        return self.op.results[0]

    def filler(self) -> ir.Value:
        """The constant as a value that may be used at the insertion point, before the padding or behind it."""
        value = _filler(self.op)
        outside = value.owner.operation.block != self.op.regions[0].blocks[0]
        return value if outside else arith.constant(self.constant.type, self.constant)  # type: ignore[attr-defined]


def _filler(op: ir.Operation) -> ir.Value:
    return op.regions[0].blocks[0].operations[-1].operands[0]
