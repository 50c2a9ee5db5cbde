"""What fitting a schedule to other loops starts from, and what all backends do alike: numbers of iterations that mean
the same in a loop of another extent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlas_mlir.codegen.workload import Workload

# What overlapping tiles may compute twice before a tile that divides is taken instead.
_WASTE = 1.1


@dataclass(frozen=True)
class Source:
    """A schedule (of any kind) and the workload that it is of, shared out over `threads` threads of a CPU."""

    workload: Workload
    schedule: Any
    threads: int = 1


def tile_like(tile: int, whole: int, extent: int, *, even: bool = False) -> int:
    """A tile of a parallel loop of `extent` like one of `tile` of `whole`: all of it if that was all, the same if there
    are as many, or if that comes out nearly even (`even`: it always does), else the divisor that is nearest by ratio.
    """
    if extent == whole:
        return tile
    if tile == whole > 1 and extent <= 2 * tile:
        return extent
    if tile <= extent and (even or -(-extent // tile) * tile <= _WASTE * extent):
        return tile
    return min(divisors(extent), key=lambda size: (abs(math.log(size / tile)), -size))


def unrolled_like(tile: int, whole: int, extent: int, most: int) -> int:
    """The iterations of a reduction of `extent` that are unrolled, as `tile` of `whole` were: a divisor, all of it if
    that was all and it is no more than `most`."""
    if tile == whole and extent <= max(tile, most):
        return extent
    return max(size for size in divisors(extent) if size <= tile)


def order_like(wanted: Sequence[str], usual: Sequence[str], workload: Workload) -> tuple[str, ...]:
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


def divisors(extent: int) -> list[int]:
    """Those of `extent`, the least first."""
    small = [size for size in range(1, math.isqrt(extent) + 1) if extent % size == 0]
    return sorted({*small, *(extent // size for size in small)})


def apart(one: float, other: float) -> float:
    """How far two positive numbers are apart, by ratio."""
    return abs(math.log(one / other))
