"""The backend of kernels without matrix instructions. What emits operations is imported when a kernel is made."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.simt import layout, resources, schedule, space


def _emit(region: Region, nest: Nest) -> ir.Operation:
    from dlas_mlir.codegen.simt import kernel

    return kernel.emit(region, nest)


BACKEND = Backend(
    kind=schedule.KIND,
    target="gpu",
    takes=lambda workload: layout.refusal(workload) is None,
    refusal=resources.refusal,
    rule=space.rule,
    naive=space.naive,
    regular=space.regular,
    cost=space.cost,
    problem=resources.problem,
    excess=resources.excess,
    emit=_emit,
    schedule=schedule.read,
)
