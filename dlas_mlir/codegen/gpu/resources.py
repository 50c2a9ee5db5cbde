"""What a schedule takes of a multiprocessor, and what of it there is not."""

from __future__ import annotations

from dataclasses import dataclass

from dlas_mlir.codegen.gpu.instructions import hardware
from dlas_mlir.codegen.gpu.product import STEP, Product
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.gpu.window import Window, halo_bytes
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload

# wgmma reads shared memory in blocks of eight rows, swizzled: they begin at a multiple of this.
ALIGNMENT = 1024


@dataclass(frozen=True)
class Resources:
    """Of one workgroup: threads, bytes of shared memory (and `by` which key), about how many registers of 32 bits each
    thread needs, and those of its `sums` alone, which is no estimate."""

    threads: int
    shared: int
    registers: int
    sums: int
    by: str

    @staticmethod
    def of(product: Product, schedule: GpuSchedule, target: GpuTarget) -> Resources:
        """What `schedule` takes on `target`."""
        steps, shared = steps_bytes(product, schedule), pipeline_bytes(product, schedule)
        by = "stages" if shared == steps else "tile"
        registers = _registers(product, schedule, target)
        return Resources(schedule.threads, shared + ALIGNMENT, registers, sums(schedule), by)

    def excess(self, target: GpuTarget) -> str | None:
        """The first limit of `target` that no kernel can exceed, by the key that decides it."""
        if self.threads > target.workgroup_threads:
            return f"warp: {self.threads} threads; {target.name} has {target.workgroup_threads} in a workgroup"
        if self.shared > target.shared_bytes:
            most = f"{target.name} has {target.shared_bytes} in a workgroup"
            return f"{self.by}: {self.shared} bytes of shared memory; {most}"
        # Each step adds to all sums: those that registers do not hold would be fetched from memory for each product.
        if self.sums > (most := self._most(target)):
            return f"warp: {self.sums} registers for a thread's sums; {target.name} has {most} for {self.threads}"
        return None

    def spill(self, target: GpuTarget) -> str | None:
        """Why a thread's registers are not enough, by the key that decides it, or None."""
        if self.registers > (most := self._most(target)):
            return f"warp: some {self.registers} registers in a thread; {target.name} has {most} for {self.threads}"
        return None

    def _most(self, target: GpuTarget) -> int:
        """The registers that a thread can have, beside so many others."""
        return min(target.registers, target.unit_registers // self.threads)

    def resident(self, target: GpuTarget) -> int:
        """How many workgroups one multiprocessor holds at the same time."""
        by_registers = target.unit_registers // (self.threads * min(self.registers, target.registers))
        return max(1, min(target.unit_shared_bytes // self.shared, by_registers, target.unit_threads // self.threads))


def pipeline_bytes(product: Product, schedule: GpuSchedule) -> int:
    """Shared memory for the steps that are under way, and later for the sums of the tile."""
    return max(steps_bytes(product, schedule), schedule.tile.rows * sums_pitch(schedule))


def steps_bytes(product: Product, schedule: GpuSchedule) -> int:
    """Shared memory for the steps that are under way, and a halo."""
    return halo_of(product, schedule) + schedule.stages * stage_bytes(schedule)


def stage_bytes(schedule: GpuSchedule) -> int:
    """That of one step; with a halo, of its columns."""
    return (schedule.tile.columns + (0 if schedule.halo else schedule.tile.rows)) * STEP


def halo_of(product: Product, schedule: GpuSchedule) -> int:
    """That of a halo, 0 without."""
    if not schedule.halo:
        return 0
    return halo_bytes(product, schedule.split, schedule.tile.rows, window_of(product))


def sums_pitch(schedule: GpuSchedule) -> int:
    """Bytes from one row of sums to the next: some more than it has, against conflicts of banks."""
    return schedule.tile.columns * 4 + 32


def sums(schedule: GpuSchedule) -> int:
    """The sums that a thread has, each of 32 bits."""
    return schedule.warp.rows * schedule.warp.columns // schedule.unit.threads


def _registers(product: Product, schedule: GpuSchedule, target: GpuTarget) -> int:
    warp, unit = schedule.warp, schedule.unit
    rows = window_of(product).rows(schedule.tile.rows) if schedule.halo else schedule.tile.rows
    copied = (rows + schedule.tile.columns) * 8 // schedule.threads
    operands = 0 if unit.kind == "wgmma" else warp.rows // 16 * 4 + warp.columns // 8 * 2
    own = sums(schedule)
    if unit.products > 1:
        # Operands in parts, and the sums of one step.
        operands, own = 2 * operands, 2 * own
    return own + operands + 2 * copied + target.cost.matrix_scratch_registers


def problem(workload: Workload, schedule: GpuSchedule, target: GpuTarget) -> str | None:
    """Why `schedule` is not legal for `workload` on `target`, or None."""
    return excess(workload, schedule, target) or Resources.of(Product.of(workload), schedule, target).spill(target)


def excess(workload: Workload, schedule: GpuSchedule, target: GpuTarget) -> str | None:
    """Why no kernel of `schedule` runs on `target`, or None."""
    if (why := schedule.problem(workload)) is not None:
        return why
    if hardware(schedule.instruction) not in target.matrix_instructions:
        known = ", ".join(target.matrix_instructions) or "none"
        return f"instruction: {target.name} has no `{schedule.instruction}`; it has {known}"
    return Resources.of(Product.of(workload), schedule, target).excess(target)


def tiles(product: Product, schedule: GpuSchedule) -> tuple[int, int]:
    """Tiles down and across."""
    rows = window_of(product).pixels if schedule.halo else product.m
    return -(-rows // schedule.tile.rows), -(-product.n // schedule.tile.columns)


def window_of(product: Product) -> Window:
    """The window of a product that has one."""
    found = Window.of(product)
    assert isinstance(found, Window), found
    return found
