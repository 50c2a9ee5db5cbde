"""What a dense kernel costs a CPU, relatively: an estimate that ranks schedules of one workload."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping

from dlas_mlir.codegen.cpu.roles import Roles, waste
from dlas_mlir.codegen.cpu.within import times_computed
from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.taps import computed_share
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload

# Decides between tiles that are otherwise equal.
_TIE = 1e-5


def cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """Cycles of an issue of vectors per useful one, times what the threads are idle for: 1 is a kernel at peak. A
    producer counts by its share of the work."""
    shared = sharing_cost(workload, dict(schedule.distribute), target)
    own = _issue_cost(workload, schedule, target)
    if workload.producer is None or schedule.producer is None:
        return own * shared
    made, how = workload.producer.workload, schedule.producer
    before = _issue_cost(made, how, target)
    if schedule.apart:
        before *= sharing_cost(made, dict(how.distribute), target)
    else:
        before *= shared * times_computed(workload, schedule)
    share = made.macs / workload.macs
    return ((1.0 - share) * own * shared + share * before) * (1.0 + target.cost.apart_cost * schedule.apart)


def _issue_cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """That of the register tiles, and of lanes that are idle."""
    roles = Roles(workload, schedule.vector, schedule.lanes)
    idle_lanes = max(1.0, target.lanes(32) / schedule.lanes)
    return idle_lanes * tile_cost(roles, dict(schedule.tile), target, schedule.peel, dict(schedule.distribute))


def tile_cost(
    roles: Roles,
    tile: dict[str, int],
    target: CpuTarget,
    peel: Collection[str] = (),
    parts: Mapping[str, int] | None = None,
) -> float:
    """That of register tiles: what they compute of what is asked for, and what does not hide behind the multiply-adds.
    `parts` of the loops are in one workgroup (default: all)."""
    parts = parts or {}
    kind = _contraction if roles.is_contraction else _streaming
    blocked = sum(share * kind(roles, shape, target) for shape, share in _shapes(roles, tile, peel, parts))
    code = 1.0 + target.cost.peel_cost * len(peel)
    return blocked * computed_share(roles.workload, tile, peel, parts) * code


def _shapes(
    roles: Roles, tile: dict[str, int], peel: Collection[str], parts: Mapping[str, int]
) -> Iterator[tuple[dict[str, int], float]]:
    """The shapes that tiles have, each with what it computes of all that is asked for: whole ones, and of loops that
    are peeled what is left."""
    sizes: list[list[tuple[int, float]]] = []
    loops = [loop for loop in roles.workload.parallel if tile.get(loop, 1) > 1]
    for loop in loops:
        extent, step = parts.get(loop, roles.workload.extents[loop]), tile[loop]
        rest = extent % step
        if loop in peel and rest:
            sizes.append([(step, (extent - rest) / extent), (rest, rest / extent)])
        elif loop == roles.vector:
            units, width = max(1, extent // roles.lanes), max(1, step // roles.lanes)
            sizes.append([(step, waste(units, width))])
        else:
            sizes.append([(step, waste(extent, step))])
    for combination in itertools.product(*sizes):
        shape = dict(zip(loops, (size for size, _ in combination), strict=True))
        share = math.prod(share for _, share in combination)
        if share:
            yield {**tile, **shape}, share


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
    alone = target.cost.lone_vector * (vectors == 1)
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
    return latency * (1.0 + target.load_cost / 100 * loads + alone + traffic) + ragged


def _panel_tile(roles: Roles, tile: dict[str, int]) -> int:
    loop = roles.panel_loop
    if loop is None:
        return 1
    return max(1, tile.get(loop, 1) // roles.lanes) if loop == roles.vector else tile.get(loop, 1)


def _streaming(roles: Roles, tile: dict[str, int], target: CpuTarget) -> float:
    """Without a broadcast operand (depthwise, pooling, element-wise, sums): what beginning a tile costs."""
    return 1.0 + target.cost.column_start / _count(roles, tile, roles.workload.parallel)


def sharing_cost(workload: Workload, distribute: Mapping[str, int], target: CpuTarget) -> float:
    """That of workgroups: the part that overlaps, starting each, and threads that wait for the last."""
    parts, wasted = 1, 1.0
    for loop, part in distribute.items():
        extent = workload.extents[loop]
        parts *= -(-extent // part)
        wasted *= waste(extent, part)
    shares = -(-parts // target.threads)
    idle = shares * target.threads / parts
    return wasted * idle * (1.0 + target.cost.workgroup_cost * (parts - 1) / target.threads)
