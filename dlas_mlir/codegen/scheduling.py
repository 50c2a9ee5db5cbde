"""The schedules of a workload on a target: the legal ones, what each costs, and the one that the rule takes."""

from __future__ import annotations

from collections.abc import Iterator

from dlas_mlir.codegen.cpu import cost as cpu_cost
from dlas_mlir.codegen.cpu import space as cpu_space
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse import cost as sparse_cost
from dlas_mlir.codegen.sparse import space as sparse_space
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def rule(workload: Workload, target: CpuTarget) -> Schedule:
    """The cheapest of the regular schedules."""
    return (cpu_space if workload.sparsity is None else sparse_space).rule(workload, target)


def regular(workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
    """The schedules that the rule chooses among: those whose cost was fitted to measurements."""
    return (cpu_space if workload.sparsity is None else sparse_space).regular(workload, target)


def cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """What a schedule costs, relative to others of the same workload."""
    return (cpu_cost if workload.sparsity is None else sparse_cost).cost(workload, schedule, target)
