"""What a dense kernel costs a CPU, relatively: an estimate that ranks schedules of one workload."""

from __future__ import annotations

import math

from dlas_mlir.codegen.cpu.roles import Roles, waste
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload

# Decides between tiles that are otherwise equal.
_TIE = 1e-5


def cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """Cycles of an issue of vectors per useful one, times what the threads are idle for: 1 is a kernel at peak."""
    roles = Roles(workload, schedule.vector, schedule.lanes)
    tile = dict(schedule.tile)
    idle_lanes = max(1.0, target.lanes(32) / schedule.lanes)
    return idle_lanes * tile_cost(roles, tile, target) * sharing_cost(workload, schedule, target)


def tile_cost(roles: Roles, tile: dict[str, int], target: CpuTarget) -> float:
    """That of a register tile: what overlaps, and what does not hide behind the multiply-adds."""
    wasted = 1.0
    for loop in roles.workload.parallel:
        step = tile.get(loop, 1)
        if loop == roles.vector:
            wasted *= waste(max(1, roles.units), max(1, step // roles.lanes))
        elif step > 1:
            wasted *= waste(roles.workload.extents[loop], step)
    return wasted * (_contraction(roles, tile, target) if roles.is_contraction else _streaming(roles, tile, target))


def _count(roles: Roles, tile: dict[str, int], loops: frozenset[str] | tuple[str, ...]) -> int:
    """The vectors, or broadcast elements, that a tile has over `loops`."""
    parts = (tile.get(loop, 1) for loop in loops if loop != roles.vector and loop in roles.workload.parallel)
    across = max(1, tile.get(roles.vector, 1) // roles.lanes) if roles.vector in loops else 1
    return across * math.prod(parts)


def _contraction(roles: Roles, tile: dict[str, int], target: CpuTarget) -> float:
    """One cycle per issue of multiply-adds, plus loads that do not hide, plus idle latency, plus the weights that come
    from the second-level cache for every tile of pixels, or from beyond it."""
    pixels = _count(roles, tile, roles.broadcast_loops - roles.vector_loops)
    vectors = _count(roles, tile, roles.vector_loops)
    if not roles.columns:
        return 1.0 + _TIE * abs(vectors - target.cost.weight_streams)
    work = pixels * vectors
    loads = (pixels + vectors) / work
    latency = max(1.0, target.fma_chains / work)
    read = roles.weight_bytes / roles.panels * _panel_tile(roles, tile)
    traffic = 0.0
    if read > target.cost.panel_share * target.l1d_bytes:
        traffic += target.cost.panel_miss / pixels
    whole = all(tile.get(loop, 1) == roles.workload.extents[loop] for loop in roles.columns[-2:])
    if read > target.cost.weights_share * target.l2_bytes and not whole:
        traffic += target.cost.weights_miss
    # Part rows in a tile read more lines than the same number of pixels of one row.
    ragged = _TIE * (pixels - tile.get(roles.columns[-1], 1))
    return latency * (1.0 + target.load_cost / 100 * loads + traffic) + ragged


def _panel_tile(roles: Roles, tile: dict[str, int]) -> int:
    loop = roles.panel_loop
    if loop is None:
        return 1
    return max(1, tile.get(loop, 1) // roles.lanes) if loop == roles.vector else tile.get(loop, 1)


def _streaming(roles: Roles, tile: dict[str, int], target: CpuTarget) -> float:
    """Without a broadcast operand (depthwise, pooling, element-wise, sums): what beginning a tile costs."""
    return 1.0 + target.cost.column_start / _count(roles, tile, roles.workload.parallel)


def sharing_cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """That of workgroups: the part that overlaps, starting each, and threads that wait for the last."""
    parts, wasted = 1, 1.0
    for loop, part in schedule.distribute:
        extent = workload.extents[loop]
        parts *= -(-extent // part)
        wasted *= waste(extent, part)
    shares = -(-parts // target.threads)
    idle = shares * target.threads / parts
    return wasted * idle * (1.0 + target.cost.workgroup_cost * (parts - 1) / target.threads)
