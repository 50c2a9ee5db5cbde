"""The rule that schedules a kernel from its loops and the target's registers and caches."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.ir import affine
from dlas_mlir.ir.linalg import indexing_maps, loop_extents, out_loops, reduction_loops
from dlas_mlir.ir.schedule import Schedule


@dataclass(frozen=True)
class Loops:
    """What the rule needs to know of a linalg.generic."""

    extents: tuple[int, ...]
    out: tuple[int, ...]
    reductions: tuple[int, ...]
    inputs: tuple[tuple[ir.AffineExpr, ...], ...]
    sizes: tuple[int, ...]
    element_bits: int

    @staticmethod
    def of(op: ir.Operation) -> Loops:
        maps = indexing_maps(op)
        kinds = [ir.RankedTensorType(value.type) for value in op.operands]
        arguments = op.regions[0].blocks[0].arguments
        used = [i for i in range(len(maps) - 1) if list(arguments[i].uses)]
        bits = max(_bits(kind.element_type) for kind in kinds)
        return Loops(
            extents=loop_extents(op),
            out=tuple(loop for loop in out_loops(maps[-1]) if loop is not None),
            reductions=reduction_loops(op),
            inputs=tuple(tuple(maps[i].results) for i in used),
            sizes=tuple(_elements(kinds[i]) * _bits(kinds[i].element_type) // 8 for i in used),
            element_bits=bits,
        )

    def dims(self, operand: int) -> set[int]:
        """The loops that an input is indexed by."""
        return set().union(*(affine.dims_of(expr) for expr in self.inputs[operand])) if self.inputs[operand] else set()


def _bits(kind: ir.Type) -> int:
    width = getattr(kind, "width", 64)
    return max(8, width)


def _elements(kind: ir.RankedTensorType) -> int:
    count = 1
    for size in kind.shape:
        count *= size
    return count


def schedule_for(op: ir.Operation, target: CpuTarget) -> Schedule:
    """The schedule of `op` for `target`."""
    loops = Loops.of(op)
    vector, lanes = _vector(loops, target)
    register = [1] * len(loops.extents)
    register[vector] = lanes
    broadcast = [i for i in range(len(loops.inputs)) if loops.reductions and vector not in loops.dims(i)]
    weights = [i for i in range(len(loops.inputs)) if vector in loops.dims(i)]
    if broadcast and weights:
        _tile_contraction(loops, register, vector, lanes, broadcast, weights, target)
    else:
        _tile_streaming(loops, register, vector, target)
    _unroll_reductions(loops, register, vector, bool(broadcast), target.cost.unrolled_reduction)
    order = _order(loops, register, vector, weights, target)
    distribution = _distribute(loops, register, order, vector, target)
    return Schedule(tuple(distribution), tuple(register), tuple(order), vector, lanes)


def _vector(loops: Loops, target: CpuTarget) -> tuple[int, int]:
    """The innermost loop of the result, and as many lanes of it as a register holds."""
    vector = next((loop for loop in reversed(loops.out) if loops.extents[loop] > 1), loops.out[-1])
    lanes = max(1, target.lanes(loops.element_bits))
    while lanes > loops.extents[vector]:
        lanes //= 2
    return vector, lanes


def _waste(extent: int, tile: int) -> float:
    return -(-extent // tile) * tile / extent


def _tile_contraction(
    loops: Loops,
    register: list[int],
    vector: int,
    lanes: int,
    broadcast: list[int],
    weights: list[int],
    target: CpuTarget,
) -> None:
    """Block columns (loops of the broadcast operand) against vectors of weights: the tile that wastes and loads least
    per fused multiply-add, among those whose accumulators fit in the registers."""
    budget = target.vector_registers - target.cost.scratch_registers
    broadcast_dims = set().union(*(loops.dims(i) for i in broadcast))
    weight_dims = set().union(*(loops.dims(i) for i in weights))
    columns = [x for x in loops.out if x in broadcast_dims and x not in weight_dims and loops.extents[x] > 1]
    blocks = [x for x in loops.out if x in weight_dims and x != vector and loops.extents[x] > 1]
    column = columns[-1] if columns else None
    row = columns[-2] if len(columns) > 1 else None
    block = blocks[-1] if blocks else None
    vectors = loops.extents[vector] // lanes
    wide = vectors > 1
    extents = (
        loops.extents[column] if column is not None else 1,
        loops.extents[row] if row is not None else 1,
        vectors if wide else (loops.extents[block] if block is not None else 1),
    )
    panel = max(loops.sizes[i] for i in weights) / extents[2]
    if extents[0] * extents[1] == 1:
        best = (1, 1, _streams(extents[2], target.cost.weight_streams))
    else:
        best = min(_tiles(extents, budget), key=lambda tile: _contraction_cost(tile, extents, panel, target))
    if column is not None:
        register[column] = best[0]
    if row is not None:
        register[row] = best[1]
    if wide:
        register[vector] = best[2] * lanes
    elif block is not None:
        register[block] = best[2]


def _tiles(extents: tuple[int, int, int], budget: int) -> list[tuple[int, int, int]]:
    tiles = []
    for a in range(1, min(extents[0], budget) + 1):
        # Rows are worth blocking only once whole rows are in the registers.
        for r in range(1, min(extents[1], 4) + 1 if a == extents[0] else 2):
            for b in range(1, min(extents[2], 8) + 1):
                if a * r * b <= budget:
                    tiles.append((a, r, b))
    return tiles


def _streams(vectors: int, best: int) -> int:
    """How many panels of weights a matrix-vector product reads side by side: it is bound by memory, and some streams
    are faster than one or many."""
    return min(range(1, min(vectors, 2 * best) + 1), key=lambda b: (_waste(vectors, b), abs(b - best)))


def _contraction_cost(
    tile: tuple[int, int, int], extents: tuple[int, int, int], panel: float, target: CpuTarget
) -> float:
    """Cycles per useful multiply-add, relative: one per issue, plus loads that do not hide, plus idle latency, plus
    the weights (`panel` bytes for one vector of output channels) that come from the second-level cache for every
    tile of pixels, or from beyond it."""
    a, r, b = tile
    work = a * r * b
    waste = 1.0
    for size, part in zip(extents, tile, strict=True):
        waste *= _waste(size, part)
    loads = (a * r + b) / work
    latency = max(1.0, target.fma_chains / work)
    traffic = 0.0
    if panel * b > target.cost.panel_share * target.l1d_bytes:
        traffic += target.cost.panel_miss / (a * r)
    if panel * b > target.cost.weights_share * target.l2_bytes and (a, r) != extents[:2]:
        traffic += target.cost.weights_miss
    return waste * latency * (1.0 + target.load_cost / 100 * loads + traffic)


def _tile_streaming(loops: Loops, register: list[int], vector: int, target: CpuTarget) -> None:
    """Without a broadcast operand (depthwise, pooling, element-wise, sums): a few columns for independent chains."""
    candidates = [loop for loop in reversed(loops.out) if loop != vector and loops.extents[loop] > 1]
    if not candidates:
        lanes = register[vector]
        vectors = loops.extents[vector] // lanes
        register[vector] = lanes * max(1, min(vectors, target.cost.streaming_columns))
        return
    column = candidates[0]
    extent, start = loops.extents[column], target.cost.column_start
    sizes = range(1, min(extent, target.cost.streaming_columns, target.vector_registers // 2) + 1)
    register[column] = min(sizes, key=lambda size: _waste(extent, size) * (1 + start / size))


def _unroll_reductions(loops: Loops, register: list[int], vector: int, broadcast: bool, longest: int) -> None:
    """Unroll the columns of a window where neighbours share loads, and the channels that lanes are shuffled by."""
    for exprs in loops.inputs:
        last = exprs[-1] if exprs else None
        shuffled = last is not None and vector in affine.dims_of(last) and not affine.is_dim(last, vector)
        for loop in loops.reductions:
            if shuffled and loop in affine.dims_of(last) and loops.extents[loop] <= longest:
                register[loop] = loops.extents[loop]
        if not broadcast:
            for expr in exprs:
                window = [loop for loop in loops.reductions if loop in affine.dims_of(expr)]
                others = affine.dims_of(expr) - set(window)
                shared = len(window) == 1 and any(register[x] > 1 for x in others)
                if shared and loops.extents[window[0]] <= longest:
                    register[window[0]] = loops.extents[window[0]]


def _order(loops: Loops, register: list[int], vector: int, weights: list[int], target: CpuTarget) -> list[int]:
    """The result's loops in order, but with blocks of weights inside rows where all weights stay in the cache."""
    parallel = list(loops.out) + [
        loop for loop in range(len(loops.extents)) if loop not in loops.out and loop not in loops.reductions
    ]
    if loops.reductions and weights:
        weight_dims = set().union(*(loops.dims(i) for i in weights))
        data_dims = set().union(*(loops.dims(i) for i in range(len(loops.inputs)) if i not in weights), set())
        blocks = [x for x in parallel if x in weight_dims and x not in data_dims and x != vector]
        rows = [x for x in parallel if x in data_dims and x not in weight_dims]
        size = max(loops.sizes[i] for i in weights)
        if blocks and len(rows) > 1 and size <= target.cost.resident_share * target.l2_bytes:
            inner = rows[-1]
            parallel = [x for x in parallel if x not in blocks]
            at = parallel.index(inner)
            parallel[at:at] = blocks
    return parallel + list(loops.reductions)


def _distribute(loops: Loops, register: list[int], order: list[int], vector: int, target: CpuTarget) -> list[int]:
    """Split the outer parallel loops until every thread has some workgroups."""
    wanted = target.cost.workgroups_per_thread * target.threads
    distribution = [0] * len(loops.extents)
    count = 1
    for loop in order[: len(order) - len(loops.reductions)]:
        extent = loops.extents[loop]
        if count >= wanted or extent == 1 or sum(1 for tile in distribution if tile) == 2:
            continue
        if loop == vector and extent // register[loop] < 2:
            continue
        tile = _part(extent, register[loop], -(-wanted // count), target.cost.workgroup_cost)
        if tile < extent:
            distribution[loop] = tile
            count *= -(-extent // tile)
    return distribution


def _part(extent: int, block: int, wanted: int, cost: float) -> int:
    """The multiple of `block` that splits `extent` into at least `wanted` parts, else into the most: the one with the
    least work, as the last part overlaps the one before where it does not divide, and the fewest parts."""
    tiles = [tile for tile in range(block, extent, block) if -(-extent // tile) >= wanted]
    if not tiles:
        return min(block, extent)
    return min(tiles, key=lambda tile: (_waste(extent, tile) + cost * -(-extent // tile), -tile))
