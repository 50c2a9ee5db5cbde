"""The loop nest of a sparse contraction: its sums over non-zeros, in chunks of channels around the output channels."""

from __future__ import annotations

import dataclasses

from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse.roles import SparseRoles
from dlas_mlir.codegen.workload import Workload


def nest_of(workload: Workload, schedule: Schedule) -> Nest:
    """The nest of a schedule that fits (Schedule.problem)."""
    dense, channel = Nest.of(workload, schedule), SparseRoles(workload).channel
    numbers = {name: number for number, name in enumerate(workload.names)}
    # Non-zeros follow each other as the loops do, whatever their order in a schedule.
    reduce = tuple(Axis(x, numbers[x], "reduce", workload.extents[x], 1) for x in workload.reductions)
    first = reduce[0]
    chunk = Axis(first.loop, first.dim, "chunk", first.extent, schedule.tile_of(first.loop))
    # The loop of output channels is the innermost one, be it of one iteration.
    cache = sorted(dense.cache, key=lambda axis: axis.loop == channel and workload.extents[channel] == 1)
    whole = chunk.count == 1 or can_hold_sums(workload, schedule)
    remark = "" if whole else f"all of `{first.loop}` is one chunk: the sums of one cannot be left in the result"
    chunks = (chunk,) if can_hold_sums(workload, schedule) else ()
    return dataclasses.replace(dense, cache=tuple(cache), chunk=chunks, reduce=reduce, unroll=(), remark=remark)


def can_hold_sums(workload: Workload, schedule: Schedule) -> bool:
    """Whether the sums of a chunk can be left in the result: its elements are the accumulator's, lanes together, and no
    other workgroup writes there meanwhile."""
    output = workload.outputs[0]
    same = workload.stages[output.stage].element == workload.root.element
    alone = all(extent % schedule.part_of(loop, extent) == 0 for loop, extent in workload.extents.items())
    return same and alone and workload.out[-1] == schedule.vector
