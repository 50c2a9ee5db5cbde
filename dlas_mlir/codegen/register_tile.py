"""A register tile of results: loaded, summed up, finished and written, all in registers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.cascade import Cascade, added, is_long_sum
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.stages import Point, Stages
from dlas_mlir.codegen.sums import Sums
from dlas_mlir.codegen.taps import Border
from dlas_mlir.codegen.vector.body import BodyEmitter
from dlas_mlir.ir import affine


class Joins(Protocol):
    """How the parts of a sum that several threads have become one."""

    def start(self, here: Position) -> Position:
        """Where this thread's part begins."""
        ...

    def neutral(self, initial: Sequence[ir.Value]) -> list[ir.Value]:
        """What a part starts from."""
        ...

    def joined(self, initial: list[ir.Value], parts: list[ir.Value]) -> list[ir.Value]:
        """The whole, of which this thread has `parts`."""
        ...


# Does, in each step of a tile's sum, what is to be done beside it; it gets where the step stands.
Beside = Callable[[Position], None]


def points_of(region: Region, nest: Nest, place: Place) -> list[Point]:
    """The offsets of the vectors in the register tile at `place`; loops that the vector operands run over vary fastest,
    so that a broadcast value is used while it is at hand."""
    vector_dims: set[int] = set()
    for item in region.root.inputs:
        if isinstance(item, Access):
            dims = set().union(*(affine.dims_of(expr) for expr in item.exprs)) if item.exprs else set()
            if nest.lane.dim in dims:
                vector_dims |= dims
    parts = dict(place.parts)
    register = [replace(axis, extent=parts.get(axis.dim, axis.extent)) for axis in nest.register]
    axes = sorted(register, key=lambda axis: (axis.dim in vector_dims, axis.dim))
    return offsets(axes, len(nest.extents))


def offsets(axes: Sequence[Axis], loops: int) -> list[Point]:
    """Where the steps of some `axes` begin, for each of `loops` loops; the last axis varies fastest."""
    found = []
    for combination in itertools.product(*(range(0, axis.extent, axis.step) for axis in axes)):
        point = [0] * loops
        for axis, offset in zip(axes, combination, strict=True):
            point[axis.dim] = offset
        found.append(tuple(point))
    return found


@dataclass(frozen=True)
class RegisterTile:
    """Computes tiles of registers: a vector for each of `points`. Products with zeros of `borders` are left out.
    `beside` is done in each step of the sum. With `joining`, this is a part of the sum."""

    nest: Nest
    stages: Stages
    points: list[Point]
    borders: tuple[Border, ...]
    beside: Beside | None = None
    joining: Joins | None = None

    def computed(self, place: Place, tiles: list[ir.Value]) -> list[ir.Value]:
        """`tiles` with what the kernel gives at `place` written."""
        reader, root = self.stages.reader, self.stages.region.root
        outer = reader.forget()
        start = self.stages.initial(root, place.here, self.points)
        if self.joining is None:
            values = self._contract(place.here, start)
        else:
            own = self._contract(self.joining.start(place.here), self.joining.neutral(start))
            values = self.joining.joined(start, own)
        tiles = self.stages.finish(place, self.points, values, tiles)
        reader.restore(outer)
        return tiles

    def _contract(self, here: Position, start: list[ir.Value]) -> list[ir.Value]:
        """The vectors of the root's result, one for each point."""
        region = self.stages.region
        if not self.nest.reduce:
            return self.stages.evaluate(region.root, here, self.points, start, BodyEmitter(self.nest.lanes))
        if is_long_sum(region.root, region.extents, region.reductions):
            return added(start, self._cascade(start[0].type).total(here))
        return self._chain(0, here, start)

    def _chain(self, depth: int, here: Position, sums: list[ir.Value]) -> list[ir.Value]:
        """The reductions from `depth` on, one addition after the other."""
        axes, reader = self.nest.reduce[depth:], self.stages.reader
        rests = [item.rest for item in self.stages.region.root.inputs if isinstance(item, Access) and item.rest]
        apart = next((axis.dim for axis in axes if any(rest.loop == axis.dim for rest in rests)), None)
        before, reader.apart = reader.apart, apart
        sums = self._sums(apart).over(axes, here, self.points, sums)
        reader.apart = before
        return sums

    def _sums(self, apart: int | None = None) -> Sums:
        return Sums(self.nest, self.borders, self._unrolled, apart)

    def _cascade(self, vector: ir.Type) -> Cascade:
        zero = build.splat(build.zero(ir.VectorType(vector).element_type), self.nest.lanes)
        return Cascade(
            loops=tuple((axis.dim, axis.count, axis.step) for axis in self.nest.reduce),
            unrolled=math.prod(axis.step for axis in self.nest.reduce),
            chain=self._chain,
            zeros=[zero] * len(self.points),
        )

    def _unrolled(self, here: Position, points: Sequence[Point], accumulators: list[ir.Value]) -> list[ir.Value]:
        """One step of the reductions at some of the points."""
        reader, root = self.stages.reader, self.stages.region.root
        outer = reader.forget()
        emitter = BodyEmitter(self.nest.lanes)
        for offset in offsets(self.nest.unroll, len(self.nest.extents)):
            at = here.plus(offset)
            live = self._sums().has_something(at, points)
            chosen, before = [points[i] for i in live], [accumulators[i] for i in live]
            accumulators = list(accumulators)
            for i, value in zip(live, self.stages.evaluate(root, at, chosen, before, emitter), strict=True):
                accumulators[i] = value
        reader.restore(outer)
        if self.beside:
            self.beside(here)
        return accumulators
