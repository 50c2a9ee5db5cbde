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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, scf

from dlas_mlir.codegen import build
from dlas_mlir.codegen.cpu.kernel import Kernel
from dlas_mlir.codegen.region import Access, Output, Region
from dlas_mlir.codegen.sparse.attribute import Sparse
from dlas_mlir.codegen.vector.access import Position, Reader
from dlas_mlir.ir import affine
from dlas_mlir.ir import constants as weights
from dlas_mlir.ir.linalg import shape_of
from dlas_mlir.ir.schedule import Schedule
from dlas_mlir.ir.strides import Form, Span, form_of
from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class _Rows:
    """The non-zeros of all blocks of output channels, chunk after chunk: `starts` [chunks * blocks + 1], `offsets`
    [non-zeros] from where the chunk begins, `values` [non-zeros, block]; chunks begin `stride` elements apart."""

    starts: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    blocks: int
    stride: int


class SparseKernel(Kernel):
    """The kernel of a region whose root carries `dlas.sparse`."""

    def __init__(self, region: Region, schedule: Schedule) -> None:
        sparse = Sparse.of(region.root.op)
        assert sparse is not None
        self.block = sparse.block
        data, weight = region.root.inputs[:2]
        if len(region.root.inputs) != 2 or not isinstance(data, Access) or not isinstance(weight, Access):
            raise PassError("a sparse contraction reads activations and weights", region.op)
        self.data, self.weights = data, weight
        super().__init__(region, schedule)
        self.channel = self._channel_loop()
        self.chunk_loop = region.reductions[0]
        self.chunk = schedule.register_tile[self.chunk_loop]
        if not self._can_hold_sums():
            self.chunk = region.extents[self.chunk_loop]
        self.chunks = region.extents[self.chunk_loop] // self.chunk
        self.phase: tuple[ir.Value | int, bool, bool] = (0, True, True)
        self.rows = self._rows()
        self.constants = [
            weights.constant(array.reshape(-1), "sparse")
            for array in (self.rows.starts, self.rows.offsets, self.rows.values)
        ]
        self.captured = [value for value in self.captured if value != weight.view.source] + self.constants

    def _channel_loop(self) -> int:
        parallel = [
            loop
            for loop in range(self.loops)
            if loop not in self.region.reductions
            and any(loop in affine.dims_of(expr) for expr in self.weights.exprs)
            and self.region.extents[loop] > 1
        ] or [loop for loop in self.schedule.order if loop not in self.region.reductions][-1:]
        if len(parallel) != 1 or self.order_parallel[-1] != parallel[0]:
            raise PassError("the output channels of a sparse contraction are its innermost parallel loop")
        if self.schedule.register_tile[parallel[0]] != self.block or parallel[0] == self.schedule.vector:
            raise PassError("the register tile of output channels is not the block of the encoding")
        return parallel[0]

    def _can_hold_sums(self) -> bool:
        """Whether the sums of a chunk can be left in the result: its elements are the accumulator's, lanes together,
        and no other workgroup writes there meanwhile."""
        output = self.region.outputs[0]
        same = output.type.element_type == ir.RankedTensorType(self.region.root.result.type).element_type
        alone = all(self.region.extents[loop] % self.tile[loop] == 0 for loop in self.order_parallel)
        return same and alone and self.region.out_loops[-1] == self.schedule.vector

    # The constants.

    def _places(self, loops: list) -> np.ndarray:
        """Where the activation is in its flattened tensor, for arrays of loop positions."""
        place, view = np.int64(0), self.data.view
        for expr, offset, stride in zip(self.data.exprs, view.offsets, _strides(view.source), strict=True):
            place = place + (affine.evaluate(expr, loops) + offset) * stride
        return np.asarray(place)

    def _rows(self) -> _Rows:
        extents, reductions = self.region.extents, self.region.reductions
        array = weights.Constants(self.region.op).read(self.weights.view.source)
        if array is None or any(self.weights.view.offsets):
            raise PassError("the weights of a sparse contraction are not constant")
        taps = np.indices([extents[loop] for loop in reductions]).reshape(len(reductions), -1)
        loops: list = [0] * self.loops
        loops[self.channel] = np.arange(extents[self.channel])[:, None]
        for loop, positions in zip(reductions, taps, strict=True):
            loops[loop] = positions[None, :]
        shape = (extents[self.channel], taps.shape[1])
        matrix = array[tuple(np.broadcast_to(affine.evaluate(expr, loops), shape) for expr in self.weights.exprs)]
        places = np.broadcast_to(self._places(loops), shape)
        self._check_distances()
        return self._compress(matrix, places)

    def _along(self, loop: int, positions: int | np.ndarray) -> np.ndarray:
        """How far from the first pixel those at `positions` of one loop are, in the flattened activations."""
        at: list = [0] * self.loops
        at[loop] = np.asarray(positions)
        return self._places(at) - self._places([0] * self.loops)

    def _is_separable(self, pixels: set[int]) -> bool:
        """Whether the place is a sum of what each loop of pixels adds by itself, and of what all others do."""
        place = Form(0)
        for expr, stride in zip(self.data.exprs, _strides(self.data.view.source), strict=True):
            form = form_of(expr)
            if form is None:
                return False
            place = place.plus(form.times(stride))
        parts = [Form(0, frozenset({part})).dims() for part in place.terms]
        return all(len(dims) == 1 or not dims & pixels for dims in parts)

    def _check_distances(self) -> None:
        """A tap is equally far from the first one wherever the pixel is, and so are the pixels of each register tile
        from its first. Those of a vector are neighbours."""
        pixels = [loop for loop in self.order_parallel if loop != self.channel]
        origin = int(self._places([0] * self.loops))
        if not self._is_separable(set(pixels)):
            raise PassError("the taps of a sparse contraction are not at constant distances from its pixels")
        for loop in pixels:
            tile = np.arange(self.schedule.register_tile[loop])
            origins = np.array(self._origins(loop))[:, None]
            moved = self._along(loop, origins + tile) - self._along(loop, origins)
            if np.any(moved != self._along(loop, tile)):
                raise PassError("the register tile of a sparse contraction does not fit the layout of its activations")
            if loop == self.schedule.vector and self.schedule.lanes > 1 and np.any(self._along(loop, tile) != tile):
                raise PassError("the lanes of a sparse contraction are not neighbours in its activations")
        self.first = origin

    def _origins(self, loop: int) -> list[int]:
        """Where register tiles begin in a loop."""
        extent, part, tile = self.region.extents[loop], self.tile[loop], self.schedule.register_tile[loop]
        starts = [min(start, part - tile) for start in range(0, part, tile)]
        return [min(base, extent - part) + start for base in range(0, extent, part) for start in starts]

    def _compress(self, matrix: np.ndarray, places: np.ndarray) -> _Rows:
        channels, taps = matrix.shape
        if channels % self.block or np.any(
            places.reshape(-1, self.block, taps)[:, :1] != places.reshape(-1, self.block, taps)
        ):
            raise PassError(f"blocks of {self.block} do not divide the output channels of a group")
        blocks, chunk_taps = channels // self.block, taps // self.chunks
        stride = int(places[0, chunk_taps] - places[0, 0]) if self.chunks > 1 else 0
        by_chunk = matrix.reshape(blocks, self.block, self.chunks, chunk_taps).transpose(2, 0, 3, 1)
        mask = by_chunk.any(axis=-1)
        starts = np.concatenate([[0], np.cumsum(mask.sum(axis=-1).reshape(-1))]).astype(np.int32)
        offsets = places[:: self.block].reshape(blocks, self.chunks, chunk_taps).transpose(1, 0, 2)
        offsets = (offsets - stride * np.arange(self.chunks)[:, None, None])[mask]
        narrow = offsets.size == 0 or (offsets.min() >= 0 and offsets.max() < 1 << 16)
        offsets = offsets.astype(np.uint16).view(np.int16) if narrow else offsets.astype(np.int32)
        if not offsets.size:
            return _Rows(starts, np.zeros(1, np.int16), np.zeros(self.block, matrix.dtype), blocks, stride)
        return _Rows(starts, offsets, by_chunk[mask], blocks, stride)

    # The loops.

    def _reader(self, tensors: dict[ir.Value, ir.Value]) -> Reader:
        self.vectors = _NarrowReader(tensors, self.schedule, [self._span(loop) for loop in range(self.loops)])
        return self.vectors

    def _parallel(self, depth: int, here: Position, inside: Position, tiles: list[ir.Value]) -> list[ir.Value]:
        if depth != len(self.order_parallel) - 1:
            return super()._parallel(depth, here, inside, tiles)

        def chunk(number: ir.Value | int, tiles: list[ir.Value], last: bool) -> list[ir.Value]:
            self.phase = (number, number == 0, last)
            return super(SparseKernel, self)._parallel(depth, here, inside, tiles)

        def middle(number: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            return chunk(build.apply(affine.dim(0) + affine.constant(1), [number]), carried, False)

        tiles = chunk(0, tiles, self.chunks == 1)
        if self.chunks > 2:
            tiles = build.for_loop(self.chunks - 2, 1, tiles, middle)
        return chunk(self.chunks - 1, tiles, True) if self.chunks > 1 else tiles

    def _points(self) -> list[tuple[int, ...]]:
        """Each vector of pixels for all channels of the block. Vectors overlap where they do not divide the tile; one
        that is wider than the tile has idle lanes: behind it or, in the last row, before it, where there is something
        to be read."""
        schedule, tile = self.schedule, self.schedule.register_tile
        pixels = [loop for loop in self.order_parallel if loop not in (self.channel, schedule.vector)]
        points = []
        for combination in np.ndindex(*(tile[loop] for loop in pixels)):
            offsets = [0] * self.loops
            for loop, offset in zip(pixels, combination, strict=True):
                offsets[loop] = int(offset)
            for start in self._starts(offsets):
                for channel in range(self.block):
                    offsets[schedule.vector], offsets[self.channel] = start, channel
                    points.append(tuple(offsets))
        return points

    def _starts(self, row: list[int]) -> list[int]:
        """Where vectors begin in the tile of the vector loop."""
        lanes, width = self.schedule.lanes, self.schedule.register_tile[self.schedule.vector]
        idle = lanes - width
        if idle <= 0:
            return [min(start, width - lanes) for start in range(0, width, lanes)]
        if width != self.region.extents[self.schedule.vector]:
            raise PassError("only a vector of whole rows may have idle lanes")
        highest = int(self._places([extent - 1 for extent in self.region.extents]))
        for loop in self.order_parallel:
            if loop not in (self.channel, self.schedule.vector):
                last = self.schedule.register_tile[loop] - 1
                highest -= int(self._along(loop, last) - self._along(loop, row[loop]))
        if highest + idle < math.prod(shape_of(self.data.view.source)):
            return [0]
        if self._distance(row) + self.first >= idle:
            return [-idle]
        raise PassError("idle lanes would read beyond the activations")

    def _distance(self, offsets: Sequence[int]) -> int:
        """How far the pixel at `offsets` in a register tile is from its first one."""
        distance = 0
        for loop in self.order_parallel:
            if loop == self.schedule.vector and self.schedule.lanes > 1:
                distance += offsets[loop]
            elif loop != self.channel:
                distance += int(self._along(loop, offsets[loop]))
        return distance

    def _tile_of_registers(self, here: Position, inside: Position, tiles: list[ir.Value]) -> list[ir.Value]:
        number, first, last = self.phase
        points, root = self._points(), self.region.root
        outer = self.reader.forget()
        if first:
            start = self._initial(root, here, points, {})
        else:
            start = [self._sum(tiles[0], inside.plus(point)) for point in points]
        sums = self._nonzeros(number, here, points, start)
        if last:
            tiles = self._finish(here, inside, points, sums, tiles)
        else:
            tiles = list(tiles)
            for point, value in zip(points, sums, strict=True):
                tiles[0] = self._write(self.region.outputs[0], tiles[0], inside.plus(point), value)
        self.reader.restore(outer)
        return tiles

    def _nonzeros(
        self, number: ir.Value | int, here: Position, points: list[tuple[int, ...]], start: list[ir.Value]
    ) -> list[ir.Value]:
        starts, offsets, values = (self.reader.tensors[constant] for constant in self.constants)
        data = self.vectors.flat(self.data.view.source)
        number = build.index(number) if isinstance(number, int) else number
        channel = here.index(affine.dim(self.channel))
        blocks = affine.dim(0) * self.rows.blocks + ir.AffineExpr.get_floor_div(affine.dim(1), self.block)
        bounds = [build.apply(blocks + affine.constant(i), [number, channel]) for i in (0, 1)]
        low, high = (_index(_extract(starts, bound), signed=True) for bound in bounds)
        base = self._base(number, here)
        loop = scf.ForOp(low, high, build.index(1), start)
        with ir.InsertionPoint(loop.body):
            at = _index(_extract(offsets, loop.induction_variable), signed=self.rows.offsets.dtype == np.int32)
            at = arith.addi(at, base)
            weights = [self._weight(values, loop.induction_variable, i) for i in range(self.block)]
            vectors: dict[int, ir.Value] = {}
            sums = []
            for point, value in zip(points, loop.inner_iter_args, strict=True):
                distance = self._distance(point)
                if distance not in vectors:
                    place = build.apply(affine.dim(0) + affine.constant(distance), [at])
                    vectors[distance] = build.read_vector(data, [place], self.schedule.lanes)
                sums.append(_fma(weights[point[self.channel]], vectors[distance], value))
            scf.YieldOp(sums)
        return list(loop.results)

    def _base(self, number: ir.Value, here: Position) -> ir.Value:
        """Where the first tap of the pixel `here` is, for a chunk. (Places hold the offset of a slice.)"""
        zero = affine.constant(0)
        pixels = [zero if x in (self.channel, *self.region.reductions) else affine.dim(x) for x in range(self.loops)]
        place = zero
        for expr, stride in zip(self.data.exprs, _strides(self.data.view.source), strict=True):
            place = place + affine.substitute(expr, pixels, self.loops) * stride
        expr, operands = here.resolve(place)
        return build.apply(expr + affine.dim(len(operands)) * self.rows.stride, [*operands, number])

    def _weight(self, values: ir.Value, number: ir.Value, channel: int) -> ir.Value:
        place = build.apply(affine.dim(0) * self.block + affine.constant(channel), [number])
        scalar = _extract(values, place)
        kind = ir.VectorType.get([self.schedule.lanes], scalar.type)
        return ir.Operation.create("vector.broadcast", results=[kind], operands=[scalar]).result

    # Vectors with idle lanes.

    def _sum(self, tile: ir.Value, position: Position) -> ir.Value:
        """What the chunk before has left at `position` in the result."""
        vector = self.schedule.vector

        def part(start: int, lanes: int) -> ir.Value:
            place = self._place(self.region.outputs[0], position.at(vector, start))
            return build.read_vector(tile, place, lanes)

        return self.vectors.joined(position, part)

    def _write(self, output: Output, tile: ir.Value, position: Position, vector: ir.Value) -> ir.Value:
        pieces = self.vectors.pieces(position)
        if len(pieces) == 1:
            return super()._write(output, tile, position, vector)
        for start, lanes in pieces:
            part = _shuffle(vector, vector, list(range(start, start + lanes)))
            tile = super()._write(output, tile, position.at(self.schedule.vector, start), part)
        return tile


class _NarrowReader(Reader):
    """Reads vectors of which some lanes may be idle."""

    def __init__(self, tensors: dict[ir.Value, ir.Value], schedule: Schedule, spans: Sequence[Span]) -> None:
        super().__init__(tensors, schedule.vector, schedule.lanes, spans)
        self.width = min(schedule.register_tile[schedule.vector], schedule.lanes)

    def flat(self, source: ir.Value) -> ir.Value:
        """All of a tensor in one dimension."""
        return self._collapsed(source, 1) if len(shape_of(source)) > 1 else self.tensors[source]

    def pieces(self, position: Position) -> list[tuple[int, int]]:
        """The busy lanes as (first, count): all of them, or two powers of two that overlap."""
        if self.width == self.lanes:
            return [(0, self.lanes)]
        first = max(0, -position.constants[self.vector])
        count = 1 << (self.width.bit_length() - 1)
        return [(first, count), (first + self.width - count, count)]

    def joined(self, position: Position, part: Callable[[int, int], ir.Value]) -> ir.Value:
        """A vector of what `part` (of first lane and lanes) reads."""
        pieces = self.pieces(position)
        vectors = [part(start, count) for start, count in pieces]
        if len(vectors) == 1:
            return vectors[0]
        (first, count), (second, _) = pieces
        mask = [0] * self.lanes
        for lane in range(first, second + count):
            mask[lane] = lane - first if lane < first + count else lane - second + count
        return _shuffle(vectors[0], vectors[1], mask)

    def _vector(self, access: Access, position: Position, extra: int, lanes: int) -> ir.Value:
        if self.width == self.lanes:
            return super()._vector(access, position, extra, lanes)
        read = super()._vector
        return self.joined(position, lambda start, count: read(access, position, extra + start, count))

    def _shuffled(self, access: Access, position: Position, offsets: tuple[int, ...]) -> ir.Value:
        if self.width == self.lanes:
            return super()._shuffled(access, position, offsets)
        raise PassError("idle lanes cannot be read from a window")


def _strides(value: ir.Value) -> list[int]:
    strides = [1]
    for size in reversed(shape_of(value)[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _extract(source: ir.Value, place: ir.Value) -> ir.Value:
    element = ir.RankedTensorType(source.type).element_type
    return ir.Operation.create("tensor.extract", results=[element], operands=[source, place]).result


def _index(value: ir.Value, signed: bool) -> ir.Value:
    return (arith.index_cast if signed else arith.index_castui)(ir.IndexType.get(), value)


def _fma(a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    return ir.Operation.create("vector.fma", results=[c.type], operands=[a, b, c]).result


def _shuffle(first: ir.Value, second: ir.Value, mask: list[int]) -> ir.Value:
    kind = ir.VectorType.get([len(mask)], ir.VectorType(first.type).element_type)
    attributes = {"mask": ir.DenseI64ArrayAttr.get(mask)}
    return ir.Operation.create("vector.shuffle", results=[kind], operands=[first, second], attributes=attributes).result
