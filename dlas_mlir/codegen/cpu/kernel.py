"""From a scheduled dispatch region to loops and vectors written out.

The loop nest of one workgroup is

    for the parallel loops, in the schedule's order, in steps of their register tiles
      accumulators = initial values                             (register tile x vectors, all in registers)
      for the reduction loops
        accumulators = body(loads, accumulators)                (vector.fma; each load is done once for the tile)
      results = element-wise stages(accumulators)
      write results

after the micro-kernels of Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (SC 2018). IREE's default CPU pipeline bufferises and lowers it as it is. within.py has what is added
where the kernel computes a tensor that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir

from dlas_mlir.codegen.cpu.prefetch import Prefetch
from dlas_mlir.codegen.cpu.within import PartReader, Within
from dlas_mlir.codegen.frame import Workgroup, captured, emit_frame
from dlas_mlir.codegen.loops import over_tiles
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.register_tile import RegisterTile, points_of
from dlas_mlir.codegen.schedule import ATTRIBUTE, Schedule, ScheduleError
from dlas_mlir.codegen.stages import Stages
from dlas_mlir.codegen.taps import borders_of
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.codegen.vector.reader import Reader
from dlas_mlir.opt.base import PassError


def emit(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    """The kernel of `region` at the insertion point, behind that of its producer where that stands apart. Raises
    PassError for a producer that cannot be within."""
    reads, producer, made = captured(region), region.producer, region.produced
    if producer is None or made is None:
        return (emit_frame(region, nest, reads, lambda *given: _fill(region, nest, *given)),)
    workload, schedule = nest.workload, nest.schedule
    assert isinstance(schedule, Schedule)
    assert schedule.producer is not None
    assert workload.producer is not None
    if schedule.apart:
        (before,) = emit(producer, Nest.of(workload.producer.workload, schedule.producer))
        op = emit_frame(region, nest, reads, lambda *given: _fill(region, nest, *given))
        op.operands[reads.index(made)] = before.results[0]
        return before, op
    try:
        within = Within.of(nest)
    except ScheduleError as error:
        raise PassError(f"`{ATTRIBUTE}`: {error}", region.root.op) from None
    reads.remove(made)
    reads += [value for value in captured(producer) if value not in reads]

    def fill(workgroup: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        def part(place: Place, carried: list[ir.Value]) -> list[ir.Value]:
            begins = within.begins(place)
            reader = PartReader(_reader(workgroup, nest), made, within.computed(producer, workgroup, begins), begins)
            return _over(region, nest, nest.cache[len(within.axes) :], workgroup, reader, place, carried)

        return over_tiles(within.axes, workgroup.place, tiles, part)

    return (emit_frame(region, nest, reads, fill),)


def _reader(workgroup: Workgroup, nest: Nest) -> Reader:
    return Reader(workgroup.tensors, Vectors.full(nest.lane.dim, nest.lanes), nest.spans)


def _fill(region: Region, nest: Nest, workgroup: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
    return _over(region, nest, nest.cache, workgroup, _reader(workgroup, nest), workgroup.place, tiles)


def _over(
    region: Region,
    nest: Nest,
    axes: Sequence[Axis],
    workgroup: Workgroup,
    reader: Reader,
    place: Place,
    carried: list[ir.Value],
) -> list[ir.Value]:
    """What is carried with all register tiles over `axes` from `place` on written."""
    stages, borders = Stages(region, workgroup, reader), borders_of(nest.workload)
    ahead = Prefetch.of(region, nest, reader)

    def register_tile(place: Place, carried: list[ir.Value]) -> list[ir.Value]:
        fetch = ahead.at(place) if ahead else None
        return RegisterTile(nest, stages, points_of(region, nest, place), borders, fetch).computed(place, carried)

    return over_tiles(axes, place, carried, register_tile)
