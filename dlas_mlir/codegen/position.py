"""Where a kernel stands in its loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.ir import affine


@dataclass(frozen=True)
class Position:
    """Where a kernel stands: for each loop an index value (None: its first iteration) plus a constant."""

    values: tuple[ir.Value | None, ...]
    constants: tuple[int, ...]

    @staticmethod
    def start(loops: int) -> Position:
        """The first iteration of all loops."""
        return Position((None,) * loops, (0,) * loops)

    def at(self, loop: int, extra: int) -> Position:
        """This position, moved on by `extra` iterations of `loop`."""
        constants = list(self.constants)
        constants[loop] += extra
        return Position(self.values, tuple(constants))

    def moved(self, loop: int, value: ir.Value) -> Position:
        """This position with `loop` at the index `value`."""
        values = list(self.values)
        values[loop] = value
        return Position(tuple(values), self.constants)

    def advanced(self, loop: int, value: ir.Value) -> Position:
        """This position, moved on by the index `value` iterations of `loop`."""
        before = self.values[loop]
        return self.moved(loop, value if before is None else build.added(before, value))

    def plus(self, offsets: Sequence[int]) -> Position:
        """This position, moved on by an offset for each loop."""
        return Position(self.values, tuple(a + b for a, b in zip(self.constants, offsets, strict=True)))

    def index(self, expr: ir.AffineExpr, offset: int = 0) -> ir.Value:
        """The index value of `expr` + `offset` here."""
        result, operands = self.resolve(expr, offset)
        return build.apply(result, operands)

    def resolve(self, expr: ir.AffineExpr, offset: int = 0) -> tuple[ir.AffineExpr, list[ir.Value]]:
        """`expr` + `offset` here as an expression over index values."""
        used = sorted(loop for loop in affine.dims_of(expr) if self.values[loop] is not None)
        replaced = [affine.constant(constant) for constant in self.constants]
        for place, loop in enumerate(used):
            replaced[loop] = affine.dim(place) + affine.constant(self.constants[loop])
        result = affine.substitute(expr, replaced, len(used)) + affine.constant(offset)
        result = ir.AffineExpr.simplify_affine_expr(result, len(used), 0)
        operands = [self.values[loop] for loop in used]
        return result, [operand for operand in operands if operand is not None]


@dataclass(frozen=True)
class Place:
    """Where a workgroup stands: `here` counts from the start of the problem, `inside` from the start of its part.
    `parts` has the loops, with their iterations, of which less than a register tile is left."""

    here: Position
    inside: Position
    parts: tuple[tuple[int, int], ...] = ()

    def at(self, loop: int, extra: int) -> Place:
        """This place, moved on by `extra` iterations of `loop`."""
        return replace(self, here=self.here.at(loop, extra), inside=self.inside.at(loop, extra))

    def advanced(self, loop: int, value: ir.Value) -> Place:
        """This place, `value` iterations of `loop` on in the workgroup's part."""
        return replace(self, here=self.here.advanced(loop, value), inside=self.inside.moved(loop, value))

    def with_part(self, loop: int, iterations: int) -> Place:
        """This place, where there are but `iterations` of `loop`."""
        return replace(self, parts=(*self.parts, (loop, iterations)))
