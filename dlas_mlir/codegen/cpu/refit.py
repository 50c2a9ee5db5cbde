"""Schedules of CPUs fitted to other loops, dense and sparse ones: one with its tiles scaled, one with the regular tile
that is nearest. Peeled loops carry over as they are; distribution follows the threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from dlas_mlir.codegen.fitting import Source, apart, divisors, order_like, tile_like, unrolled_like
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload

Rule = Callable[[Workload, CpuTarget], Schedule]
Regular = Callable[[Workload, CpuTarget], Iterator[Schedule]]
Problem = Callable[[Workload, Schedule, CpuTarget], str | None]


def fitted(
    source: Source, workload: Workload, target: CpuTarget, *, rule: Rule, regular: Regular, problem: Problem
) -> Iterator[Schedule]:
    """Schedules of `workload` like the source's, which need not be legal; `rule`, `regular` and `problem` are of the
    backend."""
    usual = rule(workload, target)
    for tile in _tiles(source, workload, target, regular):
        found = _fitted(source, workload, target, usual, tile)
        if found is None:
            continue
        # Whether fetching ahead pays depends on the weights' size, as the rule has it.
        fetching = replace(found, prefetch=usual.prefetch)
        yield fetching if problem(workload, fetching, target) is None else found


@dataclass(frozen=True)
class _Tile:
    """The lanes and the tiles of loops; `order` where it follows from the tile."""

    vector: str
    lanes: int
    sizes: Mapping[str, int]
    order: tuple[str, ...] | None = None


def _tiles(source: Source, workload: Workload, target: CpuTarget, regular: Regular) -> Iterator[_Tile]:
    if workload.sparsity is None:
        yield _scaled(source, workload, target)
    if (near := _nearest(source, workload, target, regular)) is not None:
        yield near


def _fitted(source: Source, workload: Workload, target: CpuTarget, rule: Schedule, tile: _Tile) -> Schedule | None:
    order = tile.order or order_like(source.schedule.order, rule.order, workload)
    parts = _parts(source, workload, target, rule, tile.sizes)
    peel = [
        loop
        for loop in (source.schedule.peel if workload.sparsity is None else ())
        if 1 < tile.sizes.get(loop, 1) < workload.extents[loop]
        and (loop != tile.vector or parts.get(loop, workload.extents[loop]) % tile.lanes == 0)
    ]
    try:
        return Schedule.of(
            workload,
            kind=source.schedule.kind,
            vector=tile.vector,
            lanes=tile.lanes,
            order=order,
            distribute=parts,
            tile=tile.sizes,
            peel=peel,
            apart=source.schedule.apart,
            producer=rule.producer,
        )
    except ScheduleError:
        return None


# Tiles.


def _scaled(source: Source, workload: Workload, target: CpuTarget) -> _Tile:
    """The source's tile with each loop's size fitted to its extent, and within the registers."""
    schedule, extents = source.schedule, workload.extents
    lanes = min(schedule.lanes, max(target.lanes(32), 1))
    while lanes > extents[schedule.vector]:
        lanes //= 2
    units: dict[str, int] = {}
    for loop in workload.parallel:
        step, own = (lanes, schedule.lanes) if loop == schedule.vector else (1, 1)
        tile, whole = schedule.tile_of(loop) // own, source.workload.extents[loop] // own
        units[loop] = tile_like(max(1, tile), max(1, whole), max(1, extents[loop] // step), even=loop in schedule.peel)
    _shrink(units, target.vector_registers - 2, {loop: extents[loop] for loop in units})
    sizes = {loop: size * lanes if loop == schedule.vector else size for loop, size in units.items()}
    return _Tile(schedule.vector, lanes, {**sizes, **_unrolled(source, workload, target)})


def _shrink(units: dict[str, int], most: int, extents: Mapping[str, int]) -> None:
    """Make the widest loop narrower until `most` registers hold the tile."""
    while math.prod(units.values()) > most:
        loop = max(units, key=lambda name: units[name])
        smaller = [size for size in divisors(extents[loop]) if size < units[loop]]
        units[loop] = max(smaller, default=1)


def _unrolled(source: Source, workload: Workload, target: CpuTarget) -> dict[str, int]:
    """The reductions' unrolling in divisors, all of a window that was unrolled whole."""
    found = {}
    for loop in workload.reductions:
        tile, extent = source.schedule.tile_of(loop), workload.extents[loop]
        if tile == 1 or (workload.root.dot is not None and loop == workload.names[-1]):
            continue
        found[loop] = unrolled_like(tile, source.workload.extents[loop], extent, target.cost.unrolled_reduction)
    return found


def _nearest(source: Source, workload: Workload, target: CpuTarget, regular: Regular) -> _Tile | None:
    """The regular tile in the source's lanes that is nearest in results that are held, then loop by loop."""
    schedule = source.schedule
    work = max(1, schedule.accumulators(source.workload))
    reductions = set(workload.reductions)

    def far(other: Schedule) -> tuple[float, float]:
        loops = workload.names if workload.sparsity is not None else workload.parallel
        shape = sum(apart(other.tile_of(x), schedule.tile_of(x)) for x in loops)
        return apart(max(1, other.accumulators(workload)), work), shape

    known = _listed(regular, workload, target)
    alike = [other for other in known if other.vector == schedule.vector and other.lanes == schedule.lanes]
    if not (alike or known):
        return None
    near = min(alike or known, key=far)
    if workload.sparsity is not None:
        return _Tile(near.vector, near.lanes, dict(near.tile), near.order)
    sizes = {loop: size for loop, size in near.tile if loop not in reductions}
    return _Tile(near.vector, near.lanes, {**sizes, **_unrolled(source, workload, target)})


@lru_cache(maxsize=64)
def _listed(regular: Regular, workload: Workload, target: CpuTarget) -> tuple[Schedule, ...]:
    """All regular schedules. A kernel is given what many others have, one after the other."""
    return tuple(regular(workload, target))


# Distribution.


def _parts(
    source: Source, workload: Workload, target: CpuTarget, rule: Schedule, tile: Mapping[str, int]
) -> dict[str, int]:
    """Each distributed loop in as many parts as it was, of whole tiles; the outermost one in more or fewer, as there
    are more or fewer threads. As the rule shares it out where threads would be left without a part."""
    found: dict[str, int] = {}
    factor = target.threads / source.threads
    split = dict(source.schedule.distribute)
    for loop in source.schedule.order:
        if loop not in split:
            continue
        count = -(-source.workload.extents[loop] // split[loop])
        wanted = max(1, round(count * factor))
        factor = factor * count / wanted
        found[loop] = _whole_tiles(-(-workload.extents[loop] // wanted), tile.get(loop, 1))
    if _count(found, workload) < min(target.threads, _count(dict(rule.distribute), workload)):
        found = {loop: _whole_tiles(part, tile.get(loop, 1)) for loop, part in rule.distribute}
    return {loop: part for loop, part in found.items() if part < workload.extents[loop]}


def _count(parts: Mapping[str, int], workload: Workload) -> int:
    return math.prod(-(-workload.extents[loop] // part) for loop, part in parts.items())


def _whole_tiles(part: int, tile: int) -> int:
    return -(-part // tile) * tile
