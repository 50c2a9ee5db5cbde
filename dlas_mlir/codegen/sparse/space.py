"""The schedules of a sparse workload: pixels in registers, and channels in chunks that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dlas_mlir.codegen.cpu.cost import sharing_cost
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse.cost import cycles
from dlas_mlir.codegen.sparse.nest import can_hold_sums
from dlas_mlir.codegen.sparse.roles import ELEMENT_BYTES, SparseRoles
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


@dataclass(frozen=True)
class Tile:
    """A register tile of `rows` x `columns` pixels in vectors of `lanes`, and the chunk of channels."""

    rows: int
    columns: int
    lanes: int
    chunk: int


def rule(workload: Workload, target: CpuTarget) -> Schedule:
    """The cheapest schedule."""
    work = SparseRoles(workload)
    tile = min(_tiles(work, target), key=lambda t: cycles(work, t.rows, t.columns, t.lanes, t.chunk, target))
    return _schedule(work, tile, target)


def regular(workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
    """All schedules, one for each tile: order and distribution follow from it."""
    work = SparseRoles(workload)
    for tile in _tiles(work, target):
        yield _schedule(work, tile, target)


def _schedule(work: SparseRoles, tile: Tile, target: CpuTarget) -> Schedule:
    reductions = work.workload.reductions
    sizes = {work.vector: tile.columns, work.channel: work.sparsity.block, reductions[0]: tile.chunk}
    if work.row is not None:
        sizes[work.row] = tile.rows
    found = Schedule.of(
        work.workload,
        kind="sparse",
        vector=work.vector,
        lanes=tile.lanes,
        order=(*work.order, *reductions),
        distribute=_distribution(work, sizes, target),
        tile=sizes,
    )
    if can_hold_sums(work.workload, found):
        return found
    whole = tuple((loop, work.depth if loop == reductions[0] else size) for loop, size in found.tile)
    if work.depth > 1 and reductions[0] not in dict(whole):
        whole = (*whole, (reductions[0], work.depth))
    return replace(found, tile=tuple(sorted(whole, key=lambda entry: work.workload.names.index(entry[0]))))


def _tiles(work: SparseRoles, target: CpuTarget) -> Iterator[Tile]:
    for lanes in sorted({_lanes(work, bits) for bits in (target.sparse_bits, target.vector_bits)}):
        yield from _tiles_of(work, target, lanes)


def _tiles_of(work: SparseRoles, target: CpuTarget, lanes: int) -> Iterator[Tile]:
    block = work.sparsity.block
    budget = max(1, (target.vector_registers - target.cost.sparse_scratch_registers - block) // block)
    across = -(-work.width // lanes)
    period = work.period
    # An idle lane needs another row in the tile; a packed tile is not left.
    heights = [
        rows
        for rows in range(2 if lanes > work.width else 1, period + 1)
        if period == work.height or period % rows == 0
    ]
    chunks = [size for size in range(1, work.depth + 1) if work.depth % size == 0]
    for vectors in range(1, min(across, budget) + 1):
        columns = work.width if vectors == across else vectors * lanes
        fitting = [rows for rows in heights if rows * vectors <= budget] or heights[:1]
        for rows in fitting:
            yield from (Tile(rows, columns, lanes, chunk) for chunk in chunks)


def _lanes(work: SparseRoles, bits: int) -> int:
    """Those of a vector of `bits`, or fewer for narrow rows: with idle ones where there is a row to read instead."""
    if not work.lies_in_lanes:
        return 1
    lanes = bits // ELEMENT_BYTES // 8
    if work.width >= lanes:
        return lanes
    wide = 1 << (work.width - 1).bit_length()
    return wide if work.period > 1 or wide == work.width else wide // 2


def _distribution(work: SparseRoles, tile: dict[str, int], target: CpuTarget) -> dict[str, int]:
    """One workgroup for each thread, or more to even out, whatever costs least."""
    if target.threads == 1:
        return {}
    found = (_split(work, tile, each * target.threads) for each in range(1, target.cost.workgroups_per_thread + 1))
    return min(found, key=lambda parts: sharing_cost(work.workload, parts, target))


def _split(work: SparseRoles, tile: dict[str, int], wanted: int) -> dict[str, int]:
    """Into `wanted` workgroups or more: rows, or output channels where there are too few of them."""
    found: dict[str, int] = {}
    count = 1
    for loop in work.order:
        extent = work.workload.extents[loop]
        if loop == work.vector or extent == 1 or count >= wanted:
            continue
        part = _even_part(extent, tile.get(loop, 1), -(-wanted // count))
        if part < extent and len(found) < 3:
            found[loop] = part
            count *= extent // part
    return found


def _even_part(extent: int, block: int, wanted: int) -> int:
    """The largest multiple of `block` that splits `extent` evenly into at least `wanted` parts, else into the most:
    workgroups that leave sums in the result must not overlap."""
    even = [part for part in range(block, extent + 1, block) if extent % part == 0] or [extent]
    return max((part for part in even if extent // part >= wanted), default=even[0])
