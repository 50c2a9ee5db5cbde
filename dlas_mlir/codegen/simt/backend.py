"""The backends of kernels without matrix instructions, dense ones and those of sparse weights. What emits operations is
imported when a kernel is made."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from iree.compiler import ir

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout, moves, nonzeros, refit, resources, schedule, space
from dlas_mlir.codegen.workload import Workload


def _takes(workload: Workload, *, sparse: bool) -> bool:
    return (workload.sparsity is not None) == sparse and layout.refusal(workload) is None


def _refusal(workload: Workload, target: Any, *, sparse: bool) -> str | None:
    return resources.refusal(workload, target) if (workload.sparsity is not None) == sparse else None


def _emit(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    from dlas_mlir.codegen.simt import kernel

    return kernel.emit(region, nest)


def _emit_nonzeros(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    from dlas_mlir.codegen.simt import kernel

    return kernel.emit_nonzeros(region, nest)


def _nest(workload: Workload, chosen: schedule.SimtSchedule) -> Nest:
    whole, across = Nest.of(workload, chosen), dict(chosen.across)
    parts = (dataclasses.replace(axis, extent=axis.extent // across.get(axis.loop, 1)) for axis in whole.reduce)
    return dataclasses.replace(whole, reduce=tuple(parts))


def _read_nonzeros(value: Any, workload: Workload) -> schedule.SimtSchedule:
    found = schedule.read(value, workload)
    if (why := nonzeros.misfit(workload, found)) is not None:
        raise ScheduleError(why)
    return found


BACKEND = Backend(
    kind=schedule.KIND,
    target="gpu",
    takes=partial(_takes, sparse=False),
    refusal=partial(_refusal, sparse=False),
    rule=space.rule,
    naive=space.naive,
    regular=space.regular,
    near=partial(moves.near, regular=space.regular),
    fitted=partial(refit.fitted, regular=space.regular),
    cost=space.cost,
    problem=resources.problem,
    excess=resources.excess,
    emit=_emit,
    schedule=schedule.read,
    nest=_nest,
)

NONZEROS = Backend(
    kind=schedule.KIND,
    target="gpu",
    takes=partial(_takes, sparse=True),
    refusal=partial(_refusal, sparse=True),
    rule=nonzeros.rule,
    naive=nonzeros.naive,
    regular=nonzeros.regular,
    near=partial(moves.near, regular=nonzeros.regular),
    fitted=partial(refit.fitted, regular=nonzeros.regular),
    cost=nonzeros.cost,
    problem=nonzeros.problem,
    excess=nonzeros.excess,
    emit=_emit_nonzeros,
    schedule=_read_nonzeros,
    nest=nonzeros.nest_of,
)
