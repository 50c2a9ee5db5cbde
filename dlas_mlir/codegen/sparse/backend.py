"""Kernels over the non-zeros of constant weights, on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse import cost, kernel, space
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


class SparseBackend(Backend):
    """Pixels in the lanes, and a loop over the non-zeros of each block of output channels."""

    kind: ClassVar[str] = "sparse"
    target: ClassVar[str] = "cpu"

    def takes(self, workload: Workload) -> bool:
        return workload.sparsity is not None

    def rule(self, workload: Workload, target: CpuTarget) -> Schedule:
        return space.rule(workload, target)

    def regular(self, workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
        return space.regular(workload, target)

    def cost(self, workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
        return cost.cost(workload, schedule, target)

    def problem(self, workload: Workload, schedule: Schedule, target: CpuTarget) -> str | None:
        return schedule.problem(workload)

    def emit(self, region: Region, nest: Nest) -> ir.Operation:
        return kernel.emit(region, nest)
