"""The plainest way to share a kernel's work out over threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlas_mlir.codegen.workload import Workload


def in_equal_parts(workload: Workload, loops: Sequence[str], tile: Mapping[str, int], threads: int) -> dict[str, int]:
    """What one workgroup does of the first of `loops` that has a tile for each thread: as many parts as there are
    threads, or nearly (of whole tiles). Nothing is shared out to one thread, nor where no loop is long enough."""
    for loop in loops:
        step = tile.get(loop, 1)
        tiles = workload.extents[loop] // step
        if threads > 1 and tiles >= threads:
            return {loop: -(-tiles // threads) * step}
    return {}
