"""From a scheduled dispatch region to loops and vectors written out.

The loop nest of one workgroup is

    for the parallel loops, in the schedule's order, in steps of their register tiles
      accumulators = initial values                             (register tile x vectors, all in registers)
      for the reduction loops
        accumulators = body(loads, accumulators)                (vector.fma; each load is done once for the tile)
      results = element-wise stages(accumulators)
      write results

after the micro-kernels of Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (SC 2018). IREE's default CPU pipeline bufferises and lowers it as it is.
"""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.cpu.prefetch import Prefetch
from dlas_mlir.codegen.frame import Workgroup, captured, emit_frame
from dlas_mlir.codegen.loops import over_tiles
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.position import Place
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.register_tile import RegisterTile, points_of
from dlas_mlir.codegen.stages import Stages
from dlas_mlir.codegen.taps import borders_of
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.codegen.vector.reader import Reader


def emit(region: Region, nest: Nest) -> tuple[ir.Operation, ...]:
    """The kernel of `region` at the insertion point."""
    borders = borders_of(nest.workload)

    def fill(workgroup: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        reader = Reader(workgroup.tensors, Vectors.full(nest.lane.dim, nest.lanes), nest.spans)
        stages = Stages(region, workgroup, reader)
        ahead = Prefetch.of(region, nest, reader)

        def register_tile(place: Place, carried: list[ir.Value]) -> list[ir.Value]:
            fetch = ahead.at(place) if ahead else None
            tile = RegisterTile(nest, stages, points_of(region, nest, place), borders, fetch)
            return tile.computed(place, carried)

        return over_tiles(nest.cache, workgroup.place, tiles, register_tile)

    return (emit_frame(region, nest, captured(region), fill),)
