"""`GpuNest`: the loop nest that follows from a product and its schedule, as pseudo-code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlas_mlir.codegen.gpu.product import STEP, Product
from dlas_mlir.codegen.gpu.resources import steps_bytes, tiles
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.workload import Workload


@dataclass(frozen=True)
class GpuNest:
    """What the kernel of `workload` with `schedule` does. `remark` says what of the schedule is not obeyed."""

    workload: Workload
    schedule: GpuSchedule
    remark: str = ""

    @staticmethod
    def of(workload: Workload, schedule: GpuSchedule) -> GpuNest:
        """The nest of a schedule that fits."""
        return GpuNest(workload, schedule)

    @property
    def product(self) -> Product:
        """The workload as a product of matrices."""
        return Product.of(self.workload)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        product, schedule = self.product, self.schedule
        tile, warp, unit = schedule.tile, schedule.warp, schedule.unit
        down, across = tiles(product, schedule)
        rows, shared = " x ".join(product.rows) or "1", steps_bytes(product, schedule)
        yield f"for workgroup in {rows} by {tile.rows} ({down}), {product.column} by {tile.columns} ({across})"
        if schedule.split > 1:
            how = "a cluster" if schedule.clustered else "a grid; a second kernel adds the parts up"
            yield f"  for part of the sum in {schedule.split} workgroups of {how}"
        count = schedule.threads // unit.threads
        yield f"  for {count} blocks of {warp} in {unit.threads} threads each"
        yield f"    acc = 0 in {warp.rows * warp.columns // unit.threads} registers"
        taps = " x ".join((*product.taps, product.depth))
        if schedule.halo:
            yield "    load the pixels of the tile, and those around it, once for each 128 bytes of channels"
        yield f"    for {taps} by {STEP} bytes ({product.steps}), {schedule.stages} steps in {shared} bytes"
        yield f"      acc += {schedule.instruction}(tensor{product.a.tensor}, tensor{product.b.tensor})"
        for number, _ in enumerate(self.workload.stages[1:], 1):
            yield f"    stage{number}"
        for output in self.workload.outputs:
            yield f"    store {f'stage{output.stage}' if output.stage else 'acc'}"
