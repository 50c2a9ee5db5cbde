"""The schedules of a product on a GPU that are tried, what one costs, and the cheapest of them: the rule.

Costs are cycles of a multiprocessor. A step of a workgroup takes as long as the slowest of its products, its copies
from the second-level cache and its reads of shared memory, or as what is under way needs to arrive; workgroups that
are resident beside each other share the first three, and hide the last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from dlas_mlir.codegen.gpu.instructions import INSTRUCTIONS, Instruction, hardware
from dlas_mlir.codegen.gpu.product import BYTES, STEP, Product
from dlas_mlir.codegen.gpu.resources import Resources, problem, tiles, window_of
from dlas_mlir.codegen.gpu.schedule import Block, GpuSchedule, fits
from dlas_mlir.codegen.gpu.window import Window
from dlas_mlir.codegen.target import GpuTarget
from dlas_mlir.codegen.workload import Workload

ROWS, _COLUMNS, _WARPS, _STAGES = (32, 64, 128, 256), (32, 64, 128, 256), (16, 32, 64), (3, 4, 5, 6)
_SPLITS = (1, 2, 4, 8)
# Groups of output channels are a multiple of this.
LEAST_COLUMNS = _COLUMNS[0]


def rule(workload: Workload, target: GpuTarget) -> GpuSchedule:
    """The cheapest regular schedule, of equal ones that with the larger instruction. Raises LookupError where there is
    none."""
    return min(_some(workload, target), key=lambda one: (cost(workload, one, target), -one.unit.threads))


def naive(workload: Workload, target: GpuTarget) -> GpuSchedule:
    """The smallest tile in the fewest stages: nothing is weighed."""
    return min(_some(workload, target), key=lambda one: (one.tile.rows * one.tile.columns, one.stages, one.threads))


def regular(workload: Workload, target: GpuTarget, most_rows: int = 128) -> Iterator[GpuSchedule]:
    """The legal schedules of some sizes, by wgmma of so many rows."""
    product = Product.of(workload)
    for name, unit in INSTRUCTIONS.items():
        if hardware(name) in target.matrix_instructions and fits(unit, product):
            warps = unit.kind == "mma"
            blocks = _blocks(name, product, target) if warps else _groups(name, product, target, most_rows)
            yield from (one for one in blocks if problem(workload, one, target) is None)


def refusal(workload: Workload, target: GpuTarget) -> str | None:
    """Why there is no schedule of `workload` on `target`, or None."""
    if next(regular(workload, target), None) is None:
        product = Product.of(workload)
        if product.a.groups and product.group_columns % LEAST_COLUMNS:
            return f"groups of {product.group_columns} output channels make no tiles of {LEAST_COLUMNS}"
        return f"{target.name} has no product of small matrices of {product.element} into {product.total}"
    return None


def _some(workload: Workload, target: GpuTarget) -> list[GpuSchedule]:
    found = list(regular(workload, target))
    if not found:
        raise LookupError(refusal(workload, target))
    return found


def _blocks(instruction: str, product: Product, target: GpuTarget) -> Iterator[GpuSchedule]:
    """Tiles that are not larger than they need be, in warps of all shapes, and stages that there are steps for; sums
    are split where there are too few tiles."""
    rows = [size for size in ROWS if size < 2 * product.m or size == ROWS[0]]
    columns = _columns(product, _COLUMNS)
    stages = [count for count in _STAGES if count <= product.steps] or [2]
    for down, across, own, beside, count in itertools.product(rows, columns, _WARPS, _WARPS, stages):
        if not (own <= down and beside <= across and 2 <= down // own * (across // beside) <= 8):
            continue
        for split in _splits(product, down, across, target):
            tile, warp = Block(down, across), Block(own, beside)
            yield GpuSchedule(instruction=instruction, tile=tile, warp=warp, stages=count, split=split)


def _columns(product: Product, sizes: tuple[int, ...]) -> list[int]:
    """Columns of tiles: no more than there are, and of one group."""
    fitting = [size for size in sizes if size < 2 * product.n or size == sizes[0]]
    return [size for size in fitting if not product.a.groups or product.group_columns % size == 0]


def _splits(product: Product, down: int, across: int, target: GpuTarget) -> list[int]:
    """Into how many parts a sum may be split: no more than there are multiprocessors for, twice over."""
    workgroups = -(-product.m // down) * -(-product.n // across)
    return [split for split in _SPLITS if split == 1 or workgroups * split <= 2 * target.compute_units]


def _groups(instruction: str, product: Product, target: GpuTarget, most_rows: int) -> Iterator[GpuSchedule]:
    """The same for wgmma, whose warpgroups do all columns of a tile; sums are split where there are too few tiles."""
    # Tiles of more than 128 rows are legal, and have not been measured.
    rows = [size for size in ROWS[1:] if size <= most_rows and (size < 2 * product.m or size == ROWS[1])]
    columns = _columns(product, _COLUMNS[:3])
    stages = [count for count in _STAGES if count <= product.steps or count == _STAGES[0]]
    halos = (False, True) if isinstance(Window.of(product), Window) else (False,)
    for down, across, own, count in itertools.product(rows, columns, (64, 128), stages):
        for split in _splits(product, down, across, target) if own <= down else ():
            tile, warp = Block(down, across), Block(own, across)
            for halo in halos:
                yield GpuSchedule(instruction=instruction, tile=tile, warp=warp, stages=count, split=split, halo=halo)


def cost(
    workload: Workload, schedule: GpuSchedule, target: GpuTarget, stored: float = 1.0, behind: float = 0.0
) -> float:
    """What a schedule costs, in cycles, relative to others of the workload; a share of the results is `stored`, and a
    workgroup has something to do `behind` it."""
    product, tile, weights = Product.of(workload), schedule.tile, target.cost
    each = -(-math.prod(tiles(product, schedule)) * schedule.split // target.compute_units)
    beside = min(each, Resources.of(product, schedule, target).resident(target))
    steps = -(-product.steps // schedule.split)
    arrival = weights.copy_cycles / (schedule.stages - 1)
    step = max(beside * _step_cycles(product, schedule, target), arrival) + weights.step_cycles
    if schedule.unit.kind == "mma":
        step += weights.warp_step_cycles
    written = tile.rows * tile.columns * BYTES[product.element] * 2 / schedule.split * stored
    # The parts of a split sum go from one workgroup to another, or through memory to a second kernel.
    joined = tile.rows * tile.columns * 4 if schedule.split > 1 else 0
    fixed = weights.copy_cycles / beside
    after = 0.0
    if schedule.split > 1 and schedule.clustered:
        fixed += weights.split_cycles * (schedule.split - 1)
    elif schedule.split > 1:
        parts = product.m * product.n * 4 * schedule.split
        after = weights.start_cycles + weights.copy_cycles + parts / (target.compute_units * weights.far_bytes)
    round_cycles = steps * step + beside * ((written + joined) / weights.far_bytes + behind) + fixed
    return weights.start_cycles + -(-each // beside) * round_cycles + after


def products_per_cycle(unit: Instruction, target: GpuTarget) -> float:
    """The multiply-adds of a multiprocessor in a cycle, where it has warps enough, with an instruction."""
    share = 1.0 if unit.kind == "wgmma" else target.cost.warp_share
    return target.cost.products_per_cycle * share / (BYTES[unit.operand] / 2 * unit.products)


def _step_cycles(product: Product, schedule: GpuSchedule, target: GpuTarget) -> float:
    tile, warp, weights = schedule.tile, schedule.warp, target.cost
    warps = schedule.threads // 32
    products = tile.rows * tile.columns * (STEP // BYTES[product.element])
    multiplied = products / (products_per_cycle(schedule.unit, target) * min(1.0, warps / 4))
    rows = window_of(product).rows(tile.rows) / product.tap_count if schedule.halo else tile.rows
    copied = (rows + tile.columns) * STEP / weights.far_bytes
    readers = schedule.threads // schedule.unit.threads
    own = warp.rows + warp.columns if schedule.unit.kind == "mma" else tile.columns + warp.rows
    read = readers * own * STEP / weights.shared_bytes_per_cycle
    return max(multiplied, copied, read)
