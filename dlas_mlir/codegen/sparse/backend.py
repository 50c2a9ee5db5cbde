"""Kernels over the non-zeros of constant weights, on CPUs: pixels in the lanes, a loop for each block of channels."""

from __future__ import annotations

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.sparse import cost, kernel, moves, nest, space
from dlas_mlir.codegen.sparse.naive import naive

BACKEND = Backend(
    kind="sparse",
    target="cpu",
    takes=lambda workload: workload.sparsity is not None,
    rule=space.rule,
    naive=naive,
    regular=space.regular,
    near=moves.near,
    cost=cost.cost,
    problem=lambda workload, schedule, target: schedule.problem(workload),
    emit=kernel.emit,
    nest=nest.nest_of,
)
