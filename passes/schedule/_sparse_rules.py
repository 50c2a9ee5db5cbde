"""The rule that schedules a sparse contraction: pixels in registers, and channels in chunks that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.sparse.attribute import Sparse
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.ir import affine
from dlas_mlir.ir.linalg import indexing_maps, loop_extents, out_loops, reduction_loops, shape_of
from dlas_mlir.ir.schedule import Schedule

_ELEMENT_BYTES = 4


@dataclass(frozen=True)
class _Tile:
    """A register tile of `rows` x `columns` pixels in `vectors` vectors of `lanes`, and the chunk of channels."""

    rows: int
    columns: int
    vectors: int
    lanes: int
    chunk: int


@dataclass(frozen=True)
class _Contraction:
    """What the rule needs to know of a sparse linalg.generic. `row` is None where there is but one pixel loop."""

    extents: tuple[int, ...]
    reductions: tuple[int, ...]
    order: tuple[int, ...]
    channel: int
    vector: int
    row: int | None
    sparse: Sparse
    data: tuple[ir.AffineExpr, ...]
    shape: tuple[int, ...]

    @staticmethod
    def of(op: ir.Operation) -> _Contraction:
        sparse = Sparse.of(op)
        assert sparse is not None
        maps, extents, reductions = indexing_maps(op), loop_extents(op), reduction_loops(op)
        weight_loops = set().union(*(affine.dims_of(expr) for expr in maps[1].results))
        out = [loop for loop in out_loops(maps[-1]) if loop is not None]
        channel = next(loop for loop in out if loop in weight_loops)
        pixels = [loop for loop in out if loop != channel]
        return _Contraction(
            extents=extents,
            reductions=reductions,
            order=(*pixels, channel),
            channel=channel,
            vector=pixels[-1],
            row=pixels[-2] if len(pixels) > 1 else None,
            sparse=sparse,
            data=tuple(maps[0].results),
            shape=tuple(shape_of(_buffer(op.operands[0]))),
        )

    @property
    def width(self) -> int:
        return self.extents[self.vector]

    @property
    def height(self) -> int:
        return 1 if self.row is None else self.extents[self.row]

    @property
    def period(self) -> int:
        """How many rows of pixels are equally far from each other in the activations: those of a packed tile."""
        if self.row is None or self.height == 1:
            return 1
        distances = np.diff(self._place({self.row: np.arange(self.height)}))
        changes = np.flatnonzero(distances != distances[0])
        return int(changes[0]) + 1 if changes.size else self.height

    def _place(self, positions: dict[int, np.ndarray]) -> np.ndarray:
        """Where the activation is, in bytes, for arrays of positions of some loops; the others are at 0."""
        loops: list = [positions.get(loop, 0) for loop in range(len(self.extents))]
        place, stride = 0, _ELEMENT_BYTES
        for expr, size in zip(reversed(self.data), reversed(self.shape), strict=True):
            place = place + affine.evaluate(expr, loops) * stride
            stride *= size
        return np.asarray(place)

    def lines(self, tile: _Tile, size: int, *inner: int) -> int:
        """Cache lines of `size` bytes of the activations that a tile reads of one channel (step of the outermost
        reduction), for all taps of the reductions `inner`, the first of the others."""
        grid = np.indices([tile.rows, tile.columns, *(self.extents[loop] for loop in inner)])
        positions = dict(zip((self.vector, *inner), grid[1:], strict=True))
        if self.row is not None:
            positions[self.row] = grid[0]
        return len(np.unique(self._place(positions) // size))


def _buffer(value: ir.Value) -> ir.Value:
    """What `value` is a slice of: its rows are as far apart as those of that."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "tensor.extract_slice":
        return value
    return _buffer(owner.operation.operands[0])


def sparse_schedule_for(op: ir.Operation, target: CpuTarget) -> Schedule:
    """The schedule of `op`, a contraction with `dlas.sparse`, for `target`."""
    work = _Contraction.of(op)
    tile = min(_tiles(work, target), key=lambda tile: _cycles(work, tile, target))
    register = [1] * len(work.extents)
    register[work.vector], register[work.channel] = tile.columns, work.sparse.block
    register[work.reductions[0]] = tile.chunk
    if work.row is not None:
        register[work.row] = tile.rows
    distribution = _distribute(work, register, target)
    return Schedule(tuple(distribution), tuple(register), (*work.order, *work.reductions), work.vector, tile.lanes)


def _tiles(work: _Contraction, target: CpuTarget) -> Iterator[_Tile]:
    sizes = target.sparse_bits, target.vector_bits
    for lanes in sorted({_lanes(work, bits) for bits in sizes}):
        yield from _tiles_of(work, target, lanes)


def _tiles_of(work: _Contraction, target: CpuTarget, lanes: int) -> Iterator[_Tile]:
    block = work.sparse.block
    budget = max(1, (target.vector_registers - target.cost.sparse_scratch_registers - block) // block)
    across = -(-work.width // lanes)
    period = work.period
    # An idle lane needs another row in the tile; a packed tile is not left.
    heights = [
        rows
        for rows in range(2 if lanes > work.width else 1, period + 1)
        if period == work.height or period % rows == 0
    ]
    depth = work.extents[work.reductions[0]]
    chunks = [size for size in range(1, depth + 1) if depth % size == 0]
    for vectors in range(1, min(across, budget) + 1):
        columns = work.width if vectors == across else vectors * lanes
        fitting = [rows for rows in heights if rows * vectors <= budget] or heights[:1]
        for rows in fitting:
            yield from (_Tile(rows, columns, rows * vectors, lanes, chunk) for chunk in chunks)


def _lanes(work: _Contraction, bits: int) -> int:
    """Those of a vector of `bits`, or fewer for narrow rows: with idle ones where there is a row to read instead."""
    if not affine.is_dim(work.data[-1], work.vector) and work.vector not in affine.dims_of(work.data[-1]):
        return 1
    lanes = bits // _ELEMENT_BYTES // 8
    if work.width >= lanes:
        return lanes
    wide = 1 << (work.width - 1).bit_length()
    return wide if work.period > 1 or wide == work.width else wide // 2


def _cycles(work: _Contraction, tile: _Tile, target: CpuTarget) -> float:
    """What a pass over the output takes, relatively."""
    block, vectors = work.sparse.block, tile.vectors
    blocks = work.extents[work.channel] // block
    chunks = work.extents[work.reductions[0]] // tile.chunk
    images = math.ceil(work.height / tile.rows) * math.ceil(work.width / tile.columns)
    window = math.prod(work.extents[loop] for loop in work.reductions[1:])
    cost = target.cost
    load = cost.sparse_load if window == 1 else cost.sparse_split_load
    # A wide vector is done in two halves, and where it is not aligned its load always crosses a line.
    halves = max(1, tile.lanes * 8 * _ELEMENT_BYTES // target.sparse_bits)
    loads = vectors * halves * (load if halves == 1 or window == 1 else 2 * cost.sparse_load)
    loads += (block + 1) * cost.sparse_load
    line = target.line_bytes
    if tile.chunk * work.lines(tile, line, *work.reductions[1:]) * line > cost.sparse_cache_share * target.l1d_bytes:
        loads += work.lines(tile, line) * cost.sparse_far_line
    step = max(block * vectors * halves * cost.sparse_fma, loads, cost.sparse_latency) + cost.sparse_step
    row = cost.sparse_loop + (cost.sparse_keep * block * vectors if chunks > 1 else 0.0)
    return images * (work.sparse.nonzeros * step + blocks * chunks * row)


def _distribute(work: _Contraction, register: list[int], target: CpuTarget) -> list[int]:
    """Rows for all threads, or output channels where there are too few of them."""
    distribution = [0] * len(work.extents)
    if target.threads == 1:
        return distribution
    count = 1
    for loop in work.order:
        if loop == work.vector or work.extents[loop] == 1 or count >= target.threads:
            continue
        wanted = -(-target.cost.workgroups_per_thread * target.threads // count)
        tile = _even_part(work.extents[loop], register[loop], wanted)
        if tile < work.extents[loop] and sum(map(bool, distribution)) < 3:
            distribution[loop] = tile
            count *= work.extents[loop] // tile
    return distribution


def _even_part(extent: int, block: int, wanted: int) -> int:
    """The largest multiple of `block` that splits `extent` evenly into at least `wanted` parts, else into the most:
    workgroups that leave sums in the result must not overlap."""
    even = [tile for tile in range(block, extent + 1, block) if extent % tile == 0] or [extent]
    return max((tile for tile in even if extent // tile >= wanted), default=even[0])
