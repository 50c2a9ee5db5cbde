"""The schedule of a dense workload that knows nothing of the machine but its vectors and threads."""

from __future__ import annotations

from dlas_mlir.codegen.cpu.space import roles_of
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sharing import in_equal_parts
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def naive(workload: Workload, target: CpuTarget) -> Schedule:
    """One vector of results at a time, loops in the workload's order, the outermost one that is long enough in a part
    for each thread: no result shares what it loads with another, and nothing is kept in a cache on purpose."""
    roles = roles_of(workload, target)
    tile = {roles.vector: roles.lanes}
    return Schedule.of(
        workload,
        kind="cpu",
        vector=roles.vector,
        lanes=roles.lanes,
        order=(*workload.parallel, *workload.reductions),
        distribute=in_equal_parts(workload, workload.parallel, tile, target.threads),
        tile=tile,
        apart=workload.producer is not None,
        producer=naive(workload.producer.workload, target) if workload.producer else None,
    )
