"""Kernels over the non-zeros of constant weights, on CPUs: pixels in the lanes, a loop for each block of channels."""

from __future__ import annotations

from functools import partial

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import refit
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse import cost, kernel, moves, nest, space
from dlas_mlir.codegen.sparse.naive import naive
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def _problem(workload: Workload, schedule: Schedule, target: CpuTarget) -> str | None:
    return schedule.problem(workload)


def _refusal(workload: Workload, target: CpuTarget) -> str | None:
    """Nobody has fitted what other elements cost."""
    if workload.sparsity is None or set(workload.root.input_elements) == {"f32"}:
        return None
    return f"its weights are sparse, and it multiplies {' and '.join(workload.root.input_elements)}"


BACKEND = Backend(
    kind="sparse",
    target="cpu",
    takes=lambda workload: workload.sparsity is not None,
    refusal=_refusal,
    rule=space.rule,
    naive=naive,
    regular=space.regular,
    near=moves.near,
    fitted=partial(refit.fitted, rule=space.rule, regular=space.regular, problem=_problem),
    cost=cost.cost,
    problem=_problem,
    emit=kernel.emit,
    nest=nest.nest_of,
)
