"""Schedules of one workload fitted to another of its family: the same decisions, in the sizes of the other's loops.

A family has the same loops by name, so order, vector loop and peeled loops carry over as they are. Tiles, unrolling and
distribution are numbers of iterations, and mean something else where the loop has another extent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload

# What overlapping tiles may compute twice before a tile that divides is taken instead.
_WASTE = 1.1


@dataclass(frozen=True)
class Source:
    """A schedule and the workload that it is of, shared out over `threads` threads."""

    workload: Workload
    schedule: Schedule
    threads: int = 1


def refit(source: Source, workload: Workload, target: CpuTarget) -> Schedule:
    """The schedule of `workload` that is most like the source's; the rule's where nothing of it can be kept."""
    return next(refits(source, workload, target))


def refits(source: Source, workload: Workload, target: CpuTarget) -> Iterator[Schedule]:
    """Schedules of `workload` like the source's, each once, the most alike first, all legal: one with its tiles scaled,
    one with the regular tile that is nearest. At least one: the rule's is the last that is thought of.

    `workload` is of the family of the source's.
    """
    backend = backends.backend_for(workload, target)
    rule = backend.rule(workload, target)
    seen: set[Schedule] = set()
    if source.schedule.kind == rule.kind:
        for tile in _tiles(source, workload, target):
            found = _fitted(source, workload, target, rule, tile)
            if found is not None and found not in seen and backend.problem(workload, found, target) is None:
                seen.add(found)
                yield found
    if not seen:
        yield rule


@dataclass(frozen=True)
class _Tile:
    """The lanes and the tiles of loops; `order` where it follows from the tile."""

    vector: str
    lanes: int
    sizes: Mapping[str, int]
    order: tuple[str, ...] | None = None


def _tiles(source: Source, workload: Workload, target: CpuTarget) -> Iterator[_Tile]:
    if workload.sparsity is None:
        yield _scaled(source, workload, target)
    if (near := _nearest(source, workload, target)) is not None:
        yield near


def _fitted(source: Source, workload: Workload, target: CpuTarget, rule: Schedule, tile: _Tile) -> Schedule | None:
    order = tile.order or _order(source.schedule.order, rule.order, workload)
    parts = _parts(source, workload, target, rule, tile.sizes)
    peel = [
        loop
        for loop in (source.schedule.peel if workload.sparsity is None else ())
        if 1 < tile.sizes.get(loop, 1) < workload.extents[loop]
        and (loop != tile.vector or parts.get(loop, workload.extents[loop]) % tile.lanes == 0)
    ]
    try:
        found = Schedule.of(
            workload,
            kind=source.schedule.kind,
            vector=tile.vector,
            lanes=tile.lanes,
            order=order,
            distribute=parts,
            tile=tile.sizes,
            peel=peel,
        )
    except ScheduleError:
        return None
    # Whether fetching ahead pays depends on the weights' size, as the rule has it.
    fetching = replace(found, prefetch=rule.prefetch)
    return fetching if backends.backend_of(workload, found).problem(workload, fetching, target) is None else found


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
        units[loop] = _size(max(1, tile), max(1, whole), max(1, extents[loop] // step), even=loop in schedule.peel)
    _shrink(units, target.vector_registers - 2, {loop: extents[loop] for loop in units})
    sizes = {loop: size * lanes if loop == schedule.vector else size for loop, size in units.items()}
    return _Tile(schedule.vector, lanes, {**sizes, **_unrolled(source, workload, target)})


def _size(tile: int, whole: int, extent: int, *, even: bool) -> int:
    """A tile of a parallel loop of `extent` like one of `tile` of `whole`: all of it if that was all, the same if that
    comes out nearly even (a loop that is peeled always does), else the divisor that is nearest by ratio."""
    if tile == whole > 1 and extent <= 2 * tile:
        return extent
    if tile <= extent and (even or -(-extent // tile) * tile <= _WASTE * extent):
        return tile
    return min(_divisors(extent), key=lambda size: (abs(math.log(size / tile)), -size))


def _shrink(units: dict[str, int], most: int, extents: Mapping[str, int]) -> None:
    """Make the widest loop narrower until `most` registers hold the tile."""
    while math.prod(units.values()) > most:
        loop = max(units, key=lambda name: units[name])
        smaller = [size for size in _divisors(extents[loop]) if size < units[loop]]
        units[loop] = max(smaller, default=1)


def _unrolled(source: Source, workload: Workload, target: CpuTarget) -> dict[str, int]:
    """The reductions' unrolling in divisors, all of a window that was unrolled whole."""
    found = {}
    for loop in workload.reductions:
        tile, extent = source.schedule.tile_of(loop), workload.extents[loop]
        if tile == 1 or (workload.root.dot is not None and loop == workload.names[-1]):
            continue
        most = max(tile, target.cost.unrolled_reduction)
        if tile == source.workload.extents[loop] and extent <= most:
            found[loop] = extent
        else:
            found[loop] = max(size for size in _divisors(extent) if size <= tile)
    return found


def _nearest(source: Source, workload: Workload, target: CpuTarget) -> _Tile | None:
    """The regular tile in the source's lanes that is nearest in results that are held, then loop by loop."""
    schedule = source.schedule
    work = max(1, schedule.accumulators(source.workload))
    reductions = set(workload.reductions)

    def apart(other: Schedule) -> tuple[float, float]:
        loops = workload.names if workload.sparsity is not None else workload.parallel
        shape = sum(abs(math.log(other.tile_of(x) / schedule.tile_of(x))) for x in loops)
        return abs(math.log(max(1, other.accumulators(workload)) / work)), shape

    regular = list(backends.backend_for(workload, target).regular(workload, target))
    alike = [other for other in regular if other.vector == schedule.vector and other.lanes == schedule.lanes]
    if not (alike or regular):
        return None
    near = min(alike or regular, key=apart)
    if workload.sparsity is not None:
        return _Tile(near.vector, near.lanes, dict(near.tile), near.order)
    sizes = {loop: size for loop, size in near.tile if loop not in reductions}
    return _Tile(near.vector, near.lanes, {**sizes, **_unrolled(source, workload, target)})


def _divisors(extent: int) -> list[int]:
    small = [size for size in range(1, math.isqrt(extent) + 1) if extent % size == 0]
    return sorted({*small, *(extent // size for size in small)})


# Order and distribution.


def _order(wanted: Sequence[str], usual: Sequence[str], workload: Workload) -> tuple[str, ...]:
    """The loops as `wanted` has them; one that it does not name, of one iteration there, before the loop that follows
    it in the `usual` order, or at the end of its kind."""
    extents, reductions = workload.extents, set(workload.reductions)
    found = [loop for loop in wanted if extents[loop] > 1]
    for place in reversed(range(len(usual))):
        loop = usual[place]
        if loop in found:
            continue
        alike = [name for name in found if (name in reductions) == (loop in reductions)]
        after = next((name for name in usual[place + 1 :] if name in alike), None)
        if after is not None:
            found.insert(found.index(after), loop)
        elif loop in reductions:
            found.append(loop)
        else:
            found.insert(sum(name not in reductions for name in found), loop)
    return tuple(found)


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
