"""How the loops of a kernel are cut: into workgroups, and those into tiles of registers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlas_mlir.codegen.nest import Nest
from dlas_mlir.ir.strides import Span


@dataclass(frozen=True)
class Axis:
    """One loop of a workgroup: iterations up to `extent` in steps of `step`. The last step is moved back where they do
    not divide the extent."""

    loop: int
    extent: int
    step: int


@dataclass(frozen=True)
class Tiling:
    """The loops of a kernel, by their positions in the root; `workgroup` and `register` hold for each of them how many
    iterations one workgroup and one register tile have.

    grid: the loops that workgroups are counted along, the fastest first.
    parallel, reductions: the loops of a workgroup from the outermost in (of a dot product without the last one, which
        is in the instruction).
    vector, lanes: the loop whose iterations are the lanes of a vector, and how many.
    """

    extents: tuple[int, ...]
    workgroup: tuple[int, ...]
    register: tuple[int, ...]
    grid: tuple[int, ...]
    parallel: tuple[int, ...]
    reductions: tuple[int, ...]
    vector: int
    lanes: int

    @staticmethod
    def of(nest: Nest) -> Tiling:
        """The loops of `nest`."""
        dims = range(len(nest.workload.loops))
        return Tiling(
            extents=tuple(loop.extent for loop in nest.workload.loops),
            workgroup=tuple(map(nest.part, dims)),
            register=tuple(map(nest.tile, dims)),
            grid=tuple(axis.dim for axis in reversed(nest.workgroup)),
            parallel=tuple(axis.dim for axis in nest.cache),
            reductions=tuple(axis.dim for axis in nest.reduce),
            vector=nest.lane.dim,
            lanes=nest.schedule.lanes,
        )

    @property
    def loops(self) -> int:
        """How many loops there are."""
        return len(self.extents)

    def is_split(self, loop: int | None) -> bool:
        """Whether a workgroup does but a part of `loop` (None: a dimension of one element)."""
        return loop is not None and self.workgroup[loop] != self.extents[loop]

    def workgroups(self, loop: int) -> int:
        """How many workgroups there are along `loop`."""
        return -(-self.extents[loop] // self.workgroup[loop])

    def axes(self) -> tuple[Axis, ...]:
        """The parallel loops of a workgroup from the outermost in, in steps of register tiles."""
        return tuple(Axis(loop, self.workgroup[loop], self.register[loop]) for loop in self.parallel)

    def sums(self) -> tuple[Axis, ...]:
        """The reductions from the outermost in, in steps of what is unrolled, which divides them."""
        return tuple(Axis(loop, self.extents[loop], self.register[loop]) for loop in self.reductions)

    def span(self, loop: int) -> Span:
        """Where register tiles begin in a loop. What was moved back for the last one makes the step smaller."""
        extent, tile, block = self.extents[loop], self.workgroup[loop], self.register[loop]
        begins = (tile, extent - tile) if tile != extent else ()
        inside = (block, tile - block) if block != tile else ()
        return Span(0, extent - block, math.gcd(*begins, *inside))

    def spans(self) -> tuple[Span, ...]:
        """The span of each loop."""
        return tuple(self.span(loop) for loop in range(self.loops))

    def origins(self, loop: int) -> list[int]:
        """Where register tiles begin in a loop, one by one."""
        extent, tile, block = self.extents[loop], self.workgroup[loop], self.register[loop]
        starts = [min(start, tile - block) for start in range(0, tile, block)]
        return [min(base, extent - tile) + start for base in range(0, extent, tile) for start in starts]
