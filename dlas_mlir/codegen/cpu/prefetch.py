"""Emits what is fetched ahead (ahead.py), into each step of the sum of a register tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.cpu.ahead import Ahead, ahead_of
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.vector.reader import Reader
from dlas_mlir.ir import affine

# Fetches what a step of a tile's sum is to fetch, where it stands.
Fetch = Callable[[Position], None]


@dataclass(frozen=True)
class Prefetch:
    """The fetching of a kernel of `nest`. `access` is that of the weights, and `buffer` their memory."""

    nest: Nest
    ahead: Ahead
    access: Access
    reader: Reader
    buffer: ir.Value

    @staticmethod
    def of(region: Region, nest: Nest, reader: Reader) -> Prefetch | None:
        """At the start of a kernel; None where its schedule does not ask for any."""
        ahead = ahead_of(nest) if nest.schedule.prefetch else None
        if ahead is None:
            return None
        access = region.root.inputs[ahead.number]
        assert isinstance(access, Access)
        return Prefetch(nest, ahead, access, reader, dispatch.buffer_of(reader.source(access)))

    def at(self, place: Place) -> Fetch:
        """That of the register tile at `place`."""
        tile = place.inside.index(self._number())
        share = -(-self.ahead.vectors // self.ahead.tiles)
        moves = [self._move(tile, share, i) for i in range(share)]
        begins = self._next(place)

        def fetch(step: Position) -> None:
            constants = [0 if loop in begins else constant for loop, constant in enumerate(step.constants)]
            there = Position(step.values, tuple(constants))
            for loop, value in begins.items():
                there = there.moved(loop, value)
            for move in moves:
                at = there
                for loop, value in move.items():
                    at = at.advanced(loop, value)
                build.prefetch(self.buffer, self.reader.indices(self.access, at))

        return fetch

    def _next(self, place: Place) -> dict[int, ir.Value]:
        """Where the next block begins, by the loops that decide it. Behind the last one it is that again."""
        block, around = self.ahead.block, self.ahead.around
        here = affine.dim(block.dim)
        if around is None:
            return {block.dim: self._limited(place, block, here + block.step)}
        count = -(-self.nest.extents[block.dim] // block.step)
        number = ir.AffineExpr.get_ceil_div(here, block.step) + 1
        carried = ir.AffineExpr.get_floor_div(number, count) * around.step
        return {
            block.dim: self._limited(place, block, (number % count) * block.step),
            around.dim: self._limited(place, around, affine.dim(around.dim) + carried),
        }

    def _limited(self, place: Place, axis: Axis, begin: ir.AffineExpr) -> ir.Value:
        """`begin` at a place, or where the last tile of a loop begins if it is behind that."""
        last = self.nest.extents[axis.dim] - self.nest.tiles[axis.dim]
        moved, operands = place.here.resolve(begin)
        return build.minimum([moved, affine.constant(last)], operands)

    def _number(self) -> ir.AffineExpr:
        """The number of a tile among those that share, over the loops of a workgroup's part."""
        number = affine.constant(0)
        for axis in self.ahead.sharers:
            number = number * axis.count + ir.AffineExpr.get_ceil_div(affine.dim(axis.dim), axis.step)
        return number

    def _move(self, tile: ir.Value, share: int, i: int) -> dict[int, ir.Value]:
        """From where a step begins to the `i`-th of the `share` vectors that a tile fetches in it, along each loop."""
        rest = (affine.dim(0) * share + i) % self.ahead.vectors
        found = {}
        for axis in reversed(self.ahead.lines):
            found[axis.dim] = build.apply((rest % axis.count) * axis.step, [tile])
            rest = ir.AffineExpr.get_floor_div(rest, axis.count)
        return found
