"""The backends of GPUs. What emits operations is imported when a kernel is made."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.gpu import moves, refit, resources, rule, schedule
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.schedule import KIND
from dlas_mlir.codegen.region import Region


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
