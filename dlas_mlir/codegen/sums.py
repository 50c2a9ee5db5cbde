"""The loops over what a register tile sums, without the products that are known to be zero.

A loop that decides where a border of zeros is read (taps.py) is cut into runs of iterations with the same points of the
tile that have something to add: each run is a loop of its own over these points alone. Where a position is an index
value, the loop begins and ends with the first and the last tap that one of the points has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.stages import Point
from dlas_mlir.codegen.taps import Border, any_of
from dlas_mlir.ir import affine
from dlas_mlir.ir.strides import Span

Values = list[ir.Value]
# Adds one step of all reductions, here and at the points given, to their sums.
Step = Callable[[Position, Sequence[Point], Values], Values]


@dataclass(frozen=True)
class _Run:
    """Steps `first` to `stop` - 1 of an axis, of which the points `live` (by number) are computed."""

    first: int
    stop: int
    live: tuple[int, ...]


@dataclass(frozen=True)
class Sums:
    """Emits the reductions of `nest` around `step`; `borders` are those that can be zero. The last step of the loop
    `apart` is written out behind it."""

    nest: Nest
    borders: tuple[Border, ...]
    step: Step
    apart: int | None = None

    def over(self, axes: Sequence[Axis], here: Position, points: Sequence[Point], sums: Values) -> Values:
        """Loops from the outermost in; steps divide extents. An axis of one step is no loop."""
        if not axes:
            return self.step(here, points, sums)
        axis, *rest = axes
        if not any_of(self.borders, axis.dim) and axis.dim != self.apart:
            return self._loop(_Run(0, axis.count, tuple(range(len(points)))), axis, rest, here, points, sums)
        for run in self._runs(axis, rest, here, points):
            chosen = [points[i] for i in run.live]
            done = self._loop(run, axis, rest, here, chosen, [sums[i] for i in run.live])
            sums = list(sums)
            for i, value in zip(run.live, done, strict=True):
                sums[i] = value
        return sums

    def _loop(
        self, run: _Run, axis: Axis, rest: Sequence[Axis], here: Position, points: Sequence[Point], sums: Values
    ) -> Values:
        if run.stop - run.first == 1:
            return self.over(rest, here.at(axis.dim, run.first * axis.step), points, sums)
        low, high = self._bounds(run, axis, rest, here, points)

        def iteration(iv: ir.Value, carried: Values) -> Values:
            return self.over(rest, here.advanced(axis.dim, iv), points, carried)

        return build.for_range(low, high, build.index(axis.step), sums, iteration)

    def _runs(self, axis: Axis, rest: Sequence[Axis], here: Position, points: Sequence[Point]) -> list[_Run]:
        """The steps that have something to add, cut where the points change, and before the last one of `apart`."""
        ahead = [inner.dim for inner in rest]

        def live(number: int) -> tuple[int, ...]:
            at = here.at(axis.dim, number * axis.step)
            return tuple(i for i, point in enumerate(points) if not self._is_zero(at.plus(point), ahead))

        def part(number: int) -> tuple[tuple[int, ...], bool]:
            return live(number), axis.dim == self.apart and number == axis.count - 1

        runs = []
        for (found, _), numbers in itertools.groupby(range(axis.count), part):
            first, *others = numbers
            if found:
                runs.append(_Run(first, (others or [first])[-1] + 1, found))
        return runs

    def has_something(self, here: Position, points: Sequence[Point]) -> list[int]:
        """The points, by number, whose product at `here` need not be zero, where all loops stand."""
        return [i for i, point in enumerate(points) if not self._is_zero(here.plus(point), None)]

    def _is_zero(self, here: Position, ahead: Sequence[int] | None) -> bool:
        spans = self._spans(here, ahead)
        return any(border.is_zero(spans) for border in self.borders)

    def _spans(self, here: Position, ahead: Sequence[int] | None, static: bool = False) -> list[Span]:
        """Where each loop is that stands `here`, with what is unrolled of it, and the loops `ahead`, which are still to
        come; None: nothing is, and nothing will be unrolled. `static`: without index values."""
        nest, spans = self.nest, []
        for dim, extent in enumerate(nest.extents):
            if dim in (ahead or ()):
                spans.append(Span(0, extent - 1))
                continue
            value = None if static else here.values[dim]
            base = Span(0, 0) if value is None else nest.spans[dim]
            width = self._width(dim, unrolled=ahead is not None)
            spans.append(Span(base.low, base.high + width - 1).plus(here.constants[dim]))
        return spans

    def _width(self, dim: int, unrolled: bool) -> int:
        """How many iterations of a loop are done where it stands: the lanes of a vector, and what an instruction or
        unrolled code does."""
        nest = self.nest
        if dim == nest.lane.dim:
            return nest.lanes
        if nest.is_in_instruction(dim):
            return nest.extents[dim]
        return nest.tiles[dim] if unrolled and nest.workload.names[dim] in nest.workload.reductions else 1

    def _bounds(
        self, run: _Run, axis: Axis, rest: Sequence[Axis], here: Position, points: Sequence[Point]
    ) -> tuple[ir.Value, ir.Value]:
        """Where the loop of a run begins and ends: with the taps that depend on index values, if some do."""
        low, high = run.first * axis.step, run.stop * axis.step
        lows: list[_Bound] = []
        highs: list[_Bound] = []
        for border in self.borders if axis.step == 1 else ():
            step, values = border.coefficient(axis.dim), self._values_of(border, here)
            if step <= 0 or not values or any(border.coefficient(loop) == 0 for loop in values):
                continue
            ahead = [inner.dim for inner in rest]
            spans = [border.form.span(self._spans(here.plus(point), ahead, static=True)) for point in points]
            least, most = min(span.low for span in spans), max(span.high for span in spans)
            moved = sum((affine.dim(i) * border.coefficient(loop) for i, loop in enumerate(values)), affine.constant(0))
            operands = tuple(values.values())
            known = Span(0, 0)
            for loop in values:
                known = _plus(known, self.nest.spans[loop].times(border.coefficient(loop)))
            if known.low + most + step * low < border.low:
                lows.append(_Bound(ir.AffineExpr.get_ceil_div(border.low - most - moved, step), operands))
            if known.high + least + step * (high - 1) >= border.end:
                last = ir.AffineExpr.get_floor_div(border.end - 1 - least - moved, step)
                highs.append(_Bound(last + 1, operands))
        return _extreme(low, lows, build.maximum), _extreme(high, highs, build.minimum)

    def _values_of(self, border: Border, here: Position) -> dict[int, ir.Value]:
        """The index values that decide where a border is read, by their loop."""
        found = {loop: here.values[loop] for loop in sorted(border.loops)}
        return {loop: value for loop, value in found.items() if value is not None}


@dataclass(frozen=True)
class _Bound:
    """A bound of a loop: an expression over index values."""

    expr: ir.AffineExpr
    operands: tuple[ir.Value, ...]


def _plus(a: Span, b: Span) -> Span:
    return Span(a.low + b.low, a.high + b.high)


def _extreme(
    known: int, bounds: list[_Bound], of: Callable[[Sequence[ir.AffineExpr], Sequence[ir.Value]], ir.Value]
) -> ir.Value:
    """The extreme of `known` and some bounds as an index value."""
    if not bounds:
        return build.index(known)
    exprs: list[ir.AffineExpr] = [affine.constant(known)]
    operands: list[ir.Value] = []
    for bound in bounds:
        shifted = [affine.dim(len(operands) + i) for i in range(len(bound.operands))]
        exprs.append(affine.substitute(bound.expr, shifted, len(operands) + len(shifted)))
        operands += bound.operands
    return of(exprs, operands)
