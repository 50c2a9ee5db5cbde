"""Schedules of products on tensor cores fitted to products of other sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from dlas_mlir.codegen.fitting import Source, apart
from dlas_mlir.codegen.gpu.product import Product
from dlas_mlir.codegen.gpu.resources import problem, tiles
from dlas_mlir.codegen.gpu.rule import regular
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload

# What another instruction, and a halo more or less, count beside twice or half of a number.
_OTHER_INSTRUCTION, _OTHER_HALO = 4 * math.log(2), 2 * math.log(2)


def fitted(source: Source, workload: Workload, target: GpuTarget) -> Iterator[GpuSchedule]:
    """Schedules of `workload` like the source's; they need not be legal: the same one; that with no more stages and
    parts of the sum than there are steps; the regular one that is nearest in all its numbers; and the one that has as
    many workgroups, and then is nearest."""
    schedule = source.schedule
    yield schedule
    kept = _within(schedule, Product.of(workload))
    yield kept
    known = [kept] if problem(workload, kept, target) is None else []
    known += regular(workload, target)
    if not known:
        return
    yield min(known, key=lambda other: _far(schedule, other))
    wanted = _workgroups(source.workload, schedule)
    yield min(known, key=lambda other: (apart(_workgroups(workload, other), wanted), _far(schedule, other)))


def _within(schedule: GpuSchedule, product: Product) -> GpuSchedule:
    """`schedule` with no more under way, and no more parts, than the sum has steps."""
    least = 3 if schedule.unit.kind == "wgmma" else 2
    stages = max(least, min(schedule.stages, product.steps))
    return msgspec.structs.replace(schedule, stages=stages, split=min(schedule.split, product.steps))


def _far(one: GpuSchedule, other: GpuSchedule) -> float:
    """How far two schedules are apart: by the ratios of their numbers, and by what is no number."""
    numbers = zip(_numbers(one), _numbers(other), strict=True)
    unlike = _OTHER_INSTRUCTION * (one.instruction != other.instruction) + _OTHER_HALO * (one.halo != other.halo)
    return unlike + sum(apart(a, b) for a, b in numbers)


def _numbers(one: GpuSchedule) -> tuple[int, ...]:
    return one.tile.rows, one.tile.columns, one.warp.rows, one.warp.columns, one.stages, one.split


def _workgroups(workload: Workload, schedule: GpuSchedule) -> int:
    return math.prod(tiles(Product.of(workload), schedule)) * schedule.split
