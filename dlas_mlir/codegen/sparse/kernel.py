"""Kernels of contractions with constant sparse weights: a loop over the non-zeros, with pixels in the lanes.

A linalg.generic is done so when it carries `dlas.sparse`. Its weights are still the dense constant; what the kernel
reads are three constants made of it: the non-zero values, the place of each one's activation, and where each block of
output channels begins. The loop nest of one workgroup is

    for the parallel loops but output channels, in steps of their register tiles
      for chunks of the outermost reduction loop               (so that what is read again and again stays in the cache)
        for blocks of output channels
          accumulators = initial values, or what the chunk before has left in the result
          for the block's non-zeros in this chunk
            accumulators += value * pixels                      (the pixels are at a constant distance from each other)
          results = element-wise stages(accumulators), after the last chunk
          write results

An activation's place is its distance, in the flattened tensor, from that of the pixel's first tap: so a convolution of
any kernel is sparse and direct, as in Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning"
(ICLR 2017), where each non-zero is likewise a value and an offset into the padded activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build
from dlas_mlir.codegen.frame import Workgroup, captured, emit_frame
from dlas_mlir.codegen.loops import over_tiles
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Region
from dlas_mlir.codegen.sparse.contraction import Contraction
from dlas_mlir.codegen.sparse.rows import Rows
from dlas_mlir.codegen.stages import Point, Stages
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.codegen.vector.reader import Reader
from dlas_mlir.ir import affine
from dlas_mlir.ir.constants import constant


def emit(region: Region, nest: Nest) -> ir.Operation:
    """The kernel of `region`, whose root carries `dlas.sparse`, at the insertion point."""
    work = Contraction.of(region, nest)
    reads = captured(region)
    rows = work.rows()
    constants = tuple(constant(array.reshape(-1), "sparse") for array in (rows.starts, rows.offsets, rows.values))
    reads = [value for value in reads if value != work.weights.view.source] + list(constants)

    def fill(workgroup: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        vectors = Vectors(nest.lane.dim, nest.lanes, nest.lane.extent)
        reader = Reader(workgroup.tensors, vectors, nest.spans)
        kernel = _Kernel(work, rows, constants, Stages(region, workgroup, reader), work.points())
        return over_tiles(nest.cache[:-1], workgroup.place, tiles, kernel.pixels)

    return emit_frame(region, nest, reads, fill)


@dataclass(frozen=True)
class _Chunk:
    """One chunk of the outermost reduction: its number, and whether it is the first or the last one."""

    number: ir.Value | int
    first: bool
    last: bool


@dataclass(frozen=True)
class _Kernel:
    """Computes tiles of registers, a vector of pixels for each of `points`. `constants` are what is captured of
    `rows`."""

    work: Contraction
    rows: Rows
    constants: tuple[ir.Value, ...]
    stages: Stages
    points: list[Point]

    def pixels(self, place: Place, tiles: list[ir.Value]) -> list[ir.Value]:
        """All output channels of a tile of pixels, chunk by chunk; the first and the last chunk are not in the loop."""
        channels, chunks = self.work.nest.cache[-1:], self.work.chunks

        def chunk(which: _Chunk, carried: list[ir.Value]) -> list[ir.Value]:
            return over_tiles(channels, place, carried, partial(self._register_tile, which))

        def middle(number: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            return chunk(_Chunk(build.plus(number, 1), False, False), carried)

        tiles = chunk(_Chunk(0, True, chunks == 1), tiles)
        if chunks > 2:
            tiles = build.for_loop(chunks - 2, 1, tiles, middle)
        return chunk(_Chunk(chunks - 1, False, True), tiles) if chunks > 1 else tiles

    def _register_tile(self, chunk: _Chunk, place: Place, tiles: list[ir.Value]) -> list[ir.Value]:
        reader, region = self.stages.reader, self.stages.region
        output, held = region.outputs[0], self.stages.workgroup.tiles
        outer = reader.forget()
        if chunk.first:
            start = self.stages.initial(region.root, place.here, self.points)
        else:
            at = [place.inside.plus(point) for point in self.points]
            start = [held.read(output, tiles[0], inside, reader.vectors) for inside in at]
        sums = self._nonzeros(chunk.number, place.here, start)
        if chunk.last:
            tiles = self.stages.finish(place, self.points, sums, tiles)
        else:
            tiles = [self.stages.write(output, tiles[0], place.inside, self.points, sums), *tiles[1:]]
        reader.restore(outer)
        return tiles

    def _nonzeros(self, number: ir.Value | int, here: Position, start: list[ir.Value]) -> list[ir.Value]:
        """The sums over the non-zeros of a block in a chunk."""
        starts, offsets, values = (self.stages.reader.tensors[value] for value in self.constants)
        data = self.stages.reader.flat(self.work.places.data.view.source)
        number = build.index(number) if isinstance(number, int) else number
        low, high = self._bounds(starts, number, here)
        base = self._base(number, here)

        def step(nonzero: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            signed = self.rows.offsets.dtype == np.int32
            at = arith.addi(build.index_of(build.extract(offsets, [nonzero]), signed), base)
            weights = [self._weight(values, nonzero, channel) for channel in range(self.work.block)]
            vectors: dict[int, ir.Value] = {}
            added = []
            for point, value in zip(self.points, sums, strict=True):
                distance = self.work.places.distance(point)
                if distance not in vectors:
                    vectors[distance] = build.read_vector(data, [build.plus(at, distance)], self.work.nest.lanes)
                added.append(build.fma(weights[point[self.work.channel]], vectors[distance], value))
            return added

        return build.for_range(low, high, build.index(1), start, step)

    def _bounds(self, starts: ir.Value, number: ir.Value, here: Position) -> list[ir.Value]:
        """The first non-zero of a chunk's block of output channels, and that of the next."""
        channel = here.index(affine.dim(self.work.channel))
        block = affine.dim(0) * self.rows.blocks + ir.AffineExpr.get_floor_div(affine.dim(1), self.work.block)
        bounds = [build.apply(block + affine.constant(i), [number, channel]) for i in (0, 1)]
        return [build.index_of(build.extract(starts, [bound]), signed=True) for bound in bounds]

    def _base(self, number: ir.Value, here: Position) -> ir.Value:
        """Where the first tap of the pixel `here` is, for a chunk. (Offsets of non-zeros hold that of a slice.)"""
        expr, operands = here.resolve(self.work.places.pixel())
        return build.apply(expr + affine.dim(len(operands)) * self.rows.stride, [*operands, number])

    def _weight(self, values: ir.Value, nonzero: ir.Value, channel: int) -> ir.Value:
        place = build.apply(affine.dim(0) * self.work.block + affine.constant(channel), [nonzero])
        return build.broadcast(build.extract(values, [place]), self.work.nest.lanes)
