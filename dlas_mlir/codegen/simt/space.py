"""The schedules of a workload on threads that are tried, what one costs, and the cheapest of them: the rule.

Costs are cycles of a multiprocessor: all threads' instructions at the rate that it issues them, or, where there are too
few threads to hide it, what one thread waits for memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.resources import problem, widest_bytes
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Access, Workload

_SIZES = (1, 2, 4, 8)
_THREADS = (32, 64, 128, 256)
# Reductions that several threads share have as many iterations at least, and as many results at most for each
# multiprocessor; threads that have one together, and results that a workgroup has.
_SHARED_STEPS, _BUSY, _MOST, _BESIDE = 32, 256, 64, (1, 2, 4, 8, 16, 32)


def rule(workload: Workload, target: GpuTarget) -> SimtSchedule:
    """The cheapest regular schedule. Raises LookupError where there is none."""
    return min(_some(workload, target), key=lambda schedule: cost(workload, schedule, target))


def naive(workload: Workload, target: GpuTarget) -> SimtSchedule:
    """One result for each thread, nothing unrolled: what a compiler does that knows threads only."""
    order = (*workload.parallel, *workload.reductions)
    threads = min(target.subgroup_size, target.workgroup_threads)
    vector = layout.vector_of(workload)
    return SimtSchedule.of(workload, vector=vector, lanes=1, tile={}, order=order, threads=threads)


def regular(workload: Workload, target: GpuTarget) -> Iterator[SimtSchedule]:
    """Tiles of some vectors, columns and rows, of which a thread has one."""
    vector = layout.vector_of(workload)
    most = min(layout.widest(workload, vector), target.lanes, max(1, target.load_bytes // widest_bytes(workload)))
    inner = [x for x in workload.out if x is not None and x != vector and workload.extents[x] > 1][-2:]
    order = (*workload.parallel, *workload.reductions)
    unrolled = _unrolled(workload, target.cost.unrolled_reduction)
    vectors = [size for size in _SIZES[:2] if workload.extents[vector] % (size * most) == 0]
    sizes = [[size for size in _SIZES if size < 2 * workload.extents[x]] for x in inner]
    for wide, *across in itertools.product(vectors, *sizes):
        tile = {vector: wide * most, **dict(zip(inner, across, strict=True))}
        tile = {**{x: min(size, workload.extents[x]) for x, size in tile.items()}, **unrolled}
        for threads in _THREADS:
            found = SimtSchedule.of(workload, vector=vector, lanes=most, tile=tile, order=order, threads=threads)
            if problem(workload, found, target) is None:
                yield found
    least = {vector: most, **unrolled}
    for across, threads in _shares(workload, least, target):
        found = SimtSchedule.of(
            workload, vector=vector, lanes=most, tile=least, order=order, threads=threads, across=across
        )
        if problem(workload, found, target) is None:
            yield found


def _shares(workload: Workload, tile: dict[str, int], target: GpuTarget) -> Iterator[tuple[dict[str, int], int]]:
    """Among how many threads a reduction is shared out, and the threads of a workgroup: where there are long ones, and
    too few results for all threads."""
    steps = math.prod(workload.extents[x] for x in workload.reductions)
    results = math.prod(-(-workload.extents[x] // tile.get(x, 1)) for x in workload.parallel)
    if steps < _SHARED_STEPS or layout.combiner(workload) is None or results > _BUSY * target.compute_units:
        return
    for loop in workload.reductions:
        rounds = workload.extents[loop] // tile.get(loop, 1)
        for count in (count for count in range(2, min(rounds, _MOST) + 1) if rounds % count == 0):
            for beside in _BESIDE:
                if _THREADS[0] <= count * beside <= min(target.workgroup_threads, _THREADS[-1]):
                    yield {loop: count}, count * beside


def _unrolled(workload: Workload, most: int) -> dict[str, int]:
    """The innermost reductions, `most` iterations of them at most: loads that neighbours share are done once, and wait
    for memory together."""
    found: dict[str, int] = {}
    for loop in reversed(workload.reductions):
        extent, room = workload.extents[loop], most // math.prod(found.values())
        found[loop] = max(size for size in range(1, min(extent, room) + 1) if extent % size == 0)
        if found[loop] < extent:
            break
    return found


def _some(workload: Workload, target: GpuTarget) -> list[SimtSchedule]:
    return list(regular(workload, target)) or [naive(workload, target)]


def cost(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> float:
    """What a schedule costs, in cycles, relative to others of the workload."""
    weights, parts = target.cost, schedule.parts(workload)
    steps = math.prod(workload.extents[x] for x in workload.reductions)
    straight = math.prod(schedule.tile_of(x) for x in workload.reductions)
    loads = sum(_loads(workload, item, schedule) for item in workload.root.inputs if isinstance(item, Access))
    steps = steps // schedule.joined
    groups = -(-parts * schedule.joined // schedule.threads)
    busy = groups / (-(-groups // target.compute_units) * target.compute_units)
    issued = schedule.points(workload) * steps / weights.thread_sums + loads * steps / straight / weights.thread_loads
    all_threads = groups * schedule.threads / (target.compute_units * busy) * issued
    warps = -(-schedule.threads // target.subgroup_size)
    alone = steps / straight * weights.copy_cycles + issued * target.subgroup_size * warps
    if not schedule.across:
        return weights.start_cycles + max(all_threads, alone)
    # Few workgroups are bound by what one multiprocessor reads; parts that are far from each other waste some of it.
    neighbours = schedule.lanes * widest_bytes(workload)
    if not layout.reads_along(workload, schedule.across[-1][0]):
        neighbours *= schedule.threads // schedule.joined
    read = loads * steps / straight * schedule.threads * schedule.lanes * widest_bytes(workload)
    read *= max(1, weights.sector_bytes / neighbours) * -(-groups // target.compute_units)
    joined = weights.step_cycles * (1 + schedule.joined / 2)
    return weights.start_cycles + max(all_threads, alone, read / weights.far_bytes) + joined


def _loads(workload: Workload, item: Access, schedule: SimtSchedule) -> float:
    """The loads of an operand in the straight code of a step: neighbours share what they read of a window."""
    spread, count = {name: schedule.tile_of(name) for name in workload.names}, 1
    for place, form in enumerate(workload.forms(item)):
        reach = 1 + sum(
            abs(factor) * (spread[workload.names[term]] - 1) for term, factor in form.terms if isinstance(term, int)
        )
        steps = math.prod(spread[workload.names[dim]] for dim in form.dims())
        width = min(reach, steps)
        along = place == len(item.index) - 1 and schedule.vector in {workload.names[dim] for dim in form.dims()}
        count *= -(-width // schedule.lanes) if along else width
    return count
