"""The schedule of a sparse workload that knows nothing of the machine but its vectors and threads."""

from __future__ import annotations

from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sharing import in_equal_parts
from dlas_mlir.codegen.sparse.roles import ELEMENT_BYTES, SparseRoles
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def naive(workload: Workload, target: CpuTarget) -> Schedule:
    """One vector of pixels at a time, for the output channels of a block of the encoding, and all input channels in one
    chunk. Rows, or whatever is the outermost loop that is long enough, in a part for each thread."""
    work = SparseRoles(workload)
    lanes = target.lanes(8 * ELEMENT_BYTES) if work.lies_in_lanes else 1
    while lanes > work.width:
        lanes //= 2
    first = workload.reductions[0]
    tile = {work.vector: lanes, work.channel: work.sparsity.block, first: workload.extents[first]}
    loops = [loop for loop in work.order if loop != work.vector]
    return Schedule.of(
        workload,
        kind="sparse",
        vector=work.vector,
        lanes=lanes,
        order=(*work.order, *workload.reductions),
        distribute=in_equal_parts(workload, loops, tile, target.threads),
        tile=tile,
    )
