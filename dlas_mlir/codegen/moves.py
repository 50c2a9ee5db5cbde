"""Schedules that differ from one another in one decision: what a search over schedules walks along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.gpu import moves as gpu_moves
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.schedule import AnySchedule, Schedule, ScheduleError
from dlas_mlir.codegen.simt import moves as simt_moves
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import AnyTarget, CpuTarget
from dlas_mlir.codegen.workload import Workload

# The decision that a move changes: on CPUs, and on GPUs beside some of these.
Kind = Literal[
    "tile",
    "peel",
    "unroll",
    "distribute",
    "order",
    "reduce",
    "lanes",
    "prefetch",
    "threads",
    "across",
    "vector",
    "warp",
    "stages",
    "split",
    "halo",
    "instruction",
]
# In how many parts a loop is split, at most.
_PARTS = 16


@dataclass(frozen=True)
class Move:
    """A schedule, and which decision was changed to come to it."""

    kind: Kind
    schedule: Any


def moves(workload: Workload, schedule: AnySchedule, target: AnyTarget) -> Iterator[Move]:
    """The legal schedules that differ from `schedule` in one decision, each once. What they are on GPUs is told in
    `simt/moves.py` and `gpu/moves.py`; on CPUs,

    `tile` takes the register tile of a regular schedule, or another number of iterations of one parallel loop, and
    `unroll` of one reduction; `peel` peels one parallel loop or stops to; `distribute` shares one or two parallel
    loops out otherwise; `order` moves one parallel loop, `reduce` one reduction; `lanes` halves or doubles the vectors;
    `prefetch` fetches weights ahead or stops to.
    """
    backend = backends.backend_of(schedule)
    seen = {schedule}
    for kind, found in _near(workload, schedule, target, backend):
        if found not in seen and backend.problem(workload, found, target) is None:
            seen.add(found)
            yield Move(kind, found)


def _near(workload: Workload, schedule: Any, target: Any, backend: Backend) -> Iterator[tuple[Any, AnySchedule]]:
    """What is one decision away; it need not be legal."""
    if isinstance(schedule, SimtSchedule):
        yield from simt_moves.near(workload, schedule, target)
    elif isinstance(schedule, GpuSchedule):
        yield from gpu_moves.near(workload, schedule, target)
    if not isinstance(schedule, Schedule):
        # What the rule chooses among may be far in several decisions.
        yield from (("tile", other) for other in backend.regular(workload, target))
        return
    for kind, fields in _changes(workload, schedule, target, backend):
        try:
            found = Schedule.of(workload, **{**_fields(schedule), **fields})
        except ScheduleError:
            continue
        if kind != "prefetch" and backend.problem(workload, found, target) is not None:
            found = replace(found, prefetch=False)  # what it was to fetch ahead may be gone
        yield kind, found


def _fields(schedule: Schedule) -> dict:
    return {
        "kind": schedule.kind,
        "vector": schedule.vector,
        "lanes": schedule.lanes,
        "order": schedule.order,
        "distribute": dict(schedule.distribute),
        "tile": dict(schedule.tile),
        "peel": schedule.peel,
        "prefetch": schedule.prefetch,
    }


def _changes(
    workload: Workload, schedule: Schedule, target: CpuTarget, backend: Backend
) -> Iterator[tuple[Kind, Mapping]]:
    tile, reductions = dict(schedule.tile), set(workload.reductions)
    for other in backend.regular(workload, target):
        if workload.sparsity is not None:
            # Lanes go with the tile: half as many, and twice as many accumulators, may be faster.
            yield "tile", {"vector": other.vector, "lanes": other.lanes, "order": other.order, "tile": dict(other.tile)}
        elif other.vector == schedule.vector and other.lanes == schedule.lanes:
            sizes = {loop: size for loop, size in other.tile if loop not in reductions}
            kept = {loop: size for loop, size in tile.items() if loop in reductions}
            yield "tile", {"tile": {**kept, **sizes}, "peel": other.peel}
    for parts in _distributions(workload, schedule):
        yield "distribute", {"distribute": parts}
    if workload.sparsity is not None:
        return  # what else there is follows from the tile
    for loop in workload.parallel:
        for size in _sizes(workload, schedule, loop):
            yield "tile", {"tile": {**tile, loop: size}}
    for loop in workload.parallel:
        rest = tuple(name for name in schedule.peel if name != loop)
        yield "peel", {"peel": rest if loop in schedule.peel else (*rest, loop)}
    for loop in workload.reductions:
        if workload.root.dot is None or loop != workload.names[-1]:
            for size in _divisors(workload.extents[loop], target.cost.unrolled_reduction):
                yield "unroll", {"tile": {**tile, loop: size}}
    for order in _orders(schedule, reductions, of_reductions=False):
        yield "order", {"order": order}
    for order in _orders(schedule, reductions, of_reductions=True):
        yield "reduce", {"order": order}
    yield "prefetch", {"prefetch": not schedule.prefetch}
    for lanes in (schedule.lanes // 2, schedule.lanes * 2):
        if 2 <= lanes <= target.lanes(32) and lanes <= workload.extents[schedule.vector]:
            yield "lanes", {"lanes": lanes, "tile": {**tile, schedule.vector: lanes}}


def _divisors(extent: int, most: int) -> list[int]:
    return [size for size in range(1, min(extent, most) + 1) if extent % size == 0]


def _sizes(workload: Workload, schedule: Schedule, loop: str) -> list[int]:
    """Other tiles of a parallel loop: those near its own, divisors, twice and half of it."""
    unit = schedule.lanes if loop == schedule.vector else 1
    most, own = workload.extents[loop] // unit, max(1, schedule.tile_of(loop) // unit)
    sizes = {own - 1, own + 1, own * 2, own // 2, 1, 2, 3, 4, *_divisors(most, 32)}
    return [size * unit for size in sorted(sizes) if 1 <= size <= most and size != own]


def _distributions(workload: Workload, schedule: Schedule) -> Iterator[dict[str, int]]:
    """One distributed loop in other parts, or left whole, or one more."""
    now = dict(schedule.distribute)
    for loop in workload.parallel:
        if workload.extents[loop] > 1:
            without = {name: part for name, part in now.items() if name != loop}
            yield without
            for part in _parts(workload, schedule, loop):
                yield {**without, loop: part}
                yield {loop: part}
    for one, other in combinations(now, 2):
        yield {one: now[one]}
        yield {other: now[other]}


def _parts(workload: Workload, schedule: Schedule, loop: str) -> list[int]:
    """What of a loop a workgroup may do: whole tiles, in at most some parts, the fewest for each number of parts."""
    extent, tile = workload.extents[loop], schedule.tile_of(loop)
    found: dict[int, int] = {}
    for part in range(tile, extent, tile):
        count = -(-extent // part)
        if count <= _PARTS:
            found.setdefault(count, part)
    return list(found.values())


def _orders(schedule: Schedule, reductions: set[str], *, of_reductions: bool) -> Iterator[tuple[str, ...]]:
    """The order with one loop at another place among those of its kind."""
    moved = [loop for loop in schedule.order if (loop in reductions) == of_reductions]
    rest = [loop for loop in schedule.order if (loop in reductions) != of_reductions]
    for loop in moved:
        others = [name for name in moved if name != loop]
        for place in range(len(moved)):
            order = [*others[:place], loop, *others[place:]]
            yield (*rest, *order) if of_reductions else (*order, *rest)
