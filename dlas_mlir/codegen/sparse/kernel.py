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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build
from dlas_mlir.codegen.frame import Sharing, Workgroup, captured, emit_frame
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


class Shares(Protocol):
    """How several threads have the non-zeros of a block, and its sums become one."""

    @property
    def count(self) -> int:
        """How many threads."""
        ...

    def number(self) -> ir.Value:
        """Which of them this is."""
        ...

    def neutral(self, initial: Sequence[ir.Value]) -> list[ir.Value]:
        """What a part starts from."""
        ...

    def joined(self, initial: list[ir.Value], parts: list[ir.Value]) -> list[ir.Value]:
        """The whole, of which this thread has `parts`."""
        ...


def emit(
    region: Region,
    nest: Nest,
    *,
    sharing: Sharing | None = None,
    together: int = 1,
    narrow: bool = True,
    shares: Shares | None = None,
) -> tuple[ir.Operation, ...]:
    """The kernel of `region`, whose root carries `dlas.sparse`, at the insertion point. `sharing` says how parts are
    shared out, `together` how many non-zeros are loaded at the same time, `narrow` whether places may have 16 bits,
    `shares` how several threads have those of one block (none: one has them all); not in chunks then."""
    work = Contraction.of(region, nest)
    reads = captured(region)
    rows = work.rows(narrow)
    constants = tuple(constant(array.reshape(-1), "sparse") for array in (rows.starts, rows.offsets, rows.values))
    reads = [value for value in reads if value != work.weights.view.source] + list(constants)

    def fill(workgroup: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        vectors = Vectors(nest.lane.dim, nest.lanes, nest.lane.extent)
        reader = Reader(workgroup.tensors, vectors, nest.spans)
        kernel = _Kernel(work, rows, constants, Stages(region, workgroup, reader), work.points(), together, shares)
        return over_tiles(nest.cache[:-1], workgroup.place, tiles, kernel.pixels)

    return (emit_frame(region, nest, reads, fill, sharing=sharing),)


@dataclass(frozen=True)
class _Chunk:
    """One chunk of the outermost reduction: its number, and whether it is the first or the last one."""

    number: ir.Value | int
    first: bool
    last: bool


@dataclass(frozen=True)
class _Kernel:
    """Computes tiles of registers, a vector of pixels for each of `points`, `together` non-zeros at a time. `constants`
    are what is captured of `rows`."""

    work: Contraction
    rows: Rows
    constants: tuple[ir.Value, ...]
    stages: Stages
    points: list[Point]
    together: int = 1
    shares: Shares | None = None

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
        if self.shares is None:
            sums = self._nonzeros(chunk.number, place.here, start)
        else:
            own = self._nonzeros(chunk.number, place.here, self.shares.neutral(start))
            sums = self.shares.joined(start, own)
        if chunk.last:
            tiles = self.stages.finish(place, self.points, sums, tiles)
        else:
            tiles = [self.stages.write(output, tiles[0], place.inside, self.points, sums), *tiles[1:]]
        reader.restore(outer)
        return tiles

    def _nonzeros(self, number: ir.Value | int, here: Position, start: list[ir.Value]) -> list[ir.Value]:
        """The sums over the non-zeros of a block in a chunk, or over those that are this thread's: of as many as all
        threads load at the same time its own follow each other."""
        number = build.index(number) if isinstance(number, int) else number
        low, high = self._bounds(self.stages.reader.tensors[self.constants[0]], number, here)
        base, threads = self._base(number, here), 1 if self.shares is None else self.shares.count

        def one(first: ir.Value, end: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            first = self._own(first, 1)
            return build.for_range(first, end, build.index(threads), sums, lambda at, xs: self._step([at], base, xs))

        if self.together == 1:
            return one(low, high, start)

        def several(first: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            return self._step([build.plus(first, place) for place in range(self.together)], base, sums)

        step = self.together * threads
        count = affine.dim(1) - affine.dim(0)
        middle = build.apply(affine.dim(1) - count % step, [low, high])
        sums = build.for_range(self._own(low, self.together), middle, build.index(step), start, several)
        return one(middle, high, sums)

    def _own(self, first: ir.Value, size: int) -> ir.Value:
        """Where this thread begins, where all of them have `size` non-zeros each from `first` on."""
        if self.shares is None:
            return first
        return build.apply(affine.dim(0) + affine.dim(1) * size, [first, self.shares.number()])

    def _step(self, nonzeros: list[ir.Value], base: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        """The sums with some non-zeros. Of several, all is loaded before the first is used."""
        distances = [self.work.places.distance(point) for point in self.points]
        factors = [(self._pixels(nonzero, base), self._weights(nonzero)) for nonzero in nonzeros]
        if len(factors) > 1:
            for pixels, _ in factors:
                for distance in distances:
                    pixels(distance)
        for pixels, weights in factors:
            sums = [
                build.fma(weights[point[self.work.channel]], pixels(distance), value)
                for point, distance, value in zip(self.points, distances, sums, strict=True)
            ]
        return sums

    def _weights(self, nonzero: ir.Value) -> list[ir.Value]:
        """The values of a block."""
        values = self.stages.reader.tensors[self.constants[2]]
        return [self._weight(values, nonzero, channel) for channel in range(self.work.block)]

    def _pixels(self, nonzero: ir.Value, base: ir.Value) -> Callable[[int], ir.Value]:
        """What reads the vectors of pixels that a non-zero is multiplied by, by their distance from the first, each
        once."""
        offsets = self.stages.reader.tensors[self.constants[1]]
        data = self.stages.reader.flat(self.work.places.data.view.source)
        signed = self.rows.offsets.dtype == np.int32
        at = arith.addi(build.index_of(build.extract(offsets, [nonzero]), signed), base)
        lanes = self.work.nest.lanes
        return cache(lambda distance: _extended(build.read_vector(data, [build.plus(at, distance)], lanes)))

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
        return build.broadcast(_extended(build.extract(values, [place])), self.work.nest.lanes)


def _extended(value: ir.Value) -> ir.Value:
    """A number, or a vector of numbers, in float32."""
    kind, wide = value.type, ir.F32Type.get()
    if isinstance(kind, ir.VectorType):
        return value if kind.element_type == wide else arith.extf(ir.VectorType.get(kind.shape, wide), value)
    return value if kind == wide else arith.extf(wide, value)
