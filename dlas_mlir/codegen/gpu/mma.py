"""Sums by ldmatrix and mma.sync: a warp computes a block of the tile, in registers."""

from __future__ import annotations

from typing import TypeAlias

from iree.compiler import ir
from iree.compiler.dialects import arith, nvvm

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.fragments import Fragment
from dlas_mlir.codegen.gpu.instructions import Instruction
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.product import STEP
from dlas_mlir.codegen.gpu.schedule import GpuSchedule

# What PTX calls the elements of A and B.
Types: TypeAlias = tuple[str, str]
# Products of small matrices in one step of 128 bytes: each is of 32.
_PARTS = 4
# Bytes from one block of sixteen rows to the next.
_BLOCK = 16 * STEP


class WarpSums:
    """The sums of one warp's block, of `schedule`, from the steps in `shared`, where columns begin `from_b` bytes
    on."""

    # Products are done where they stand.
    under_way = 0

    def __init__(self, schedule: GpuSchedule, shared: ir.Value, thread: ir.Value, from_b: int, types: Types) -> None:
        self.unit, self.warp, self.types = schedule.unit, schedule.warp, types
        across = schedule.tile.columns // self.warp.columns
        warp, lane = machine.div(thread, 32), machine.bits(thread, 31)
        row0 = machine.mul(machine.div(warp, across), self.warp.rows)
        column0 = machine.mul(machine.rem(warp, across), self.warp.columns)
        # Where the first sum of this thread is in the tile.
        self.row = machine.add(row0, machine.div(lane, 4))
        self.column = machine.add(column0, machine.mul(machine.bits(lane, 3), 2))
        self._places(machine.moved(shared, from_b), shared, lane, (row0, column0))

    def _places(self, columns: ir.Value, rows: ir.Value, lane: Number, corner: tuple[Number, Number]) -> None:
        """Where this thread points to for ldmatrix: rows of A, columns of B, and which chunk for each part."""
        seven, half = machine.bits(lane, 7), machine.div(lane, 16)
        row = machine.add(corner[0], machine.bits(lane, 15))
        column = machine.add(corner[1], seven, machine.mul(half, 8))
        self.from_a = machine.moved(rows, machine.mul(row, STEP))
        self.from_b = machine.moved(columns, machine.mul(column, STEP))
        second = machine.bits(machine.div(lane, 8), 1)
        self.chunks_a = [_chunk(machine.add(half, 2 * part), seven) for part in range(_PARTS)]
        self.chunks_b = [_chunk(machine.add(second, 2 * part), seven) for part in range(_PARTS)]

    @property
    def blocks(self) -> tuple[int, int]:
        """Small matrices down and across."""
        return self.warp.rows // self.unit.m, self.warp.columns // self.unit.n

    def start(self) -> list[ir.Value]:
        """Sums of nothing."""
        kind = ir.Type.parse(self.unit.total)
        zero = arith.constant(kind, 0.0 if isinstance(kind, ir.FloatType) else 0)
        down, across = self.blocks
        return [zero] * (down * across * 4)

    def before_barrier(self) -> None:
        """Nothing: ldmatrix sees what was copied."""

    def after_copies(self) -> None:
        """Nothing: products are waited for by who uses them."""

    def finish(self) -> None:
        """The same."""

    def step(self, stage: Number, sums: list[ir.Value], rows: Number = 0) -> list[ir.Value]:
        """The sums after the step that is at `stage` in shared memory; there is no halo, and no `rows` apart. What a
        part reads is loaded while the one before is multiplied.

        A product in parts begins each step at nothing, and is added to the sums by the thread, which rounds: tensor
        cores cut off, always towards zero, and a sum of thousands of products would be off by more than float32 is
        (Ootomo and Yokota, IJHPCA 2022)."""
        before, sums = sums, sums if self.unit.products == 1 else self.start()
        following = self._operands(0, stage)
        for part in range(_PARTS):
            a, b = following
            if part + 1 < _PARTS:
                following = self._operands(part + 1, stage)
            sums = self._multiplied(a, b, sums)
        if self.unit.products == 1:
            return sums
        return [arith.addf(total, one) for total, one in zip(before, sums, strict=True)]

    def _operands(self, part: int, stage: Number) -> tuple[list[list[ir.Value]], list[list[ir.Value]]]:
        down, across = self.blocks
        at_a = machine.moved(self.from_a, stage, self.chunks_a[part])
        at_b = machine.moved(self.from_b, stage, self.chunks_b[part])
        a = [machine.ldmatrix4(machine.moved(at_a, i * _BLOCK)) for i in range(down)]
        pairs = [machine.ldmatrix4(machine.moved(at_b, j * _BLOCK)) for j in range(across // 2)]
        return a, [half for pair in pairs for half in (pair[:2], pair[2:])]

    def _product(self, a: list[ir.Value], b: list[ir.Value], sums: list[ir.Value]) -> list[ir.Value]:
        """The sums with the product of two small matrices; the small terms of one in parts come first."""
        if self.unit.products == 1:
            return multiply(self.unit, self.types, a, b, sums)
        (a_high, a_low), (b_high, b_low) = _parts(a), _parts(b)
        for left, right in ((a_low, b_high), (a_high, b_low), (a_high, b_high)):
            sums = multiply(self.unit, self.types, left, right, sums)
        return sums

    def _multiplied(self, a: list[list[ir.Value]], b: list[list[ir.Value]], sums: list[ir.Value]) -> list[ir.Value]:
        found = []
        for i, left in enumerate(a):
            for j, right in enumerate(b):
                place = (i * len(b) + j) * 4
                found += self._product(left, right, sums[place : place + 4])
        return found

    def fragments(self, sums: list[ir.Value]) -> list[Fragment]:
        """The sums in pairs that are neighbours, and where they are."""
        down, across = self.blocks
        found = []
        for i in range(down):
            for j in range(across):
                place = (i * across + j) * 4
                for half in range(2):
                    pair = (sums[place + 2 * half], sums[place + 2 * half + 1])
                    found.append(Fragment(i * self.unit.m + 8 * half, j * self.unit.n, pair))
        return found


def _chunk(number: Number, row: Number) -> Number:
    """Where chunk `number` of a row is: swizzled by the row's number in eight."""
    return machine.mul(machine.differ(number, row), 16)


def _parts(registers: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
    """float32 as the sum of two numbers whose last 13 bits nothing looks at: what is above those, and the rest."""
    high = [machine.value(machine.bits(register, -(1 << 13))) for register in registers]
    kind = machine.f32()
    rest = [arith.subf(machine.cast(x, kind), machine.cast(h, kind)) for x, h in zip(registers, high, strict=True)]
    return high, [machine.cast(one, machine.i32()) for one in rest]


def multiply(
    unit: Instruction, types: Types, a: list[ir.Value], b: list[ir.Value], sums: list[ir.Value]
) -> list[ir.Value]:
    """mma.sync: four registers of A, two of B, and four sums; `types` are those of the elements in PTX."""
    total = sums[0].type
    if unit.operand == "f16":
        pair = ir.VectorType.get([2], ir.F16Type.get())
        a, b = ([machine.cast(register, pair) for register in registers] for registers in (a, b))
    attributes = {
        "shape": f"#nvvm.shape<m = {unit.m}, n = {unit.n}, k = {unit.k}>",
        "layout_a": "#nvvm.mma_layout<row>",
        "layout_b": "#nvvm.mma_layout<col>",
        "multiplicand_a_ptx_type": f"#nvvm.mma_type<{types[0]}>",
        "multiplicand_b_ptx_type": f"#nvvm.mma_type<{types[1]}>",
        **({"int_overflow_behavior": "#nvvm.mma_int_overflow<wrapped>"} if unit.total == "i32" else {}),
    }
    parsed = {name: ir.Attribute.parse(text) for name, text in attributes.items()}
    found = nvvm.mma_sync(machine.struct([total] * 4), operand_a=a, operand_b=b, operand_c=sums, **parsed)
    return [machine.part(found, number, total) for number in range(4)]
