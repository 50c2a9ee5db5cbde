"""The kernel of a product of matrices on tensor cores.

    copy the first steps of both factors to shared memory            (cp.async, a group for each step)
    for the steps of the sum
      wait for the oldest group; all threads; copy a further step in the place that has become free
      sums += products of small matrices of the step                 (mma.sync or wgmma)
    lay the sums out in shared memory; compute the stages; write the results

after the multi-stage pipelines of CUTLASS (Thakkar et al.) and the implicit product of cuDNN (Chetlur et al., 2014).
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from iree.compiler import ir

from dlas_mlir.codegen.frame import captured
from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.copies import Copies
from dlas_mlir.codegen.gpu.epilogue import Epilogue, join_parts
from dlas_mlir.codegen.gpu.executable import Launch, dispatch
from dlas_mlir.codegen.gpu.fragments import Fragment
from dlas_mlir.codegen.gpu.halo_copies import HaloCopies
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.mma import WarpSums
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.pooled_epilogue import Pooled, PooledEpilogue
from dlas_mlir.codegen.gpu.pooling import PooledNest, Pooling, problem
from dlas_mlir.codegen.gpu.product import STEP, Product
from dlas_mlir.codegen.gpu.resources import ALIGNMENT, halo_of, pipeline_bytes, stage_bytes, tiles, window_of
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.gpu.wgmma import GroupSums
from dlas_mlir.codegen.gpu.window import chunks
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.workload import Access as Described
from dlas_mlir.opt.base import PassError

# How each kind of instruction makes sums.
Sums: TypeAlias = "WarpSums | GroupSums"
SUMS: dict[str, type[WarpSums] | type[GroupSums]] = {"mma": WarpSums, "wgmma": GroupSums}


def emit(region: Region, nest: GpuNest) -> tuple[ir.Operation, ...]:
    """The kernel of `region` at the insertion point, and its executable in the module. Where workgroups without a
    cluster share a sum, there are two: one stores the parts of the sums, the other adds them up and does the rest."""
    product, schedule = nest.product, nest.schedule
    reads = captured(region)
    factors = _factors(region, product)
    down, across = tiles(product, schedule)
    cluster = schedule.split if schedule.clustered else 1
    # Operands taken apart take registers: as many as the schedule was chosen with.
    beside = 1 if schedule.unit.products > 1 else 0
    launch = Launch((across, down, schedule.split), schedule.threads, cluster, beside)
    results, updates = [output.type for output in region.outputs], [output.into for output in region.outputs]
    apart = schedule.split > 1 and not schedule.clustered

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        pointers = dict(zip(factors if apart else reads, sources, strict=True))
        kernel = _Kernel(product, schedule, (pointers[factors[0]], pointers[factors[1]]))
        if apart:
            kernel.emit_parts(targets[0])
        else:
            kernel.emit(Epilogue(region, product, schedule, pointers, targets))

    if not apart:
        return (dispatch(_name(nest), launch, reads, results, updates, body),)
    kind = ir.RankedTensorType.get([schedule.split, product.m, product.n], ir.Type.parse(product.total))
    parts = dispatch(_name(nest), launch, list(dict.fromkeys(factors)), [kind], [None], body)
    return parts, join_parts(region, nest, parts.results[0], f"{_name(nest)}_sums")


def emit_pooled(region: Region, nest: GpuNest, pooled_region: Region, pooled_nest: PooledNest) -> ir.Operation:
    """The kernel of `region` and of the pooling `pooled_region` of its result, at the insertion point. Raises
    ScheduleError where they cannot be one."""
    schedule = nest.schedule
    why = problem(nest.workload, schedule, pooled_nest.workload, pooled_nest.schedule)
    if why is not None:
        raise ScheduleError(why)
    pooling = Pooling.of(nest.workload, pooled_nest.workload)
    assert isinstance(pooling, Pooling), pooling
    patch = pooling.patch(pooled_nest.schedule, schedule.tile.rows)
    assert not isinstance(patch, str), patch
    product = Product.of(pooling.patched(nest.workload, pooled_nest.schedule, patch))
    made = region.op.results[0]
    reads = list(dict.fromkeys([*captured(region), *(x for x in captured(pooled_region) if x != made)]))
    factors = _factors(region, product)
    down, across = tiles(product, schedule)
    launch = Launch((across, down, 1), schedule.threads, beside=1 if schedule.unit.products > 1 else 0)

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        pointers = dict(zip(reads, sources, strict=True))
        pooled = Pooled(pooled_region, pooling, pooled_nest.schedule, patch, targets)
        kernel = _Kernel(product, schedule, (pointers[factors[0]], pointers[factors[1]]))
        kernel.emit(PooledEpilogue(region, product, schedule, pointers, pooled))

    text = pooled_nest.workload.to_json() + pooled_nest.schedule.to_json()
    name = f"{_name(nest)}_pooled_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    results = [output.type for output in pooled_region.outputs]
    return dispatch(name, launch, reads, results, [None] * len(results), body)


def _factors(region: Region, product: Product) -> tuple[ir.Value, ir.Value]:
    """The two factors of the root."""
    numbers: dict[int, ir.Value] = {}
    for item, described in zip(region.root.inputs, product.workload.root.inputs, strict=True):
        if not isinstance(item, Access) or not isinstance(described, Described):
            raise PassError("a product multiplies two tensors", region.op)
        numbers[described.tensor] = item.view.source
    return numbers[product.a.tensor], numbers[product.b.tensor]


def _name(nest: GpuNest) -> str:
    """One name for one kernel: its product, and what tells it from others."""
    product, text = nest.product, nest.workload.to_json() + nest.schedule.to_json()
    sizes = f"{product.m}x{product.n}x{product.k}"
    return f"product_{sizes}_{product.element}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class _Kernel:
    """A workgroup's work; `factors` is where the two factors are."""

    def __init__(self, product: Product, schedule: GpuSchedule, factors: tuple[ir.Value, ir.Value]) -> None:
        self.product, self.schedule, self.factors = product, schedule, factors
        self.shared = machine.shared(pipeline_bytes(product, schedule), ALIGNMENT)
        self.thread = machine.thread()
        self.n0 = machine.mul(machine.workgroup(0), schedule.tile.columns)
        self.m0 = machine.mul(machine.workgroup(1), schedule.tile.rows)
        self.rank = machine.workgroup(2) if schedule.split > 1 else 0

    def emit(self, epilogue: Epilogue) -> None:
        """The sums, and what `epilogue` makes of them."""
        sums, fragments = self._sums()
        machine.wait_copies(0)
        machine.barrier()
        epilogue.lay_out(fragments, self.shared, sums.row, sums.column)
        if self.schedule.split == 1:
            machine.barrier()
            epilogue.finish(self.shared, self.thread, self.m0, self.n0)
            return
        machine.cluster_barrier()
        thread = machine.add(machine.mul(self.rank, self.schedule.threads), self.thread)
        epilogue.finish(self.shared, thread, self.m0, self.n0)
        # Nobody leaves while others read what it has laid out.
        machine.cluster_barrier(relaxed=True)

    def emit_parts(self, target: ir.Value) -> None:
        """The sums of this workgroup's part, written to [split, rows, columns]."""
        sums, fragments = self._sums()
        machine.wait_copies(0)
        product = self.product
        row = machine.add(machine.mul(self.rank, product.m), self.m0, sums.row)
        column = machine.add(self.n0, sums.column)
        place = machine.moved(target, machine.mul(row, product.n * 4), machine.mul(column, 4))
        for fragment in fragments:
            inside = machine.both(
                machine.less(machine.add(self.m0, sums.row, fragment.row), product.m),
                machine.less(machine.add(column, fragment.column), product.n),
            )
            at = machine.moved(place, fragment.row * product.n * 4 + fragment.column * 4)
            machine.when(inside, lambda fragment=fragment, at=at: machine.store_pair(fragment.sums, at))

    def _sums(self) -> tuple[Sums, list[Fragment]]:
        product, schedule = self.product, self.schedule
        places = (*self.factors, self.shared)
        corner = (self.m0, self.n0)
        if schedule.halo:
            count = chunks(product, schedule.split)
            first, steps = machine.mul(self.rank, count), count * product.tap_count
            copies = HaloCopies(product, schedule, window_of(product), places, self.thread, corner, first)
        else:
            first, steps = _part(product.steps, schedule.split, self.rank)
            copies = Copies(product, schedule, places, self.thread, corner, first)
        from_b = halo_of(product, schedule) or schedule.tile.rows * STEP
        sums = SUMS[schedule.unit.kind](schedule, self.shared, self.thread, from_b, product.types(schedule.unit.ptx))
        values = self._pipeline(copies, sums, steps)
        sums.finish()
        return sums, sums.fragments(values)

    def _pipeline(self, copies: Copies | HaloCopies, sums: Sums, steps: Number) -> list[ir.Value]:
        """The sums of so many steps."""
        stages, size = self.schedule.stages, stage_bytes(self.schedule)
        # Where products of the step before are still under way, its place is not free.
        ahead = stages - 1 - sums.under_way
        for step in range(ahead):
            machine.when(machine.less(step, steps), lambda step=step: copies.copy(step, step * size))
            machine.commit_copies()

        def advanced(place: Number) -> ir.Value:
            following = machine.add(place, size)
            at_end = machine.equal(following, stages * size)
            return machine.value(machine.chosen(at_end, 0, following))

        def body(step: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            stage, free, *values = carried
            machine.wait_copies(ahead - 1)
            sums.before_barrier()
            machine.barrier()
            rows = copies.place_of(step) if isinstance(copies, HaloCopies) else 0
            found = sums.step(stage, values, rows) if sums.under_way else []
            later = machine.add(step, ahead)
            machine.when(machine.less(later, steps), lambda: copies.copy(later, free))
            machine.commit_copies()
            sums.after_copies()
            return [advanced(stage), advanced(free), *(found or sums.step(stage, values))]

        first, free = machine.value(0), machine.value(ahead % stages * size)
        return machine.loop(steps, [first, free, *sums.start()], body)[2:]


def _part(steps: int, split: int, rank: Number) -> tuple[Number, Number]:
    """The first step of a workgroup's part of the sum, and how many there are."""
    if split == 1:
        return 0, steps
    most = -(-steps // split)
    first = machine.mul(rank, most)
    if steps % split == 0:
        return first, most
    left = machine.sub(steps, first)
    return first, machine.chosen(machine.less(left, most), left, most)
