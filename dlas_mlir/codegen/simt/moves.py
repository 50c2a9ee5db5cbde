"""Schedules of threads that differ from one another in one decision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload


def near(
    workload: Workload,
    schedule: SimtSchedule,
    target: GpuTarget,
    *,
    regular: Callable[[Workload, GpuTarget], Iterator[SimtSchedule]],
) -> Iterator[tuple[Kind, SimtSchedule]]:
    """What fits the loops; whether it fits the target is not looked at.

    `tile` gives a thread another number of iterations of one parallel loop, `unroll` of one reduction; `threads` is of
    a workgroup; `lanes` halves or doubles the vectors, and `vector` has them along another loop; `order` numbers the
    threads otherwise; `across` shares one reduction out over more or fewer threads. `tile` takes those that are
    `regular`, too, which may be far in several decisions.
    """
    for kind, fields in _changes(workload, schedule, target):
        try:
            yield kind, SimtSchedule.of(workload, **{**_fields(schedule), **fields})
        except ScheduleError:
            continue
    for other in regular(workload, target):
        yield "tile", other


def _fields(schedule: SimtSchedule) -> dict[str, Any]:
    return {
        "vector": schedule.vector,
        "lanes": schedule.lanes,
        "tile": dict(schedule.tile),
        "order": schedule.order,
        "threads": schedule.threads,
        "across": dict(schedule.across),
    }


def _changes(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    tile, extents = dict(schedule.tile), workload.extents
    for loop in workload.parallel:
        unit = schedule.lanes if loop == schedule.vector else 1
        for size in _sizes(schedule.tile_of(loop) // unit, extents[loop] // unit):
            yield "tile", {"tile": {**tile, loop: size * unit}}
    for loop in workload.reductions:
        for size in range(1, min(extents[loop], target.cost.unrolled_reduction) + 1):
            if extents[loop] % size == 0:
                yield "unroll", {"tile": {**tile, loop: size}}
    # Those that have a result together are in one workgroup.
    least = max(1, target.subgroup_size // schedule.joined) * schedule.joined
    threads = least
    while threads <= target.workgroup_threads:
        yield "threads", {"threads": threads}
        threads += least if threads < 4 * least else threads
    for lanes in (schedule.lanes // 2, schedule.lanes * 2):
        if lanes >= 1:
            yield (
                "lanes",
                {"lanes": lanes, "tile": {**tile, schedule.vector: math.lcm(lanes, tile.get(schedule.vector, 1))}},
            )
    for loop in workload.parallel:
        if loop != schedule.vector and extents[loop] > 1:
            lanes = min(layout.widest(workload, loop), target.lanes)
            sizes = {**tile, schedule.vector: 1, loop: lanes}
            yield "vector", {"vector": loop, "lanes": lanes, "tile": sizes}
    for fields in _shares(workload, schedule, target.workgroup_threads):
        yield "across", fields
    for order in _orders(schedule, workload):
        yield "order", {"order": order}


def _shares(workload: Workload, schedule: SimtSchedule, most: int) -> Iterator[Mapping[str, Any]]:
    """One reduction shared out over another number of threads, in workgroups of as many results as before, and with a
    tile that divides what each has of it."""
    now, tile = dict(schedule.across), dict(schedule.tile)
    for loop in workload.reductions:
        extent = workload.extents[loop]
        for count in range(1, min(extent, most) + 1):
            if extent % count or count == now.get(loop, 1):
                continue
            joined = schedule.joined // now.get(loop, 1) * count
            threads = joined * max(1, schedule.threads // schedule.joined)
            own = math.gcd(tile.get(loop, 1), extent // count)
            yield {"across": {**now, loop: count}, "threads": threads, "tile": {**tile, loop: own}}


def _sizes(own: int, most: int) -> list[int]:
    """Numbers near `own`, and usual ones."""
    sizes = {own - 1, own + 1, own * 2, own // 2, 1, 2, 3, 4, 7, 8}
    return sorted(size for size in sizes if 1 <= size <= most and size != own)


def _orders(schedule: SimtSchedule, workload: Workload) -> Iterator[tuple[str, ...]]:
    """One parallel loop at another place: the last one is that of neighbouring threads."""
    moved = [loop for loop in schedule.order if loop not in workload.reductions]
    rest = [loop for loop in schedule.order if loop in workload.reductions]
    for loop in moved:
        others = [name for name in moved if name != loop]
        for place in range(len(moved)):
            yield (*others[:place], loop, *others[place:], *rest)
