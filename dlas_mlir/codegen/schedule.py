"""`Schedule`: how the loops of a workload are distributed, blocked, ordered and vectorised, by their names.

It stands on the root of a region as the attribute `dlas.schedule`, whose keys are those of its JSON form:

    {kind = "cpu", distribute = {oh = 7}, tile = {k = 16, kb = 2, ow = 14}, order = ["oh", "kb", "ow", "k", "cb", "r"],
     vector = "k", lanes = 16}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from dlas_mlir.codegen.workload import Workload

ATTRIBUTE = "dlas.schedule"
MAX_DISTRIBUTED = 3


class ScheduleError(ValueError):
    """A schedule does not fit its workload; the message names the loop and what is allowed."""


class AnySchedule(Protocol):
    """What the schedules of all kinds have."""

    @property
    def kind(self) -> str:
        """That of the backend it is for."""
        ...

    def to_value(self) -> dict[str, Any]:
        """The JSON form as Python values."""
        ...

    def to_json(self) -> str:
        """The canonical JSON form."""
        ...

    def problem(self, workload: Workload) -> str | None:
        """Why this cannot be the schedule of `workload`, or None."""
        ...


class LoopSchedule(AnySchedule, Protocol):
    """What the schedules have that block and order loops by name, and that a Nest follows from."""

    @property
    def vector(self) -> str:
        """The loop whose iterations are lanes."""
        ...

    @property
    def lanes(self) -> int:
        """The lanes of a vector."""
        ...

    @property
    def order(self) -> tuple[str, ...]:
        """The loops from the outermost in."""
        ...

    @property
    def peel(self) -> tuple[str, ...]:
        """Loops whose first and last tile are code of their own."""
        ...

    @property
    def prefetch(self) -> bool:
        """Whether weights are fetched ahead."""
        ...

    def tile_of(self, loop: str) -> int:
        """The iterations of `loop` that are unrolled."""
        ...

    def part_of(self, loop: str, extent: int) -> int:
        """The iterations of `loop` that a part of the kernel does: a workgroup's, or a thread's."""
        ...


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of the JSON form."""

    kind: str
    vector: str
    lanes: int
    order: tuple[str, ...] = ()
    distribute: dict[str, int] = {}
    tile: dict[str, int] = {}
    peel: tuple[str, ...] = ()
    prefetch: bool = False
    apart: bool = False
    producer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Schedule:
    """One way to run a workload. Loops that are not named in a field have its default.

    kind: that of the backend it is for: `cpu`, or `sparse` for a workload with sparse weights.
    vector: the parallel loop whose iterations are the lanes of a vector.
    lanes: the lanes of one vector.
    order: the loops of a workgroup from the outermost in, parallel loops before reductions; loops of one iteration are
        left out.
    distribute: iterations of a loop that one workgroup does, for at most three parallel loops (default: all).
        Workgroups are numbered with the last distributed loop of `order` fastest.
    tile: iterations that are unrolled (default: 1). Those of parallel loops are computed together in registers (a
        multiple of `lanes` for the vector loop, but of sparse weights), those of reductions follow each other. In a
        `sparse` schedule the tile of the workload's first reduction is the chunk of channels that is done at once, and
        non-zeros are in the order of the workload's reductions.
    peel: parallel loops whose first and last tile are code of their own, where that is less to compute: for a tile on
        a border of zeros, and for a last one of fewer iterations.
    prefetch: whether the weights of the next block of results are fetched into the second-level cache meanwhile.
    producer: the schedule of what computes a tensor of this workload; only for one that has a producer.
    apart: whether the producer is a kernel of its own (else its distribution counts for nothing: it computes what a
        step of the outermost loop reads, or a workgroup).

    A tile that does not divide its parallel loop is no obstacle: the last one is moved back to overlap the one before,
    if the loop is not peeled.
    """

    kind: str
    vector: str
    lanes: int
    order: tuple[str, ...]
    distribute: tuple[tuple[str, int], ...] = ()
    tile: tuple[tuple[str, int], ...] = ()
    peel: tuple[str, ...] = ()
    prefetch: bool = False
    apart: bool = False
    producer: Schedule | None = None

    @staticmethod
    def of(
        workload: Workload,
        *,
        kind: str,
        vector: str,
        lanes: int,
        order: tuple[str, ...],
        distribute: Mapping[str, int],
        tile: Mapping[str, int],
        peel: Sequence[str] = (),
        prefetch: bool = False,
        apart: bool = False,
        producer: Schedule | None = None,
    ) -> Schedule:
        """The canonical schedule: what is a default is left out. Raises ScheduleError for one that does not fit."""
        extents = workload.extents
        check_loops(
            workload, {"vector": (vector,), "order": order, "distribute": distribute, "tile": tile, "peel": peel}
        )
        found = Schedule(
            kind,
            vector,
            lanes,
            tuple(loop for loop in order if extents[loop] > 1),
            tuple((loop, distribute[loop]) for loop in workload.names if 0 < distribute.get(loop, 0) != extents[loop]),
            tuple((loop, tile[loop]) for loop in workload.names if tile.get(loop, 1) != 1),
            tuple(loop for loop in workload.names if loop in peel),
            prefetch,
            apart,
            producer,
        )
        if (why := found.problem(workload)) is not None:
            raise ScheduleError(why)
        return found

    def tile_of(self, loop: str) -> int:
        """The iterations of `loop` that are unrolled."""
        return dict(self.tile).get(loop, 1)

    def part_of(self, loop: str, extent: int) -> int:
        """The iterations of `loop` that a workgroup does."""
        return dict(self.distribute).get(loop, extent)

    def to_value(self) -> dict[str, Any]:
        """The JSON form as Python values."""
        return {
            "kind": self.kind,
            "vector": self.vector,
            "lanes": self.lanes,
            "order": list(self.order),
            "distribute": dict(self.distribute),
            "tile": dict(self.tile),
            **({"peel": list(self.peel)} if self.peel else {}),
            **({"prefetch": True} if self.prefetch else {}),
            **({"apart": True} if self.apart else {}),
            **({"producer": self.producer.to_value()} if self.producer else {}),
        }

    def to_json(self) -> str:
        """The canonical JSON form."""
        return msgspec.json.encode(self.to_value(), order="sorted").decode()

    @staticmethod
    def from_value(value: Any, workload: Workload) -> Schedule:
        """The schedule that `to_value` wrote, for `workload`. Raises ScheduleError naming the key or the loop."""
        try:
            written = msgspec.convert(value, _Written)
        except msgspec.ValidationError as error:
            raise ScheduleError(str(error)) from None
        fields = {name: getattr(written, name) for name in _Written.__struct_fields__}
        if written.producer is not None and workload.producer is not None:
            try:
                fields["producer"] = Schedule.from_value(written.producer, workload.producer.workload)
            except ScheduleError as error:
                raise ScheduleError(f"producer: {error}") from None
        return Schedule.of(workload, **fields)

    @staticmethod
    def from_json(text: str | bytes, workload: Workload) -> Schedule:
        """The same from text."""
        try:
            return Schedule.from_value(msgspec.json.decode(text), workload)
        except msgspec.DecodeError as error:
            raise ScheduleError(str(error)) from None

    def problem(self, workload: Workload) -> str | None:
        """Why this cannot be the schedule of `workload`, or None."""
        return (
            order_problem(self.order, workload)
            or self._distribution_problem(workload)
            or self._tile_problem(workload)
            or self._vector_problem(workload)
            or self._peel_problem(workload)
            or self._prefetch_problem(workload)
            or self._producer_problem(workload)
        )

    def _distribution_problem(self, workload: Workload) -> str | None:
        if len(self.distribute) > MAX_DISTRIBUTED:
            return f"distribute: at most {MAX_DISTRIBUTED} loops can be distributed, not {len(self.distribute)}"
        for loop, part in self.distribute:
            if loop in workload.reductions:
                return f"distribute: `{loop}` is a reduction; only parallel loops can be distributed"
            if not 1 <= part <= workload.extents[loop]:
                return f"distribute: {part} iterations of `{loop}`; it has {workload.extents[loop]}"
        return None

    def _tile_problem(self, workload: Workload) -> str | None:
        for loop, tile in self.tile:
            extent = workload.extents[loop]
            most = self.part_of(loop, extent)
            if not 1 <= tile <= most:
                return f"tile: {tile} iterations of `{loop}`; a workgroup has {most}"
            if loop in workload.reductions and extent % tile:
                return f"tile: {tile} does not divide the {extent} iterations of reduction `{loop}`"
        return None

    def _vector_problem(self, workload: Workload) -> str | None:
        if (why := vector_problem(self.vector, workload)) is not None:
            return why
        if self.lanes < 1:
            return f"lanes: expected at least 1, found {self.lanes}"
        tile = self.tile_of(self.vector)
        if workload.sparsity is None and tile % self.lanes:
            return f"tile: {tile} iterations of `{self.vector}` are no multiple of the {self.lanes} lanes"
        return None

    def _peel_problem(self, workload: Workload) -> str | None:
        if self.peel and workload.sparsity is not None:
            return "peel: loops of sparse weights are not peeled"
        for loop in self.peel:
            part = self.part_of(loop, workload.extents[loop])
            if loop in workload.reductions:
                return f"peel: `{loop}` is a reduction; only parallel loops can be peeled"
            if loop == self.vector and part % self.lanes:
                return f"peel: {part} iterations of `{loop}` are no multiple of the {self.lanes} lanes"
        return None

    def _prefetch_problem(self, workload: Workload) -> str | None:
        if self.prefetch and workload.sparsity is not None:
            return "prefetch: sparse weights are not fetched ahead"
        return None

    def _producer_problem(self, workload: Workload) -> str | None:
        if workload.producer is None and (self.producer is not None or self.apart):
            return "producer: all that this workload reads is computed by other kernels"
        if workload.producer is not None and self.producer is None:
            return f"producer: a schedule of what computes tensor {workload.producer.tensor} is missing"
        return None

    def accumulators(self, workload: Workload) -> int:
        """How many vectors of results a register tile has."""
        across = math.ceil(self.tile_of(self.vector) / self.lanes)
        rest = (self.tile_of(loop) for loop in workload.parallel if loop != self.vector)
        return across * math.prod(rest)


# What is wrong with the loops that a schedule names, of whatever kind it is.


def check_loops(workload: Workload, fields: Mapping[str, Iterable[str]]) -> None:
    """Raise ScheduleError for a field that names a loop which `workload` does not have."""
    for field, loops in fields.items():
        for loop in loops:
            if loop not in workload.extents:
                raise ScheduleError(f"{field}: there is no loop `{loop}`; there are {_listed(workload.names)}")


def order_problem(order: Sequence[str], workload: Workload) -> str | None:
    """Why loops cannot be in this order, or None."""
    wanted = [loop.name for loop in workload.loops if loop.extent > 1]
    if sorted(order) != sorted(wanted):
        return f"order has {_listed(order)}; it must have each of {_listed(wanted)} once"
    kinds = [loop in workload.reductions for loop in order]
    if kinds != sorted(kinds):
        return f"order must name the parallel loops before the reductions, {_listed(workload.reductions)}"
    return None


def vector_problem(vector: str, workload: Workload) -> str | None:
    """Why iterations of this loop cannot be lanes, or None."""
    if vector in workload.reductions or vector not in workload.out:
        return f"vector: `{vector}` is not one of the loops of the result, {_listed(workload.out)}"
    return None


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(f"`{name}`" for name in names if name is not None) or "none"
