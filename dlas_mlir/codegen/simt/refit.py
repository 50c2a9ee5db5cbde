"""Schedules of threads fitted to other loops, those of dense kernels and of non-zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress

from dlas_mlir.codegen.fitting import Source, apart, divisors, order_like, tile_like, unrolled_like
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.resources import widest_bytes
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload


def fitted(
    source: Source,
    workload: Workload,
    target: GpuTarget,
    *,
    regular: Callable[[Workload, GpuTarget], Iterator[SimtSchedule]],
) -> Iterator[SimtSchedule]:
    """Schedules of `workload` like the source's; they need not be legal: the same decisions in the sizes of the other
    loops, and the `regular` one that is nearest."""
    with suppress(ScheduleError):
        yield _scaled(source, workload, target)
    known = list(regular(workload, target))
    if known:
        yield min(known, key=lambda other: _far(source, workload, other))


def _scaled(source: Source, workload: Workload, target: GpuTarget) -> SimtSchedule:
    """The source's with each number fitted to the extent of its loop. Raises ScheduleError."""
    schedule, extents = source.schedule, workload.extents
    vector = schedule.vector
    lanes = _lanes(schedule, workload, target)
    tile: dict[str, int] = {}
    for loop in workload.parallel:
        step, own = (lanes, schedule.lanes) if loop == vector else (1, 1)
        units, whole = schedule.tile_of(loop) // own, max(1, source.workload.extents[loop] // own)
        size = tile_like(max(1, units), whole, max(1, extents[loop] // step))
        if loop == vector:
            # Vectors do not overlap.
            size = max(one for one in divisors(extents[loop] // step) if one <= size)
        tile[loop] = size * step
    across = _across(source, workload)
    for loop in workload.reductions:
        own = extents[loop] // across.get(loop, 1)
        whole = source.workload.extents[loop] // dict(schedule.across).get(loop, 1)
        tile[loop] = unrolled_like(schedule.tile_of(loop), whole, own, target.cost.unrolled_reduction)
    joined = math.prod(across.values())
    threads = joined * max(1, round(schedule.threads / joined))
    if threads > target.workgroup_threads:
        threads = joined * max(1, target.workgroup_threads // joined)
    order = order_like(schedule.order, (*workload.parallel, *workload.reductions), workload)
    return SimtSchedule.of(workload, vector=vector, lanes=lanes, tile=tile, order=order, threads=threads, across=across)


def _lanes(schedule: SimtSchedule, workload: Workload, target: GpuTarget) -> int:
    """As many as there were, at most those that everything is aligned by here, and that the target has."""
    most = max(1, target.load_bytes // widest_bytes(workload))
    lanes = math.gcd(schedule.lanes, layout.widest(workload, schedule.vector))
    while lanes > min(target.lanes, most):
        lanes //= 2
    return lanes


def _across(source: Source, workload: Workload) -> dict[str, int]:
    """Each reduction among as many threads as it was, or the divisor that is nearest."""
    return {
        loop: min(divisors(workload.extents[loop]), key=lambda one: apart(one, count))
        for loop, count in source.schedule.across
    }


def _far(source: Source, workload: Workload, other: SimtSchedule) -> tuple[bool, float, float]:
    """How far another schedule is from the source's: along another loop, in results of a thread and threads of a
    workgroup, then loop by loop."""
    schedule = source.schedule
    work = apart(other.points(workload), schedule.points(source.workload))
    work += apart(other.threads, schedule.threads) + apart(other.joined, schedule.joined)
    loops = sum(apart(other.tile_of(loop), schedule.tile_of(loop)) for loop in workload.names)
    return other.vector != schedule.vector, work, loops
