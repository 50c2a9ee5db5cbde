"""Schedules of products on tensor cores that differ from one another in one decision."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.gpu.instructions import INSTRUCTIONS, hardware
from dlas_mlir.codegen.gpu.product import Product
from dlas_mlir.codegen.gpu.rule import regular
from dlas_mlir.codegen.gpu.schedule import Block, GpuSchedule, fits
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload

_STAGES, _SPLITS = range(2, 9), (1, 2, 3, 4, 6, 8)
_LEAST, _MOST = 16, 256


def near(workload: Workload, schedule: GpuSchedule, target: GpuTarget) -> Iterator[tuple[Kind, GpuSchedule]]:
    """Candidates; whether they fit the workload and the target is not looked at.

    `tile` halves or doubles the rows or the columns of a workgroup, `warp` those of a warp, `stages` has one step more
    or less under way, `split` shares the sum out otherwise, `halo` loads the pixels around a tile once or for each tap,
    `instruction` takes another one that multiplies the same. `tile` takes what the rule chooses among, too, which may
    be far in several decisions.
    """
    tile, warp = schedule.tile, schedule.warp
    for other in _blocks(tile):
        # As many warps, and as large ones as before: which of both a larger tile goes into is open.
        yield "tile", msgspec.structs.replace(schedule, tile=other, warp=_whole(schedule, other, warp))
        scaled = Block(
            max(1, warp.rows * other.rows // tile.rows), max(1, warp.columns * other.columns // tile.columns)
        )
        yield "tile", msgspec.structs.replace(schedule, tile=other, warp=_whole(schedule, other, scaled))
    for other in _blocks(warp):
        yield "warp", msgspec.structs.replace(schedule, warp=_whole(schedule, tile, other))
    for stages in _STAGES:
        if stages != schedule.stages and abs(stages - schedule.stages) <= 2:
            yield "stages", msgspec.structs.replace(schedule, stages=stages)
    for split in _SPLITS:
        yield "split", msgspec.structs.replace(schedule, split=split)
    yield "halo", msgspec.structs.replace(schedule, halo=not schedule.halo)
    product = Product.of(workload)
    for name, unit in INSTRUCTIONS.items():
        if hardware(name) in target.matrix_instructions and fits(unit, product):
            own = Block(max(unit.m, tile.rows), tile.columns)
            other = msgspec.structs.replace(schedule, instruction=name, tile=own, halo=False)
            yield "instruction", msgspec.structs.replace(other, warp=_own_warp(other))
    for other in regular(workload, target):
        yield "tile", other


def _whole(schedule: GpuSchedule, tile: Block, warp: Block) -> Block:
    """`warp`, of all columns where the instruction does these."""
    return Block(warp.rows, tile.columns) if schedule.unit.kind == "wgmma" else warp


def _own_warp(schedule: GpuSchedule) -> Block:
    """A warp that the instruction can do."""
    if schedule.unit.kind == "wgmma":
        return Block(schedule.unit.m, schedule.tile.columns)
    return Block(max(schedule.unit.m, schedule.tile.rows // 2), max(_LEAST, schedule.tile.columns // 2))


def _blocks(block: Block) -> Iterator[Block]:
    """With half or twice the rows, or columns, or both in turn."""
    for rows, columns in ((1, 2), (2, 1), (1, -2), (-2, 1), (2, -2), (-2, 2)):
        found = Block(_scaled(block.rows, rows), _scaled(block.columns, columns))
        if _LEAST <= found.rows <= _MOST and _LEAST <= found.columns <= _MOST:
            yield found


def _scaled(size: int, factor: int) -> int:
    return size * factor if factor > 0 else size // -factor
