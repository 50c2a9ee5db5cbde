"""The backend of kernels without matrix instructions. What emits operations is imported when a kernel is made."""

from __future__ import annotations

import dataclasses
from typing import Any

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout, nonzeros, resources, schedule, space
from dlas_mlir.codegen.workload import Workload


def _emit(region: Region, nest: Nest) -> ir.Operation:
    from dlas_mlir.codegen.simt import kernel

    sparse = nest.workload.sparsity is not None
    return kernel.emit_nonzeros(region, nest) if sparse else kernel.emit(region, nest)


def _nest(workload: Workload, chosen: schedule.SimtSchedule) -> Nest:
    sparse = workload.sparsity is not None
    if sparse:
        return nonzeros.nest_of(workload, chosen)
    whole, across = Nest.of(workload, chosen), dict(chosen.across)
    parts = (dataclasses.replace(axis, extent=axis.extent // across.get(axis.loop, 1)) for axis in whole.reduce)
    return dataclasses.replace(whole, reduce=tuple(parts))


def _read(value: Any, workload: Workload) -> schedule.SimtSchedule:
    found = schedule.read(value, workload)
    if workload.sparsity is not None and (why := nonzeros.problem(workload, found)) is not None:
        raise ScheduleError(why)
    return found


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
    schedule=_read,
    nest=_nest,
)
