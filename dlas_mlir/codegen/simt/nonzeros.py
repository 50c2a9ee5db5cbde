"""Sparse weights on the threads of a GPU: which schedules there are, what one costs, and the loops that follow.

A thread has the pixels of a few rows in one column, for the output channels of a block. Neighbours among threads have
neighbouring columns, so that they read neighbouring pixels, and the same non-zeros: a warp works on one block. Where
there are few pixels, the non-zeros of a block are shared out over several such rows of threads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from dlas_mlir.codegen.gpu.instructions import INSTRUCTIONS, hardware
from dlas_mlir.codegen.gpu.rule import products_per_cycle
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.simt import resources
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.sparse.roles import SparseRoles
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload, element_bits

# Rows of pixels in a thread, non-zeros that are loaded at the same time, threads of a workgroup.
ROWS = (1, 2, 4, 8)
_TOGETHER = (1, 2, 4, 8)
_THREADS = (32, 64, 128)
# How many threads have the non-zeros of a block, and how many have neighbouring pixels then.
_SHARES, _BESIDE = (2, 4, 8, 16), (8, 16, 32)
# Of a thread's tile, as far as that is not known.
_PIXELS = 4


def misfit(workload: Workload, schedule: SimtSchedule) -> str | None:
    """Why a schedule of threads is none for the sparse `workload`, or None."""
    work = SparseRoles(workload)
    if schedule.vector not in work.pixels:
        return f"vector: `{schedule.vector}` is no loop over pixels, `{'`, `'.join(work.pixels)}`"
    if schedule.lanes != 1:
        return f"lanes: {schedule.lanes}; pixels of non-zeros are not aligned: 1"
    if schedule.tile_of(work.channel) != work.sparsity.block:
        return f"tile: {schedule.tile_of(work.channel)} of `{work.channel}`; a block has {work.sparsity.block}"
    for loop, _ in schedule.across:
        if loop != workload.reductions[0]:
            return f"across: `{loop}`; the non-zeros that are shared out are those of `{workload.reductions[0]}`"
    for loop, tile in schedule.tile:
        if loop in workload.reductions[1:]:
            return (
                f"tile: {tile} of `{loop}`; non-zeros that are loaded together are those of `{workload.reductions[0]}`"
            )
        if loop == work.row and tile > 1 and tile != work.period and work.period % tile:
            return f"tile: {tile} rows of `{loop}`, of which {work.period} are equally far from each other"
        if loop in work.pixels and loop != work.row and tile > 1:
            return f"tile: {tile} of `{loop}`; a thread has one column"
    return None


def excess(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> str | None:
    """Why no kernel of `schedule` runs on `target`, or None."""
    return resources.excess(workload, schedule, target) or misfit(workload, schedule)


def problem(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> str | None:
    """Why `schedule` is not legal for the sparse `workload` on `target`, or None."""
    if (why := excess(workload, schedule, target)) is not None:
        return why
    return resources.straight_problem(workload, schedule, target, registers(workload, schedule, target))


def rule(workload: Workload, target: GpuTarget) -> SimtSchedule:
    """The cheapest regular schedule, the naive one where there is none."""
    found = list(regular(workload, target)) or [naive(workload, target)]
    return min(found, key=lambda schedule: cost(workload, schedule, target))


def regular(workload: Workload, target: GpuTarget) -> Iterator[SimtSchedule]:
    """The legal schedules of some rows in a thread, and non-zeros that wait for memory together."""
    return (one for one in _regular(workload, target) if problem(workload, one, target) is None)


def _regular(workload: Workload, target: GpuTarget) -> Iterator[SimtSchedule]:
    work = SparseRoles(workload)
    channels = workload.reductions[0]
    order = (work.channel, *work.pixels, *workload.reductions)
    for rows in ROWS:
        if rows > work.height or work.period % rows:
            continue
        for together in _TOGETHER:
            if workload.extents[channels] % together:
                continue
            tile = {work.channel: work.sparsity.block, channels: together}
            if work.row is not None:
                tile[work.row] = rows
            for threads, count in _shares():
                if threads <= target.workgroup_threads and workload.extents[channels] % (together * count) == 0:
                    yield SimtSchedule.of(
                        workload,
                        vector=work.vector,
                        lanes=1,
                        tile=tile,
                        order=order,
                        threads=threads,
                        across={channels: count},
                    )


def _shares() -> Iterator[tuple[int, int]]:
    """Threads of a workgroup, and how many of them have a block's non-zeros together."""
    yield from ((threads, 1) for threads in _THREADS)
    yield from ((count * beside, count) for count in _SHARES for beside in _BESIDE if count * beside >= _THREADS[0])


def naive(workload: Workload, target: GpuTarget) -> SimtSchedule:
    """One pixel and one non-zero at a time."""
    work = SparseRoles(workload)
    order = (work.channel, *work.pixels, *workload.reductions)
    threads, tile = min(target.subgroup_size, target.workgroup_threads), {work.channel: work.sparsity.block}
    return SimtSchedule.of(workload, vector=work.vector, lanes=1, tile=tile, order=order, threads=threads)


def registers(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> int:
    """About how many registers of 32 bits a thread needs: its results, and what non-zeros have loaded."""
    block, points = SparseRoles(workload).sparsity.block, schedule.points(workload)
    return points + _together(workload, schedule) * (block + points // block + 2) + target.cost.scratch_registers


def cost(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> float:
    """Cycles, as those of dense kernels of threads (space.cost)."""
    work, weights = SparseRoles(workload), target.cost
    block, points, together = work.sparsity.block, schedule.points(workload), _together(workload, schedule)
    element, shared = workload.root.input_elements[1], schedule.joined
    nonzeros = work.sparsity.nonzeros / (workload.extents[work.channel] // block) / shared
    issued = nonzeros / steps_per_cycle(block, points // block, element, target)
    # Neighbours that are fewer than fill a sector of memory read some of it for nothing.
    neighbours = schedule.threads // shared * element_bits(element) // 8
    issued *= max(1, weights.sector_bytes / neighbours)
    groups = -(-schedule.parts(workload) * shared // schedule.threads)
    rounds = -(-groups // target.compute_units)
    # The place of a pixel is loaded before the pixel; what is left over goes one by one.
    waits = nonzeros // together + (0 if together == 1 else (together - 1) / 2)
    joined = 0.0
    if shared > 1:
        # Each leaves its sums in the workgroup's memory, and reads those of all.
        issued += points * (1 + shared) / weights.thread_loads
        joined = weights.step_cycles * (1 + shared / 2)
    all_threads = rounds * schedule.threads * issued
    return weights.start_cycles + max(all_threads, waits * weights.copy_cycles / 2) + joined


def steps_per_cycle(block: int, pixels: int, element: str, target: GpuTarget) -> float:
    """How many threads do one non-zero block of `block` output channels for `pixels` pixels each, in a cycle. What is
    not float32 is extended first, by as many instructions as there are numbers."""
    weights, size = target.cost, element_bits(element) // 8
    loads = pixels + 1 + -(-size * block // target.load_bytes)
    issued = block * pixels + (0 if element == "f32" else block + pixels)
    return 1 / (issued / weights.thread_sums + loads / weights.thread_loads)


def _together(workload: Workload, schedule: SimtSchedule) -> int:
    return schedule.tile_of(workload.reductions[0])


def nest_of(workload: Workload, schedule: SimtSchedule) -> Nest:
    """The nest of a schedule that fits. Non-zeros follow each other as the loops do."""
    dense, channel = Nest.of(workload, schedule), SparseRoles(workload).channel
    numbers = {name: number for number, name in enumerate(workload.names)}
    reduce = tuple(Axis(x, numbers[x], "reduce", workload.extents[x], 1) for x in workload.reductions)
    cache = sorted(dense.cache, key=lambda axis: axis.loop == channel)
    return dataclasses.replace(dense, cache=tuple(cache), chunk=(), reduce=reduce, unroll=())


def break_even(block: int, element: str, target: GpuTarget) -> float:
    """The share of zero blocks of `block` output channels from which on a kernel of non-zeros is estimated to be faster
    than the fastest dense one, where both have work for all threads."""
    rate = block * _PIXELS * steps_per_cycle(block, _PIXELS, element, target)
    return max(0.0, 1 - rate / _dense_rate(element, target))


def _dense_rate(element: str, target: GpuTarget) -> float:
    """The multiply-adds of a multiprocessor in a cycle in dense kernels of `element`."""
    weights = target.cost
    rates = [
        products_per_cycle(unit, target)
        for name, unit in INSTRUCTIONS.items()
        if hardware(name) in target.matrix_instructions and unit.operand == element and not unit.rounding
    ]
    # Threads without instructions: some vectors of weights and of pixels, and all products of them.
    lanes = target.load_bytes // 4
    threads = lanes * _PIXELS / (lanes * _PIXELS / weights.thread_sums + (1 + _PIXELS) / weights.thread_loads)
    return max([*rates, threads])
