"""Dense kernels on CPUs: register tiles of vectors, for whatever has no sparse weights."""

from __future__ import annotations

from functools import partial

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import ahead, cost, kernel, moves, refit, space
from dlas_mlir.codegen.cpu.naive import naive
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def _problem(workload: Workload, schedule: Schedule, target: CpuTarget) -> str | None:
    return space.Space(workload, target).problem(schedule)


BACKEND = Backend(
    kind="cpu",
    target="cpu",
    takes=lambda workload: workload.sparsity is None,
    rule=space.rule,
    naive=naive,
    regular=space.regular,
    near=moves.near,
    fitted=partial(refit.fitted, rule=space.rule, regular=space.regular, problem=_problem),
    cost=cost.cost,
    problem=_problem,
    emit=kernel.emit,
    producers=True,
    nest=ahead.nest_of,
)
