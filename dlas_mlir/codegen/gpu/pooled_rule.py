"""Whether a product and the pooling behind it are one kernel: the schedules that are tried, what they cost, and what
the two cost apart. Costs are cycles, as those of `rule.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dlas_mlir.codegen.gpu import rule
from dlas_mlir.codegen.gpu.pooling import PooledSchedule, Pooling
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Access, Workload, element_bits


def pooled(
    product: Workload, workload: Workload, target: GpuTarget, alone: float
) -> tuple[GpuSchedule, PooledSchedule] | None:
    """The schedules of a product and of the pooling of its result, where one kernel of both is estimated to be faster
    than one for each; None where it is not, or there is none. `alone` is what a launch of the pooling costs."""
    pooling = Pooling.of(product, workload)
    if isinstance(pooling, str):
        return None
    found = [(_cost(product, pooling, *one, target), one) for one in _schedules(product, pooling, target)]
    if not found:
        return None
    cycles, (chosen, own) = min(found, key=lambda entry: entry[0])
    outside = _bytes(product, stored=False) + _bytes(workload, read=False)
    together = max(cycles, _memory_cycles(outside, target)) + target.cost.launch_cycles
    first = rule.cost(product, rule.rule(product, target), target)
    apart = max(first, _memory_cycles(_bytes(product), target)) + target.cost.launch_cycles
    apart += max(alone, _memory_cycles(_bytes(workload), target))
    return (chosen, own) if together < apart else None


def _schedules(product: Workload, pooling: Pooling, target: GpuTarget) -> Iterator[tuple[GpuSchedule, PooledSchedule]]:
    """Of each size of a tile the patch of which the image has fewest, with all regular schedules of it."""
    for rows in rule.ROWS:
        if (own := _largest(pooling, rows)) is None:
            continue
        patch = pooling.patch(own, rows)
        if isinstance(patch, str):
            continue
        patched = pooling.patched(product, own, patch)
        for chosen in rule.regular(patched, target, most_rows=rows):
            if (chosen.tile.rows, chosen.split, chosen.halo) == (rows, 1, False):
                yield chosen, own


def _largest(pooling: Pooling, rows: int) -> PooledSchedule | None:
    """The tile of `rows` pixels of the product that does the pooling in the fewest workgroups."""
    found: list[tuple[int, int, PooledSchedule]] = []
    for place, sizes in enumerate(_patches(len(pooling.sides), rows)):
        tile = {}
        for side, size in zip(pooling.sides, sizes, strict=True):
            if size < side.reads(1):
                break
            if side.pooled:
                tile[side.pooled] = min(side.count, (size - side.reads(1)) // side.stride + 1)
        else:
            own = PooledSchedule(tile=tile)
            found.append((math.prod(pooling.tiles(own)), place, own))
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def _patches(sides: int, rows: int) -> list[tuple[int, ...]]:
    """The patches of so many pixels, of powers of two."""
    if sides == 1:
        return [(rows,)]
    return [(rows >> power, 1 << power) for power in range(rows.bit_length())]


def _cost(product: Workload, pooling: Pooling, chosen: GpuSchedule, own: PooledSchedule, target: GpuTarget) -> float:
    """What one kernel costs."""
    patch = pooling.patch(own, chosen.tile.rows)
    assert not isinstance(patch, str), patch
    patched = pooling.patched(product, own, patch)
    pixels, taps = math.prod(pooling.tile(own)), math.prod(side.taps for side in pooling.sides)
    columns, weights = chosen.tile.columns, target.cost
    # Each value goes to shared memory once more, and comes from there for each window that it is in.
    moved = (chosen.tile.rows + pixels * taps) * columns * 4 / weights.shared_bytes_per_cycle
    behind = moved + pixels * taps * columns / weights.thread_sums
    return rule.cost(patched, chosen, target, pixels / chosen.tile.rows, behind)


def _memory_cycles(size: int, target: GpuTarget) -> float:
    """What so many bytes take that a kernel reads and writes, where the second-level cache has no place for them: then
    none of them is still there when it is read again (layers of 64 MB take that time on an H200, which has 50)."""
    if size <= target.cache_bytes:
        return 0
    return size / (target.cost.memory_bytes * target.compute_units)


def _bytes(workload: Workload, *, read: bool = True, stored: bool = True) -> int:
    """The bytes of the tensors that a kernel reads, and of its results."""
    used = {
        item.tensor for stage in workload.stages for item in (*stage.inputs, stage.initial) if isinstance(item, Access)
    }
    tensors = [(workload.tensors[number].shape, workload.tensors[number].element) for number in used if read]
    tensors += [(output.shape, workload.stages[output.stage].element) for output in workload.outputs if stored]
    return sum(math.prod(shape) * element_bits(element) // 8 for shape, element in tensors)
