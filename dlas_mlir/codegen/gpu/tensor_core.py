"""The kernel of a product of matrices on tensor cores.

    copy the first steps of both factors to shared memory            (cp.async, a group for each step)
    for the steps of the sum
      wait for the oldest group; all threads; copy a further step in the place that has become free
      sums += products of small matrices of the step                 (mma.sync or wgmma)
    lay the sums out in shared memory; compute the stages; write the results

after the multi-stage pipelines of CUTLASS (Thakkar et al.) and the implicit product of cuDNN (Chetlur et al., 2014).
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from iree.compiler import ir

from dlas_mlir.codegen.frame import captured
from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.copies import Copies
from dlas_mlir.codegen.gpu.epilogue import Epilogue
from dlas_mlir.codegen.gpu.executable import Launch, dispatch
from dlas_mlir.codegen.gpu.halo_copies import HaloCopies
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.mma import WarpSums
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.product import STEP
from dlas_mlir.codegen.gpu.resources import ALIGNMENT, halo_of, pipeline_bytes, stage_bytes, tiles, window_of
from dlas_mlir.codegen.gpu.wgmma import GroupSums
from dlas_mlir.codegen.gpu.window import chunks
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.workload import Access as Described
from dlas_mlir.opt.base import PassError

# How each kind of instruction makes sums.
Sums: TypeAlias = "WarpSums | GroupSums"
SUMS: dict[str, type[WarpSums] | type[GroupSums]] = {"mma": WarpSums, "wgmma": GroupSums}


def emit(region: Region, nest: GpuNest) -> ir.Operation:
    """The kernel of `region` at the insertion point, and its executable in the module."""
    product, schedule = nest.product, nest.schedule
    reads = captured(region)
    down, across = tiles(product, schedule)
    grid = (across, down, schedule.split)
    launch = Launch(grid, schedule.threads, schedule.split)

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        pointers = dict(zip(reads, sources, strict=True))
        _Kernel(region, nest, pointers, targets).emit()

    results, updates = [output.type for output in region.outputs], [output.into for output in region.outputs]
    return dispatch(_name(nest), launch, reads, results, updates, body)


def _name(nest: GpuNest) -> str:
    """One name for one kernel: its product, and what tells it from others."""
    product, text = nest.product, nest.workload.to_json() + nest.schedule.to_json()
    sizes = f"{product.m}x{product.n}x{product.k}"
    return f"product_{sizes}_{product.element}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class _Kernel:
    def __init__(
        self, region: Region, nest: GpuNest, pointers: dict[ir.Value, ir.Value], targets: list[ir.Value]
    ) -> None:
        self.product, self.schedule = nest.product, nest.schedule
        self.region, self.pointers, self.targets = region, pointers, targets

    def emit(self) -> None:
        product, schedule = self.product, self.schedule
        shared = machine.shared(pipeline_bytes(product, schedule), ALIGNMENT)
        thread = machine.thread()
        n0 = machine.mul(machine.workgroup(0), schedule.tile.columns)
        m0 = machine.mul(machine.workgroup(1), schedule.tile.rows)
        rank = machine.workgroup(2) if schedule.split > 1 else 0
        places = (*self._factors(), shared)
        if schedule.halo:
            count = chunks(product, schedule.split)
            first, steps = machine.mul(rank, count), count * product.tap_count
            copies = HaloCopies(product, schedule, window_of(product), places, thread, (m0, n0), first)
        else:
            first, steps = _part(product.steps, schedule.split, rank)
            copies = Copies(product, schedule, places, thread, (m0, n0), first)
        from_b = halo_of(product, schedule) or schedule.tile.rows * STEP
        sums = SUMS[schedule.unit.kind](schedule, shared, thread, from_b)
        values = self._pipeline(copies, sums, steps)
        epilogue = Epilogue(self.region, product, schedule, self.pointers, self.targets)
        sums.finish()
        machine.wait_copies(0)
        machine.barrier()
        epilogue.lay_out(sums.fragments(values), shared, sums.row, sums.column)
        if schedule.split == 1:
            machine.barrier()
            epilogue.finish(shared, thread, m0, n0)
        else:
            machine.cluster_barrier()
            epilogue.finish(shared, machine.add(machine.mul(rank, schedule.threads), thread), m0, n0)
            # Nobody leaves while others read what it has laid out.
            machine.cluster_barrier(relaxed=True)

    def _factors(self) -> tuple[ir.Value, ir.Value]:
        """Where the two factors are."""
        numbers: dict[int, ir.Value] = {}
        for item, described in zip(self.region.root.inputs, self.product.workload.root.inputs, strict=True):
            if not isinstance(item, Access) or not isinstance(described, Described):
                raise PassError("a product multiplies two tensors", self.region.op)
            numbers[described.tensor] = self.pointers[item.view.source]
        return numbers[self.product.a.tensor], numbers[self.product.b.tensor]

    def _pipeline(self, copies: Copies | HaloCopies, sums: Sums, steps: Number) -> list[ir.Value]:
        """The sums of so many steps."""
        stages, size = self.schedule.stages, stage_bytes(self.schedule)
        # Where products of the step before are still under way, its place is not free.
        ahead = stages - 1 - sums.under_way
        for step in range(ahead):
            machine.when(machine.less(step, steps), lambda step=step: copies.copy(step, step * size))
            machine.commit_copies()

        def advanced(place: Number) -> ir.Value:
            following = machine.add(place, size)
            at_end = machine.equal(following, stages * size)
            return machine.value(machine.chosen(at_end, 0, following))

        def body(step: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            stage, free, *values = carried
            machine.wait_copies(ahead - 1)
            sums.before_barrier()
            machine.barrier()
            rows = copies.place_of(step) if isinstance(copies, HaloCopies) else 0
            found = sums.step(stage, values, rows) if sums.under_way else []
            later = machine.add(step, ahead)
            machine.when(machine.less(later, steps), lambda: copies.copy(later, free))
            machine.commit_copies()
            sums.after_copies()
            return [advanced(stage), advanced(free), *(found or sums.step(stage, values))]

        first, free = machine.value(0), machine.value(ahead % stages * size)
        return machine.loop(steps, [first, free, *sums.start()], body)[2:]


def _part(steps: int, split: int, rank: Number) -> tuple[Number, Number]:
    """The first step of a workgroup's part of the sum, and how many there are."""
    if split == 1:
        return 0, steps
    most = -(-steps // split)
    first = machine.mul(rank, most)
    if steps % split == 0:
        return first, most
    left = machine.sub(steps, first)
    return first, machine.chosen(machine.less(left, most), left, most)
