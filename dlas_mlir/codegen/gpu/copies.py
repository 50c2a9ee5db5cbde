"""Steps of the two factors, copied to shared memory by cp.async.

A step is 128 bytes of each row of A's tile and of each column of B's. A thread copies 16 of them in every so many rows;
where they lie is swizzled, so that eight rows are read without conflicts of banks: chunk c of row r is at c xor r % 8,
which is the 128-byte swizzle of wgmma. What the window reads beyond the image, and what there is no more of in the last
tile, is written as zeros.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.product import BYTES, CHUNK, STEP, Guard, Product
from dlas_mlir.codegen.gpu.schedule import GpuSchedule

# Taps whose validity is a bit of a register each, five bits above what is copied.
_MASKED_TAPS = 27


@dataclass(frozen=True)
class _Row:
    """One row of A that a thread copies of: where it begins; the bytes to copy for each tap, one above the other, or
    (None) as many as `places` in the guards say; `inside`: whether there is such a row."""

    start: ir.Value
    mask: Number | None
    places: tuple[Number, ...]
    inside: ir.Value | bool


class TileCopies:
    """What all copies have: where this thread copies, and the columns of B that it copies of. `places` are where the
    factors are and go to, `corner` is the row and the column where the tile begins; steps begin at `first`. Rows take
    `rows_bytes` of shared memory, before the columns."""

    def __init__(
        self,
        product: Product,
        schedule: GpuSchedule,
        places: tuple[ir.Value, ir.Value, ir.Value],
        thread: ir.Value,
        corner: tuple[Number, Number],
        first: Number,
        rows_bytes: int,
    ) -> None:
        self.product, self.schedule, self.first = product, schedule, first
        self.a, self.b, shared = places
        self.chunk, self.row = machine.bits(thread, 7), machine.div(thread, 8)
        self.apart = schedule.threads // 8
        swizzled = machine.differ(self.chunk, machine.bits(self.row, 7))
        inside = machine.add(machine.mul(self.row, STEP), machine.mul(swizzled, CHUNK))
        self.to_a = machine.moved(shared, inside)
        self.to_b = machine.moved(self.to_a, rows_bytes)
        self.group = group_offset(product, corner[1])

    def _within(self) -> Number:
        """Where in a step this thread copies, if a step is of one tap."""
        return machine.mul(self.chunk, CHUNK) if self.product.whole_steps else 0

    def _columns(self, n0: Number) -> list[ir.Value | bool]:
        """Whether there is each of the columns that this thread copies of; `from_b` is where the first one is."""
        product, count = self.product, self.schedule.tile.columns // self.apart
        n = machine.add(n0, self.row)
        start, constant = machine.mul(n, product.b.bytes(product.column)), product.b.constant * BYTES[product.element]
        self.from_b = machine.moved(self.b, start, self._within(), constant)
        if product.n % self.schedule.tile.columns == 0:
            return [True] * count
        return [machine.less(machine.add(n, i * self.apart), product.n) for i in range(count)]

    def _copy_columns(self, stage: Number, offset: Sequence[Number], sizes: Sequence[ir.Value | None]) -> None:
        """Begin to copy `sizes` of the columns, `offset` bytes on, to `stage`."""
        target, source = machine.moved(self.to_b, stage), machine.moved(self.from_b, *offset)
        for i, size in enumerate(sizes):
            distance = i * self.apart * self.product.b.bytes(self.product.column)
            machine.copy16(machine.moved(target, i * self.apart * STEP), machine.moved(source, distance), size)


class Copies(TileCopies):
    """Copies the factors step by step."""

    def __init__(
        self,
        product: Product,
        schedule: GpuSchedule,
        places: tuple[ir.Value, ir.Value, ir.Value],
        thread: ir.Value,
        corner: tuple[Number, Number],
        first: Number = 0,
    ) -> None:
        super().__init__(product, schedule, places, thread, corner, first, schedule.tile.rows * STEP)
        self.rows = [self._row(corner[0], i) for i in range(schedule.tile.rows // self.apart)]
        self.columns = self._columns(corner[1])

    # What a thread copies.

    def _row(self, m0: Number, i: int) -> _Row:
        product = self.product
        m = machine.add(m0, self.row, i * self.apart)
        moves = [product.a.bytes(loop) for loop in product.rows]
        extents = product.extents_of(product.rows)
        digits = machine.digits(m, extents)
        inside = True if product.m % self.schedule.tile.rows == 0 else machine.less(m, product.m)
        offset = machine.offset(m, digits, extents, moves)
        constant = product.a.constant * BYTES[product.element]
        start = machine.moved(self.a, offset, self.group, self._within(), constant)
        if not product.a.guards:
            return _Row(start, None, (), inside)
        loops = dict(zip(product.rows, digits, strict=True))
        places = tuple(
            machine.dot([loops.get(loop, 0) for loop in guard.factors], list(guard.factors.values()), guard.constant)
            for guard in product.a.guards
        )
        mask = self._mask(places, inside) if product.tap_count <= _MASKED_TAPS else None
        return _Row(start, mask, places, inside)

    def _mask(self, places: Sequence[Number], inside: ir.Value | bool) -> Number:
        """The bytes to copy for each tap, shifted left by the tap's number."""
        product, mask = self.product, 0
        known: dict[tuple[int, int], ir.Value | bool] = {}

        def holds(number: int, tap: Sequence[int]) -> ir.Value | bool:
            guard = product.a.guards[number]
            move = _moved_in(guard, product.taps, tap)
            if (number, move) not in known:
                known[number, move] = machine.less(machine.add(places[number], move), guard.size)
            return known[number, move]

        taps = itertools.product(*map(range, product.extents_of(product.taps)))
        for number, tap in enumerate(taps):
            valid = machine.both(inside, *(holds(guard, tap) for guard in range(len(places))))
            mask = machine.either(mask, machine.chosen(valid, CHUNK << number, 0))
        return mask

    # One step.

    def copy(self, step: Number, stage: Number) -> None:
        """Begin to copy step number `step` of this workgroup to `stage`, bytes from the start of shared memory."""
        product, width = self.product, BYTES[self.product.element]
        step = machine.add(step, self.first)
        extents = [*product.extents_of(product.taps)]
        if product.whole_steps:
            unit, number, whole = STEP, step, True
        else:
            unit, number = CHUNK, machine.add(machine.mul(step, STEP // CHUNK), self.chunk)
            chunks = product.k * width // CHUNK
            whole = True if chunks % (STEP // CHUNK) == 0 else machine.less(number, chunks)
        per_tap = product.channels * width // unit
        extents.append(per_tap)
        tap = machine.div(number, per_tap)
        from_a = _walk(number, extents, [*(product.a.bytes(loop) for loop in product.taps), unit])
        from_b = _walk(number, extents, [*(product.b.bytes(loop) for loop in product.taps), unit])
        self._copy_a(machine.moved(self.to_a, stage), tap, from_a, whole)
        self._copy_columns(stage, [from_b], [copied_of(machine.both(inside, whole)) for inside in self.columns])

    def _copy_a(self, to_a: ir.Value, tap: Number, offset: Number, whole: ir.Value | bool) -> None:
        for i, row in enumerate(self.rows):
            target = machine.moved(to_a, i * self.apart * STEP)
            if row.mask is not None:
                size: Number = machine.bits(machine.shifted(row.mask, tap), CHUNK)
                size = machine.chosen(whole, size, 0)
                copied = machine.value(size)
            else:
                copied = copied_of(machine.both(row.inside, whole, *self._inside(row, tap)))
            machine.copy16(target, machine.moved(row.start, offset), copied)

    def _inside(self, row: _Row, tap: Number) -> list[ir.Value | bool]:
        """Whether the tap is inside of each guarded dimension."""
        product, found = self.product, []
        digits = machine.digits(tap, product.extents_of(product.taps)) if row.places else []
        for guard, place in zip(product.a.guards, row.places, strict=False):
            moves = [guard.factors.get(loop, 0) for loop in product.taps]
            found.append(machine.less(machine.add(place, machine.dot(digits, moves)), guard.size))
        return found


def group_offset(product: Product, n0: Number) -> Number:
    """How far the rows are that columns from `n0` on read, where these are in groups."""
    if product.a.groups is None:
        return 0
    return machine.mul(machine.div(n0, product.group_columns), product.group_bytes)


def copied_of(condition: ir.Value | bool) -> ir.Value | None:
    """What is copied; None: all."""
    return None if condition is True else machine.value(machine.chosen(condition, CHUNK, 0))


def _moved_in(guard: Guard, taps: Sequence[str], tap: Sequence[int]) -> int:
    return sum(guard.factors.get(loop, 0) * digit for loop, digit in zip(taps, tap, strict=True))


def _walk(number: Number, extents: Sequence[int], moves: Sequence[int]) -> Number:
    """The sum of the digits of `number`, in the mixed radix of `extents`, times `moves`. No digit is taken apart: each
    further one adds by how much its move differs from that of a whole round of the one behind it."""
    found = machine.mul(number, moves[-1])
    for place in range(len(extents) - 1):
        more = moves[place] - extents[place + 1] * moves[place + 1]
        if more:
            found = machine.add(found, machine.mul(machine.div(number, math.prod(extents[place + 1 :])), more))
    return found
