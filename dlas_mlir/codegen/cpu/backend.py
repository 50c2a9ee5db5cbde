"""Dense kernels on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import cost, kernel, space
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


class CpuBackend(Backend):
    """Register tiles of vectors, for whatever has no sparse weights."""

    kind: ClassVar[str] = "cpu"
    target: ClassVar[str] = "cpu"

    def takes(self, workload: Workload) -> bool:
        return workload.sparsity is None

    def rule(self, workload: Workload, target: CpuTarget) -> Schedule:
        return space.rule(workload, target)

    def regular(self, workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
        return space.regular(workload, target)

    def cost(self, workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
        return cost.cost(workload, schedule, target)

    def problem(self, workload: Workload, schedule: Schedule, target: CpuTarget) -> str | None:
        return space.Space(workload, target).problem(schedule)

    def emit(self, region: Region, nest: Nest) -> ir.Operation:
        return kernel.emit(region, nest)
