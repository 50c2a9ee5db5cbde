"""Emits what is fetched ahead (ahead.py), into each step of the sum of a register tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.cpu.ahead import Ahead, ahead_of
from dlas_mlir.codegen.nest import Nest
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
        block = self.ahead.block
        here = place.here.index(affine.dim(block.dim), block.step)
        last = self.nest.extents[block.dim] - self.nest.tiles[block.dim]
        ahead = build.minimum([affine.dim(0), affine.constant(last)], [here])

        def fetch(step: Position) -> None:
            there = Position(step.values, (*step.constants[: block.dim], 0, *step.constants[block.dim + 1 :]))
            for move in moves:
                at = there.moved(block.dim, ahead)
                for loop, value in move.items():
                    at = at.advanced(loop, value)
                build.prefetch(self.buffer, self.reader.indices(self.access, at))

        return fetch

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
