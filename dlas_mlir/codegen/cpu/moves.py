"""Schedules of a CPU that differ from one another in one decision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.cpu.space import Space, regular
from dlas_mlir.codegen.cpu.within import rows_of
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload

# In how many parts a loop is split, at most.
_PARTS = 16


def near(workload: Workload, schedule: Schedule, target: CpuTarget) -> Iterator[tuple[Kind, Schedule]]:
    """What fits the loops; whether it fits the target is not looked at.

    `tile` takes the register tile of a regular schedule, or another number of iterations of one parallel loop, and
    `unroll` of one reduction; `peel` peels one parallel loop or stops to; `distribute` shares one or two parallel
    loops out otherwise; `order` moves one parallel loop, `reduce` one reduction; `lanes` halves or doubles the vectors;
    `prefetch` fetches weights ahead or stops to; `apart` makes a kernel of its own of the producer or stops to, and
    what is changed in the producer's schedule is of the same kinds. What would be too much straight code is left out.
    """
    space, most = Space(workload, target), max(target.cost.straight_code, straight(schedule))
    for kind, fields in _changes(workload, schedule, target):
        found = changed(workload, schedule, fields)
        if found is not None and kind != "prefetch" and space.problem(found) is not None:
            found = replace(found, prefetch=False)  # what it was to fetch ahead may be gone
            if kind != "apart" and workload.producer is not None and space.problem(found) is not None:
                found = replace(found, apart=True)
        if found is not None and straight(found) <= most:
            yield kind, found


def straight(schedule: Schedule) -> int:
    """Operations on vectors of a tile, its iterations and unrolled sums; twice with a peeled loop."""
    return math.prod(size for _, size in schedule.tile) // schedule.lanes << len(schedule.peel)


def changed(workload: Workload, schedule: Schedule, fields: Mapping[str, Any]) -> Schedule | None:
    """`schedule` with other `fields`; None where those do not fit."""
    try:
        return Schedule.of(workload, **{**_fields(schedule), **fields})
    except ScheduleError:
        return None


def _fields(schedule: Schedule) -> dict[str, Any]:
    return {
        "kind": schedule.kind,
        "vector": schedule.vector,
        "lanes": schedule.lanes,
        "order": schedule.order,
        "distribute": dict(schedule.distribute),
        "tile": dict(schedule.tile),
        "peel": schedule.peel,
        "prefetch": schedule.prefetch,
        "apart": schedule.apart,
        "producer": schedule.producer,
    }


def _changes(workload: Workload, schedule: Schedule, target: CpuTarget) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    tile, reductions = dict(schedule.tile), set(workload.reductions)
    for other in regular(workload, target):
        if other.vector == schedule.vector and other.lanes == schedule.lanes:
            sizes = {loop: size for loop, size in other.tile if loop not in reductions}
            kept = {loop: size for loop, size in tile.items() if loop in reductions}
            yield "tile", {"tile": {**kept, **sizes}, "peel": other.peel}
    for parts in distributions(workload, schedule):
        yield "distribute", {"distribute": parts}
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
    if workload.producer is not None and schedule.producer is not None:
        yield "apart", {"apart": not schedule.apart}
        if schedule.apart:
            first = rows_of(workload)
            rest = [loop for loop in schedule.order if loop not in first]
            peel = [loop for loop in schedule.peel if loop not in first]
            yield "apart", {"apart": False, "order": (*first, *rest), "peel": peel, "prefetch": False}
        for kind, producer in near(workload.producer.workload, schedule.producer, target):
            yield kind, {"producer": producer}
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


def distributions(workload: Workload, schedule: Schedule) -> Iterator[dict[str, int]]:
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
