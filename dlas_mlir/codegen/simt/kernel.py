"""From a scheduled dispatch region to the code of one thread, which computes one register tile of the result."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.frame import Workgroup, captured, emit_frame
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.register_tile import RegisterTile, points_of
from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.joining import Joining
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.simt.threads import ByThreads
from dlas_mlir.codegen.sparse import kernel as sparse
from dlas_mlir.codegen.stages import Stages
from dlas_mlir.codegen.vector.guarded import GuardedReader
from dlas_mlir.codegen.vector.lanes import Vectors


def emit(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    """The kernel of `region` at the insertion point."""
    schedule = nest.schedule
    assert isinstance(schedule, SimtSchedule)
    beside = bool(schedule.across) and layout.reads_along(nest.workload, schedule.across[-1][0])
    sharing = ByThreads(schedule.threads, schedule.joined, beside)
    joining = Joining(nest.workload, schedule.across, sharing) if schedule.across else None

    def fill(thread: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        reader = GuardedReader(thread.tensors, Vectors.full(nest.lane.dim, nest.lanes), nest.spans)
        points = points_of(region, nest, thread.place)
        tile = RegisterTile(nest, Stages(region, thread, reader), points, (), joining=joining)
        return tile.computed(thread.place, tiles)

    return (emit_frame(region, nest, captured(region), fill, sharing=sharing, outside=True),)


def emit_nonzeros(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    """The kernel of `region`, whose weights are sparse: a thread's loop over non-zeros of a block."""
    schedule = nest.schedule
    assert isinstance(schedule, SimtSchedule)
    together = schedule.tile_of(nest.workload.reductions[0])
    sharing = ByThreads(schedule.threads, schedule.joined)
    joining = Joining(nest.workload, schedule.across, sharing) if schedule.across else None
    # Not every device reads 16 bits.
    return sparse.emit(region, nest, sharing=sharing, together=together, narrow=False, shares=joining)
