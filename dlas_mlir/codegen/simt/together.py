"""Which schedules kernels have that follow each other in one launch, and what that costs beside launches of their own.

Costs are cycles of a multiprocessor, as those of `space.py`. A workgroup of a chain waits for what it reads in each
round of its threads, and for the bytes that come in all of them; what it saves is the starts of further kernels, and
what the host takes for each launch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dlas_mlir.codegen.fitting import divisors
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout, space
from dlas_mlir.codegen.simt.resources import problem, shared_bytes, widest_bytes
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Access, Workload, element_bits

# Threads of a workgroup: of images of 7, 14 and 28 rows, too.
_THREADS = (32, 64, 96, 128, 192, 224, 256, 384, 448, 512, 672, 768, 896, 1024)


@dataclass(frozen=True)
class Part:
    """A kernel of a chain: which of its operands the kernels before have computed, and whether it is the last."""

    workload: Workload
    made: frozenset[int]
    last: bool


def alone(workload: Workload, target: GpuTarget) -> float:
    """What a launch of a kernel's own costs, with its schedule by rule."""
    return space.cost(workload, space.rule(workload, target), target) + target.cost.launch_cycles


def together(parts: Sequence[Part], shared: int, target: GpuTarget) -> tuple[float, list[SimtSchedule]] | None:
    """What one launch of all `parts` costs, whose results have the `shared` first dimensions in common, and their
    schedules, of equally many threads; None where there are none, or where what they share does not fit."""
    best: tuple[float, list[SimtSchedule]] | None = None
    kept = sum(_kept_bytes(part.workload, shared) for part in parts if not part.last)
    groups = math.prod(_extent(parts[0].workload, loop) for loop in parts[0].workload.out[:shared])
    for threads in _THREADS:
        found = (
            [_cheapest(part, shared, threads, target) for part in parts] if threads <= target.workgroup_threads else []
        )
        chosen = [one for one in found if one is not None]
        if not found or len(chosen) < len(parts):
            continue
        schedules = [schedule for _, schedule in chosen]
        if all(_slots(part, shared, one) * one.joined == 1 for part, one in zip(parts, schedules, strict=True)):
            continue  # nothing is left to the threads
        joined = sum(shared_bytes(part.workload, one) for part, one in zip(parts, schedules, strict=True))
        if kept + joined > target.shared_bytes:
            continue
        cycles = -(-groups // target.compute_units) * sum(cost for cost, _ in chosen)
        cycles += target.cost.start_cycles + target.cost.launch_cycles
        if best is None or cycles < best[0]:
            best = cycles, schedules
    return best


@lru_cache(maxsize=4096)
def _cheapest(part: Part, shared: int, threads: int, target: GpuTarget) -> tuple[float, SimtSchedule] | None:
    """The cycles and the schedule of a kernel in a workgroup of `threads`."""
    found = [
        (_cycles(part, shared, one, target), number, one)
        for number, one in enumerate(_schedules(part.workload, shared, threads, target))
    ]
    if not found:
        return None
    cycles, _, schedule = min(found, key=lambda entry: entry[:2])
    return cycles, schedule


def _schedules(workload: Workload, shared: int, threads: int, target: GpuTarget) -> Iterator[SimtSchedule]:
    """Those of one vector in a thread, whose reductions are shared out over divisors."""
    inner = [loop for loop in workload.out[shared:] if loop is not None and workload.extents[loop] > 1]
    outer = [loop for loop in workload.out[:shared] if loop is not None]
    vector = (inner or outer or [loop for loop in workload.out if loop is not None])[-1]
    lanes = 1
    if inner:
        most = max(1, target.load_bytes // widest_bytes(workload))
        lanes = min(layout.widest(workload, vector), target.lanes, 1 << (most.bit_length() - 1))
    order = (*workload.parallel, *workload.reductions)
    counts = [divisors(workload.extents[loop]) for loop in workload.reductions]
    if layout.combiner(workload) is None:
        counts = [[1] for _ in workload.reductions]
    for across in itertools.product(*counts):
        if threads % math.prod(across):
            continue
        own = dict(zip(workload.reductions, across, strict=True))
        tile = {vector: lanes, **_unrolled(workload, own, target.cost.unrolled_reduction)}
        try:
            found = SimtSchedule.of(
                workload, vector=vector, lanes=lanes, tile=tile, order=order, threads=threads, across=own
            )
        except ScheduleError:
            continue
        if problem(workload, found, target) is None:
            yield found


def _unrolled(workload: Workload, across: dict[str, int], most: int) -> dict[str, int]:
    """Of each reduction as many iterations as divide a thread's part, the innermost ones first, `most` in all."""
    found: dict[str, int] = {}
    for loop in reversed(workload.reductions):
        part, room = workload.extents[loop] // across[loop], most // math.prod(found.values())
        found[loop] = max(size for size in divisors(part) if size <= max(1, room))
        if found[loop] < part:
            break
    return found


def _cycles(part: Part, shared: int, schedule: SimtSchedule, target: GpuTarget) -> float:
    """What a kernel takes in one workgroup: what its threads wait for, round by round, or all that is read."""
    workload, weights = part.workload, target.cost
    inner = [loop for loop in workload.out[shared:] if loop is not None]
    slots = _slots(part, shared, schedule)
    rounds = -(-slots * schedule.joined // schedule.threads)
    steps = math.prod(workload.extents[loop] // schedule.tile_of(loop) for loop in workload.reductions)
    waited = rounds * -(-steps // schedule.joined) * weights.copy_cycles * weights.chain_waits
    joined = weights.step_cycles * (1 + rounds * (1 + schedule.joined / 2) * bool(schedule.across))
    points = math.prod(workload.extents[loop] for loop in (*inner, *workload.reductions))
    return (
        max(
            waited,
            points / weights.thread_sums,
            _bytes(part, shared, schedule, weights.sector_bytes) / weights.far_bytes,
        )
        + joined
    )


def _slots(part: Part, shared: int, schedule: SimtSchedule) -> int:
    """How many threads, or groups of those that have a result together, have something to do in a workgroup."""
    inner = [loop for loop in part.workload.out[shared:] if loop is not None]
    return math.prod(-(-part.workload.extents[loop] // schedule.tile_of(loop)) for loop in inner)


def _bytes(part: Part, shared: int, schedule: SimtSchedule, sector_bytes: int) -> float:
    """What a workgroup reads and writes in memory; neighbours that are read one by one come in sectors."""
    workload = part.workload
    outer = {loop for loop in workload.out[:shared] if loop is not None}
    total = 0.0
    for stage in workload.stages:
        for item, element in zip((*stage.inputs, stage.initial), (*stage.input_elements, stage.element), strict=False):
            if not isinstance(item, Access) or item.tensor in part.made:
                continue
            width = element_bits(element) // 8
            loops = workload.loops_of(item) - outer
            size = math.prod(workload.extents[loop] for loop in loops) * width
            along = {workload.names[dim] for dim in workload.forms(item)[-1].dims()} if item.index else set()
            near = schedule.vector in along or any(loop in along for loop, _ in schedule.across)
            total += size if near or not loops else size * max(1, sector_bytes / width)
    if part.last:
        for output in workload.outputs:
            width = element_bits(workload.stages[output.stage].element) // 8
            total += math.prod(output.shape[shared:]) * width
    return total


def _kept_bytes(workload: Workload, shared: int) -> int:
    """Of results that stay in a workgroup's memory."""
    elements = [(output, element_bits(workload.stages[output.stage].element) // 8) for output in workload.outputs]
    return sum(math.prod(output.shape[shared:]) * width for output, width in elements)


def _extent(workload: Workload, loop: str | None) -> int:
    return 1 if loop is None else workload.extents[loop]
