"""Sums by wgmma: four warps compute a block of the tile from shared memory, while copies go on."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, nvvm

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.fragments import Fragment
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.mma import Types
from dlas_mlir.codegen.gpu.product import STEP
from dlas_mlir.codegen.gpu.schedule import GpuSchedule

# Products of one step of 128 bytes: each is of 32.
_PARTS = 4
# Of a descriptor of shared memory: addresses are in units of 16 bytes; eight rows of 128 bytes follow one another, in
# the 128-byte swizzle.
_UNIT = 16
_FORM = (1 << 62) | ((8 * STEP // _UNIT) << 32) | (1 << 16)


class GroupSums:
    """The sums of one warpgroup's block, of `schedule`, from the steps in `shared`, where columns begin `from_b` bytes
    on. The products of one step are under way while the next one begins."""

    # Groups of products that are not waited for in a step.
    under_way = 1

    def __init__(self, schedule: GpuSchedule, shared: ir.Value, thread: ir.Value, from_b: int, types: Types) -> None:
        self.unit, self.warp, self.types = schedule.unit, schedule.warp, types
        group, warp, lane = machine.div(thread, 128), machine.div(thread, 32), machine.bits(thread, 31)
        quarter = machine.mul(machine.bits(warp, 3), 16)
        self.row = machine.add(machine.mul(group, self.warp.rows), quarter, machine.div(lane, 4))
        self.column = machine.mul(machine.bits(lane, 3), 2)
        start = machine.number_of(shared)
        own = machine.mul(machine.uniform(machine.value(group)), self.warp.rows * STEP)
        self.rows = machine.add(start, own)
        self.a = None if schedule.halo else _descriptor(self.rows)
        self.b = _descriptor(machine.add(start, from_b))
        self.total = ir.Type.parse(self.unit.total)
        self.sums = machine.struct([self.total] * (self.warp.columns // 2))

    def start(self) -> list[ir.Value]:
        """Sums of nothing: one structure for each 64 rows."""
        return [llvm.mlir_zero(self.sums) for _ in range(self.warp.rows // self.unit.m)]

    def before_barrier(self) -> None:
        """What this thread has copied is seen by products."""
        kind, space = ir.Attribute.parse("#nvvm.proxy_kind<async.shared>"), "#nvvm.shared_space<cta>"
        nvvm.fence_proxy(kind, space=ir.Attribute.parse(space))

    def step(self, stage: Number, sums: list[ir.Value], rows: Number = 0) -> list[ir.Value]:
        """The sums after the step that is at `stage` in shared memory, which are not there yet. With a halo, `rows` is
        where A's rows begin, which are in no stage."""
        moved = arith.extui(ir.IntegerType.get_signless(64), machine.value(machine.div(stage, _UNIT)))
        a = _descriptor(machine.add(self.rows, rows)) if self.a is None else arith.addi(self.a, moved)
        b = arith.addi(self.b, moved)
        nvvm.wgmma_fence_aligned()
        found = list(sums)
        for part in range(_PARTS):
            for i in range(len(found)):
                left = _advanced(a, i * self.unit.m * STEP + part * STEP // _PARTS)
                found[i] = self._multiplied(left, _advanced(b, part * STEP // _PARTS), found[i])
        nvvm.wgmma_commit_group_sync_aligned()
        return found

    def after_copies(self) -> None:
        """Wait for the products of the step before."""
        nvvm.wgmma_wait_group_sync_aligned(self.under_way)

    def finish(self) -> None:
        """Wait for all products."""
        nvvm.wgmma_wait_group_sync_aligned(0)

    def _multiplied(self, a: ir.Value, b: ir.Value, sums: ir.Value) -> ir.Value:
        unit = self.unit
        total = {"f32": "f32", "i32": "s32"}[unit.total]
        texts = {
            "shape": f"#nvvm.shape<m = {unit.m}, n = {self.warp.columns}, k = {unit.k}>",
            "type_a": f"#nvvm.wgmma_type<{self.types[0]}>",
            "type_b": f"#nvvm.wgmma_type<{self.types[1]}>",
            "type_d": f"#nvvm.wgmma_type<{total}>",
            "scale_d": "#nvvm.wgmma_scale_out<one>",
            "scale_a": "#nvvm.wgmma_scale_in<one>",
            "scale_b": "#nvvm.wgmma_scale_in<one>",
            "layout_a": "#nvvm.mma_layout<row>",
            "layout_b": "#nvvm.mma_layout<col>",
        }
        attributes = {name: ir.Attribute.parse(text) for name, text in texts.items()}
        return nvvm.wgmma_mma_async(self.sums, sums, a, b, **attributes)

    def fragments(self, sums: list[ir.Value]) -> list[Fragment]:
        """The sums in pairs that are neighbours, and where they are."""
        found = []
        for i, block in enumerate(sums):
            values = [machine.part(block, number, self.total) for number in range(self.warp.columns // 2)]
            for number in range(0, len(values), 2):
                j, half = number // 4, number % 4 // 2
                found.append(Fragment(i * self.unit.m + 8 * half, j * 8, (values[number], values[number + 1])))
        return found


def _descriptor(address: Number) -> ir.Value:
    i64 = ir.IntegerType.get_signless(64)
    units = arith.extui(i64, machine.value(machine.div(machine.bits(address, 0x3FFFF), _UNIT)))
    return arith.ori(units, arith.constant(i64, _FORM))


def _advanced(descriptor: ir.Value, distance: int) -> ir.Value:
    """A descriptor, so many bytes on."""
    return arith.addi(descriptor, arith.constant(descriptor.type, distance // _UNIT)) if distance else descriptor
