"""`SimtSchedule`: how the loops of a workload are shared out over the threads of a GPU, by their names.

It stands on the root of a region as the attribute `dlas.schedule`, whose keys are those of its JSON form:

    {kind = "simt", vector = "k", lanes = 4, tile = {oh = 2, ow = 2, r = 3, s = 3}, order = ["oh", "ow", "k", "r", "s"],
     threads = 64}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dlas_mlir.codegen.schedule import ScheduleError, check_loops, order_problem, vector_problem
from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.workload import Workload

KIND = "simt"


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of the JSON form."""

    vector: str
    lanes: int
    threads: int
    order: tuple[str, ...] = ()
    tile: dict[str, int] = {}
    across: dict[str, int] = {}
    kind: str = KIND


@dataclass(frozen=True)
class SimtSchedule:
    """One way to run a workload on threads without matrix instructions.

    vector: the parallel loop whose iterations are the lanes of a vector, which a thread reads and writes at once.
    lanes: the lanes of one vector.
    tile: iterations that are unrolled (default: 1; `lanes` of the vector loop). Those of parallel loops are computed by
        one thread, in registers, those of reductions follow each other. The last tile of a parallel loop that it does
        not divide is moved back to overlap the one before.
    order: the loops, parallel ones before reductions; loops of one iteration are left out. Threads are numbered with
        the last parallel one fastest.
    threads: of a workgroup.
    across: among how many threads the iterations of a reduction are shared out (default: one has them all), which
        combine what each of them has in memory that the workgroup shares.
    """

    vector: str
    lanes: int
    tile: tuple[tuple[str, int], ...]
    order: tuple[str, ...]
    threads: int
    across: tuple[tuple[str, int], ...] = ()
    kind: str = KIND

    @staticmethod
    def of(
        workload: Workload,
        *,
        vector: str,
        lanes: int,
        tile: Mapping[str, int],
        order: tuple[str, ...],
        threads: int,
        across: Mapping[str, int] | None = None,
    ) -> SimtSchedule:
        """The canonical schedule: what is a default is left out. Raises ScheduleError for one that does not fit."""
        extents, shared = workload.extents, across or {}
        check_loops(workload, {"vector": (vector,), "tile": tile, "order": order, "across": shared})
        tiles = {vector: lanes, **tile}
        found = SimtSchedule(
            vector,
            lanes,
            tuple((loop, tiles[loop]) for loop in workload.names if tiles.get(loop, 1) != 1),
            tuple(loop for loop in order if extents[loop] > 1),
            threads,
            tuple((loop, shared[loop]) for loop in workload.names if shared.get(loop, 1) != 1),
        )
        if (why := found.problem(workload)) is not None:
            raise ScheduleError(why)
        return found

    @property
    def peel(self) -> tuple[str, ...]:
        """None: all threads run the same code."""
        return ()

    @property
    def prefetch(self) -> bool:
        """Other threads run while one waits for memory."""
        return False

    @property
    def joined(self) -> int:
        """How many threads have a result together."""
        return math.prod(count for _, count in self.across)

    def tile_of(self, loop: str) -> int:
        """The iterations of `loop` that are unrolled."""
        return dict(self.tile).get(loop, 1)

    def part_of(self, loop: str, extent: int) -> int:
        """The iterations of a parallel `loop` that a thread does."""
        return min(extent, self.tile_of(loop))

    def to_value(self) -> dict[str, Any]:
        """The JSON form as Python values."""
        return {
            "kind": self.kind,
            "vector": self.vector,
            "lanes": self.lanes,
            "tile": dict(self.tile),
            "order": list(self.order),
            "threads": self.threads,
            **({"across": dict(self.across)} if self.across else {}),
        }

    def to_json(self) -> str:
        """The canonical JSON form."""
        return msgspec.json.encode(self.to_value(), order="sorted").decode()

    def problem(self, workload: Workload) -> str | None:
        """Why this cannot be the schedule of `workload`, whatever the target, or None."""
        return (
            layout.refusal(workload)
            or order_problem(self.order, workload)
            or vector_problem(self.vector, workload)
            or self._tile_problem(workload)
            or self._across_problem(workload)
        )

    def _across_problem(self, workload: Workload) -> str | None:
        if self.across and layout.combiner(workload) is None:
            return "across: what it computes is not combined in any order"
        for loop, count in self.across:
            extent = workload.extents[loop]
            if loop not in workload.reductions:
                return f"across: `{loop}` is no reduction"
            if count < 1 or extent % count or extent // count % self.tile_of(loop):
                return f"across: {count} threads do not divide the {extent} iterations of `{loop}` into whole tiles"
        if self.threads % self.joined:
            return f"threads: {self.threads}; a multiple of the {self.joined} that have a result together (across)"
        return None

    def _tile_problem(self, workload: Workload) -> str | None:
        if self.threads < 1:
            return f"threads: expected at least 1, found {self.threads}"
        most = layout.widest(workload, self.vector)
        if self.lanes < 1 or most % self.lanes:
            return f"lanes: {self.lanes} of `{self.vector}`; a power of two up to {most}, by which all is aligned"
        if (own := self.tile_of(self.vector)) % self.lanes or workload.extents[self.vector] % own:
            extent = workload.extents[self.vector]
            return f"tile: {own} of `{self.vector}`; a multiple of {self.lanes} lanes that divides {extent}"
        for loop, tile in self.tile:
            extent = workload.extents[loop]
            if not 1 <= tile <= extent:
                return f"tile: {tile} iterations of `{loop}`; it has {extent}"
            if loop in workload.reductions and extent % tile:
                return f"tile: {tile} does not divide the {extent} iterations of reduction `{loop}`"
        return None

    def parts(self, workload: Workload) -> int:
        """How many threads, or groups of those that have a result together, have something to compute."""
        return math.prod(-(-workload.extents[loop] // self.tile_of(loop)) for loop in workload.parallel)

    def points(self, workload: Workload) -> int:
        """How many results a thread has."""
        return math.prod(self.tile_of(loop) for loop in workload.parallel)


def read(value: Any, workload: Workload) -> SimtSchedule:
    """The schedule that `to_value` wrote, for `workload`. Raises ScheduleError naming the key and what is allowed."""
    try:
        written = msgspec.convert(value, _Written)
    except msgspec.ValidationError as error:
        raise ScheduleError(str(error)) from None
    fields = {name: getattr(written, name) for name in _Written.__struct_fields__ if name != "kind"}
    return SimtSchedule.of(workload, **fields)
