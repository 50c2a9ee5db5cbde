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

from iree.compiler import ir

from dlas_mlir.codegen.frame import captured
from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.copies import Copies
from dlas_mlir.codegen.gpu.epilogue import Epilogue
from dlas_mlir.codegen.gpu.executable import Launch, dispatch
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.mma import WarpSums
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.product import STEP
from dlas_mlir.codegen.gpu.resources import ALIGNMENT, pipeline_bytes
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.workload import Access as Described
from dlas_mlir.opt.base import PassError


def emit(region: Region, nest: GpuNest) -> ir.Operation:
    """The kernel of `region` at the insertion point, and its executable in the module."""
    product, schedule = nest.product, nest.schedule
    reads = captured(region)
    tile = schedule.tile
    grid = (-(-product.n // tile.columns), -(-product.m // tile.rows), schedule.split)
    launch = Launch(grid, schedule.threads)

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
        shared = machine.shared(pipeline_bytes(schedule), ALIGNMENT)
        thread = machine.thread()
        n0 = machine.mul(machine.workgroup(0), schedule.tile.columns)
        m0 = machine.mul(machine.workgroup(1), schedule.tile.rows)
        copies = Copies(product, schedule, (*self._factors(), shared), thread, (m0, n0))
        sums = WarpSums(schedule, shared, thread)
        values = self._pipeline(copies, sums, product.steps)
        epilogue = Epilogue(self.region, product, schedule, self.pointers, self.targets)
        machine.wait_copies(0)
        machine.barrier()
        epilogue.lay_out(sums.fragments(values), shared, sums.row, sums.column)
        machine.barrier()
        epilogue.finish(shared, thread, m0, n0)

    def _factors(self) -> tuple[ir.Value, ir.Value]:
        """Where the two factors are."""
        numbers: dict[int, ir.Value] = {}
        for item, described in zip(self.region.root.inputs, self.product.workload.root.inputs, strict=True):
            if not isinstance(item, Access) or not isinstance(described, Described):
                raise PassError("a product multiplies two tensors", self.region.op)
            numbers[described.tensor] = self.pointers[item.view.source]
        return numbers[self.product.a.tensor], numbers[self.product.b.tensor]

    def _pipeline(self, copies: Copies, sums: WarpSums, steps: int) -> list[ir.Value]:
        """The sums of all steps."""
        stages, size = self.schedule.stages, (self.schedule.tile.rows + self.schedule.tile.columns) * STEP
        ahead = stages - 1
        for step in range(ahead):
            if step < steps:
                copies.copy(step, step * size)
            machine.commit_copies()

        def advanced(place: Number) -> ir.Value:
            following = machine.add(place, size)
            at_end = machine.equal(following, stages * size)
            return machine.value(machine.chosen(at_end, 0, following))

        def body(step: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            stage, free, *values = carried
            machine.wait_copies(ahead - 1)
            machine.barrier()
            later = machine.add(step, ahead)
            machine.when(machine.less(later, steps), lambda: copies.copy(later, free))
            machine.commit_copies()
            return [advanced(stage), advanced(free), *sums.step(stage, values)]

        first, free = machine.value(0), machine.value(ahead % stages * size)
        return machine.loop(steps, [first, free, *sums.start()], body)[2:]
