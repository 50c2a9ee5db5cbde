"""The backends of GPUs. What emits operations is imported when a kernel is made."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.gpu import moves, pooling, refit, resources, rule, schedule
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.schedule import KIND
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload


def _emit(region: Region, nest: GpuNest) -> tuple[ir.Operation, ...]:
    from dlas_mlir.codegen.gpu import tensor_core

    return tensor_core.emit(region, nest)


# Products of matrices on tensor cores.
TENSOR_CORE = Backend(
    kind=KIND,
    target="gpu",
    takes=lambda workload: schedule.problem_of_workload(workload) is None,
    refusal=lambda workload, target: schedule.problem_of_workload(workload) or rule.refusal(workload, target),
    rule=rule.rule,
    naive=rule.naive,
    regular=rule.regular,
    near=moves.near,
    fitted=refit.fitted,
    cost=rule.cost,
    problem=resources.problem,
    excess=resources.excess,
    emit=_emit,
    schedule=schedule.read,
    nest=GpuNest.of,
)


def _behind_product(region: Region, nest: pooling.PooledNest) -> tuple[ir.Operation, ...]:
    raise ScheduleError(f"kind: `{pooling.KIND}` is for a pooling in a chain (dlas.chain) behind a product")


def _one_pixel(workload: Workload, target: GpuTarget) -> pooling.PooledSchedule:
    return pooling.PooledSchedule()


# Poolings in the kernel of the product before them: dlas-chain-dispatches says which.
POOLED = Backend(
    kind=pooling.KIND,
    target="gpu",
    takes=lambda workload: pooling.refusal(workload) is None,
    rule=_one_pixel,
    naive=_one_pixel,
    regular=lambda workload, target: iter(()),
    near=lambda workload, schedule, target: iter(()),
    fitted=lambda source, workload, target: iter(()),
    cost=lambda workload, schedule, target: 0.0,
    problem=lambda workload, schedule, target: schedule.problem(workload),
    emit=_behind_product,
    schedule=pooling.read,
    nest=pooling.PooledNest,
)
