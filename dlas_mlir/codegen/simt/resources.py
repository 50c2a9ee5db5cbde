"""What a schedule takes of a thread and of a workgroup, and what of it a target does not have."""

from __future__ import annotations

import math

from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Access, Workload, element_bits


def refusal(workload: Workload, target: GpuTarget) -> str | None:
    """Why `target` has no threads that compute `workload`, or None."""
    if (why := layout.refusal(workload)) is not None:
        return why
    used = {tensor.element for tensor in workload.tensors} | {stage.element for stage in workload.stages}
    used |= {step.type for stage in workload.stages for step in stage.body} - {"i1", "index"}
    missing = sorted(used - set(target.elements))
    return f"{target.name} does not compute with {', '.join(missing)}" if missing else None


def excess(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> str | None:
    """Why no kernel of `schedule` runs on `target`, or None."""
    if (why := refusal(workload, target) or schedule.problem(workload)) is not None:
        return why
    if schedule.threads > target.workgroup_threads:
        return f"threads: {schedule.threads}; {target.name} has {target.workgroup_threads} in a workgroup"
    if (size := shared_bytes(workload, schedule)) > target.shared_bytes:
        return f"across: {size} bytes of shared memory; {target.name} has {target.shared_bytes} in a workgroup"
    if schedule.lanes > target.lanes:
        return f"lanes: {schedule.lanes}; {target.name} has vectors of {target.lanes}"
    if (size := schedule.lanes * widest_bytes(workload)) > max(target.load_bytes, widest_bytes(workload)):
        return f"lanes: {schedule.lanes} are {size} bytes; {target.name} loads {target.load_bytes} at once"
    # All results of a thread are in use until the end: those that registers do not hold would live in memory.
    if (points := schedule.points(workload)) > (most := most_registers(schedule, target)):
        return f"tile: {points} results in a thread's registers; {_has(most, schedule, target)}"
    return None


def most_registers(schedule: SimtSchedule, target: GpuTarget) -> int:
    """The registers that a thread can have, beside so many others."""
    return min(target.registers, target.unit_registers // schedule.threads)


def _has(registers: int, schedule: SimtSchedule, target: GpuTarget) -> str:
    return f"{target.name} has {registers} for {schedule.threads} threads"


def problem(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> str | None:
    """Why `schedule` is not legal for `workload` on `target`, or None."""
    wanted = registers(workload, schedule, target)
    return excess(workload, schedule, target) or straight_problem(workload, schedule, target, wanted)


def straight_problem(workload: Workload, schedule: SimtSchedule, target: GpuTarget, registers: int) -> str | None:
    """Why the code of a thread that wants so many registers is slow or too long, or None."""
    if registers > (most := most_registers(schedule, target)):
        return f"tile: some {registers} registers in a thread; {_has(most, schedule, target)}"
    unrolled = math.prod(schedule.tile_of(loop) for loop in workload.reductions)
    if (steps := unrolled * schedule.points(workload) // schedule.lanes) > target.cost.unrolled_steps:
        return f"tile: {steps} operations on vectors in straight code; at most {target.cost.unrolled_steps}"
    return None


def shared_bytes(workload: Workload, schedule: SimtSchedule) -> int:
    """The bytes that a workgroup shares."""
    size = element_bits(workload.root.element) // 8
    return schedule.threads * schedule.points(workload) * size if schedule.across else 0


def registers(workload: Workload, schedule: SimtSchedule, target: GpuTarget) -> int:
    """About how many registers of 32 bits a thread needs: its results, and what it has loaded and not used up."""
    points = schedule.points(workload)
    across = {loop: schedule.tile_of(loop) for loop in workload.parallel}
    loaded = 0
    for item in workload.root.inputs:
        if isinstance(item, Access):
            loops = workload.loops_of(item)
            loaded += math.prod(across[loop] for loop in workload.parallel if loop in loops)
    return points + loaded + target.cost.scratch_registers


def widest_bytes(workload: Workload) -> int:
    """The bytes of the widest element that the root reads."""
    root = workload.root
    elements = zip(root.inputs, root.input_elements, strict=False)
    return max([1, *(element_bits(element) // 8 for item, element in elements if isinstance(item, Access))])
