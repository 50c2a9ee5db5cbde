"""What a sparse kernel costs a CPU, in cycles for a pass over the output: an estimate that ranks schedules."""

from __future__ import annotations

import math

from dlas_mlir.codegen.schedule import Schedule
from dlas_mlir.codegen.sparse.roles import ELEMENT_BYTES, SparseRoles
from dlas_mlir.codegen.target import CpuTarget
from dlas_mlir.codegen.workload import Workload


def cost(workload: Workload, schedule: Schedule, target: CpuTarget) -> float:
    """Cycles of the thread that works longest."""
    work = SparseRoles(workload)
    rows = 1 if work.row is None else schedule.tile_of(work.row)
    columns, chunk = schedule.tile_of(work.vector), schedule.tile_of(workload.reductions[0])
    parts = math.prod(-(-workload.extents[loop] // part) for loop, part in schedule.distribute)
    share = -(-parts // target.threads) / parts
    return share * cycles(work, rows, columns, schedule.lanes, chunk, target)


def cycles(work: SparseRoles, rows: int, columns: int, lanes: int, chunk: int, target: CpuTarget) -> float:
    """Those of one thread that does all, with a register tile of `rows` x `columns` pixels and chunks of `chunk`
    channels."""
    cost, block = target.cost, work.sparsity.block
    vectors = rows * -(-columns // lanes)
    blocks, chunks = work.workload.extents[work.channel] // block, work.depth // chunk
    images = math.ceil(work.height / rows) * math.ceil(work.width / columns)
    load = cost.sparse_load if work.window == 1 else cost.sparse_split_load
    # A wide vector is done in two halves, and where it is not aligned its load always crosses a line.
    halves = max(1, lanes * 8 * ELEMENT_BYTES // target.sparse_bits)
    loads = vectors * halves * (load if halves == 1 or work.window == 1 else 2 * cost.sparse_load)
    loads += (block + 1) * cost.sparse_load
    line, taps = target.line_bytes, work.workload.reductions[1:]
    if chunk * work.lines(rows, columns, line, *taps) * line > cost.sparse_cache_share * target.l1d_bytes:
        loads += work.lines(rows, columns, line) * cost.sparse_far_line
    step = max(block * vectors * halves * cost.sparse_fma, loads, cost.sparse_latency) + cost.sparse_step
    row = cost.sparse_loop + (cost.sparse_keep * block * vectors if chunks > 1 else 0.0)
    return images * (work.sparsity.nonzeros * step + blocks * chunks * row)
