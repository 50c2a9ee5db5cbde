"""dlas-chain-dispatches: kernels that follow each other, and are small, become one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.backend import Backend
from dlas_mlir.codegen.gpu.backend import TENSOR_CORE
from dlas_mlir.codegen.gpu.pooled_rule import pooled
from dlas_mlir.codegen.read_region import read_region
from dlas_mlir.codegen.read_workload import read_workload
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.schedule import ATTRIBUTE as SCHEDULE
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.simt import together
from dlas_mlir.codegen.simt.backend import BACKEND
from dlas_mlir.codegen.simt.chain import ATTRIBUTE, problem_of_regions, shared_dimensions
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.ir import attributes, build
from dlas_mlir.ir.linalg import iterators, shape_of
from dlas_mlir.opt.base import Pass, PassError

_REGION = "flow.dispatch.region"
# No more kernels are looked at together.
_MOST = 8


@dataclass(frozen=True)
class ChainDispatchesPass(Pass):
    """Mark dispatch regions of which each reads what those before compute, and nobody else does, as a chain: one launch
    on a GPU, if that is estimated to be faster than several. There are two kinds.

    Kernels of threads: each workgroup does a part of all of them (an image, a row), and hands results on in memory that
    its threads share. So the mean, the two layers and the gate of squeeze-and-excite are one kernel, and so is a norm:
    mean, variance and what is done with them. `dlas.chain` on the root of each says which chain it is of, and how many
    of the first dimensions of all results workgroups share out among them.

    A product on tensor cores and the pooling behind it: each workgroup computes the pixels that its part of the
    pooling's result is made of, and keeps them in shared memory. So a maximum behind the first convolution, and the
    mean behind the last, read and write nothing in between. The pooling has a schedule of kind `pooled`.

    `dlas.schedule` is written too, for those of a chain depend on each other. Without `dlas.chain` they are kernels of
    their own. On CPUs nothing is changed.

    Before:
    ```mlir
    %1 = flow.dispatch.region { %s = linalg.generic ins(%x) { arith.addf } ; ... }    // [2, 1, 1, 1, 32]
    %2 = flow.dispatch.region { %p = linalg.generic ins(%1, %w) { multiply-accumulate } ; ... }
    ```
    After:
    ```mlir
    %1 = flow.dispatch.region { %s = linalg.generic {dlas.chain = {chain = 0, shared = 4}, dlas.schedule = {...}} ... }
    %2 = flow.dispatch.region { %p = linalg.generic {dlas.chain = {chain = 0, shared = 4}, dlas.schedule = {...}} ... }
    ```
    """

    name: ClassVar[str] = "dlas-chain-dispatches"

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        if not isinstance(target, GpuTarget):
            return
        count = 0
        for block in build.functions(module):
            count = _pool(block, target, count)
            for kernels in _sequences(block, target):
                for first, last in _cuts(kernels, target):
                    if last - first > 1:
                        _chain(kernels[first:last], count, target)
                        count += 1


@dataclass(frozen=True, eq=False)
class _Kernel:
    op: ir.Operation
    region: Region
    workload: Workload


def _pool(block: ir.Block, target: GpuTarget, count: int) -> int:
    """Mark products and the poolings behind them, which alone read their results, as chains from number `count` on,
    where that is estimated to be faster. Returns the next number."""
    order = _order(block)
    for op in [op.operation for op in block.operations]:
        if (first := _kernel(op, target, TENSOR_CORE)) is None or len(op.results) != 1:
            continue
        uses = _users(op.results[0], order)
        following = _kernel(uses[0], target, BACKEND) if len(uses) == 1 else None
        if following is None or not any(following.region.reductions):
            continue
        alone = together.alone(following.workload, target)
        found = pooled(first.workload, following.workload, target, alone)
        if found is not None:
            _mark((first, following), found, {"chain": count})
            count += 1
    return count


def _order(block: ir.Block) -> dict[int, int]:
    """The place of each operation of a block."""
    return {build.identity(op.operation): place for place, op in enumerate(block.operations)}


def _sequences(block: ir.Block, target: GpuTarget) -> list[list[_Kernel]]:
    """Kernels of threads that follow each other: each is the first to read something of what those before computed.
    They begin with one that sums up; none is in two sequences."""
    order = _order(block)
    found, used = [], set()
    for op in [op.operation for op in block.operations]:
        if (
            build.identity(op) in used
            or (kernel := _kernel(op, target, BACKEND)) is None
            or not kernel.region.reductions
        ):
            continue
        kernels = [kernel]
        while len(kernels) < _MOST:
            readers = [user for one in kernels for result in one.op.results for user in _users(result, order)]
            readers = [user for user in readers if all(user != one.op for one in kernels)]
            following = min(readers, key=lambda user: order[build.identity(user)], default=None)
            if following is None or build.identity(following) in used:
                break
            if (kernel := _kernel(following, target, BACKEND)) is None:
                break
            kernels.append(kernel)
        if len(kernels) > 1:
            found.append(kernels)
            used |= {build.identity(one.op) for one in kernels}
    return found


def _users(value: ir.Value, order: dict[int, int]) -> list[ir.Operation]:
    """What reads `value` in the block of the regions: the regions that capture it, and other operations."""
    found = []
    for user in build.users(value):
        while build.identity(user) not in order:
            assert user.parent is not None
            user = user.parent.operation
        found.append(user)
    return found


def _kernel(op: ir.Operation, target: GpuTarget, backend: Backend) -> _Kernel | None:
    """`op` as a kernel of `backend` that nobody has scheduled; None for anything else."""
    if op.name != _REGION:
        return None
    try:
        region = read_region(op)
        workload = read_workload(region)
        if SCHEDULE in region.root.op.attributes or backends.backend_for(workload, target) is not backend:
            return None
    except (PassError, LookupError):
        return None
    return _Kernel(op, region, workload)


def _cuts(kernels: Sequence[_Kernel], target: GpuTarget) -> list[tuple[int, int]]:
    """The launches, from one kernel up to another, that are estimated to be fastest in all."""
    best: list[tuple[float, list[tuple[int, int]]]] = [(0.0, [])]
    for last in range(1, len(kernels) + 1):
        options = []
        for first in range(last):
            if (cost := _cost(kernels[first:last], target)) is not None:
                before, cuts = best[first]
                options.append((before + cost, len(cuts), [*cuts, (first, last)]))
        cycles, _, cuts = min(options, key=lambda option: option[:2])
        best.append((cycles, cuts))
    return best[-1][1]


def _cost(kernels: Sequence[_Kernel], target: GpuTarget) -> float | None:
    """What one launch costs; None where they cannot be one."""
    if len(kernels) == 1:
        return together.alone(kernels[0].workload, target)
    found = _together(kernels, target)
    return found[0] if found else None


def _together(kernels: Sequence[_Kernel], target: GpuTarget) -> tuple[float, list[SimtSchedule]] | None:
    regions = [one.region for one in kernels]
    shared = _outer_dimensions(regions)
    if not _are_read_within(kernels) or problem_of_regions(regions) is not None:
        return None
    made: set[ir.Value] = set()
    parts = []
    for one in kernels:
        numbers = frozenset(number for number, value in enumerate(_tensors(one)) if value in made)
        parts.append(together.Part(one.workload, numbers, one is kernels[-1]))
        made |= set(one.op.results)
    return together.together(parts, shared, target)


def _outer_dimensions(regions: Sequence[Region]) -> int:
    """How many of the first dimensions workgroups share out: those that the kernels have in common, but where these are
    all, and nothing is summed, the last: its elements are the threads' then."""
    count = shared_dimensions(regions)
    if any("reduction" in iterators(region.root.op) for region in regions):
        return count
    shapes = [shape_of(region.root.result) for region in regions]
    while count and all(math.prod(shape[count:]) == 1 for shape in shapes):
        count -= 1
    return count


def _tensors(kernel: _Kernel) -> list[ir.Value]:
    """What a kernel reads, as its workload numbers it."""
    return list(dict.fromkeys(item.view.source for item in kernel.region.operands() if isinstance(item, Access)))


def _are_read_within(kernels: Sequence[_Kernel]) -> bool:
    """Whether only the results of the last one are read elsewhere."""
    own = {build.identity(one.op) for one in kernels}
    block = {build.identity(op.operation): 0 for op in kernels[0].op.block.operations}
    readers = [user for one in kernels[:-1] for result in one.op.results for user in _users(result, block)]
    return all(build.identity(user) in own for user in readers)


def _chain(kernels: Sequence[_Kernel], number: int, target: GpuTarget) -> None:
    found = _together(kernels, target)
    assert found is not None, "it was the fastest"
    _mark(kernels, found[1], {"chain": number, "shared": _outer_dimensions([one.region for one in kernels])})


def _mark(kernels: Sequence[_Kernel], schedules: Sequence[AnySchedule], chain: dict[str, int]) -> None:
    for one, schedule in zip(kernels, schedules, strict=True):
        root = one.region.root.op
        root.attributes[SCHEDULE] = attributes.from_plain(schedule.to_value())
        root.attributes[ATTRIBUTE] = attributes.from_plain(chain)
