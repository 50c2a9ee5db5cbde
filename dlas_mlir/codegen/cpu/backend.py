"""Dense kernels on CPUs: register tiles of vectors, for whatever has no sparse weights."""

from __future__ import annotations

from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.cpu import ahead, cost, kernel, moves, space
from dlas_mlir.codegen.cpu.naive import naive

BACKEND = Backend(
    kind="cpu",
    target="cpu",
    takes=lambda workload: workload.sparsity is None,
    rule=space.rule,
    naive=naive,
    regular=space.regular,
    near=moves.near,
    cost=cost.cost,
    problem=lambda workload, schedule, target: space.Space(workload, target).problem(schedule),
    emit=kernel.emit,
    nest=ahead.nest_of,
)
