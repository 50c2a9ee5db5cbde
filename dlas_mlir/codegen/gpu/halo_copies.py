"""Copies of a product whose tile of pixels is loaded once for all taps: channels in chunks of 128 bytes, each with its
halo, beside the pipeline of weights."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.copies import group_offset
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.product import BYTES, CHUNK, STEP, Product
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.gpu.window import Window, halo_bytes


class HaloCopies:
    """As Copies, for the steps tap by tap of one chunk of channels after the other, from chunk `first` on. `corner` is
    the first pixel, in the window's numbering, and the first column."""

    def __init__(
        self,
        product: Product,
        schedule: GpuSchedule,
        window: Window,
        places: tuple[ir.Value, ir.Value, ir.Value],
        thread: ir.Value,
        corner: tuple[Number, Number],
        first: Number = 0,
    ) -> None:
        self.product, self.schedule, self.window, self.first = product, schedule, window, first
        self.a, self.b, shared = places
        self.chunk, self.row = machine.bits(thread, 7), machine.div(thread, 8)
        self.apart = schedule.threads // 8
        swizzled = machine.differ(self.chunk, machine.bits(self.row, 7))
        inside = machine.add(machine.mul(self.row, STEP), machine.mul(swizzled, CHUNK))
        self.to_a = machine.moved(shared, inside)
        self.to_b = machine.moved(self.to_a, halo_bytes(product, schedule.split, schedule.tile.rows, window))
        self.held = window.chunk_bytes(schedule.tile.rows) // STEP
        self.group = group_offset(product, corner[1])
        self.rows = [self._row(corner[0], i) for i in range(-(-self.held // self.apart))]
        n = machine.add(corner[1], self.row)
        start = machine.mul(n, product.b.bytes(product.column))
        constant = product.b.constant * BYTES[product.element]
        self.from_b = machine.moved(self.b, start, machine.mul(self.chunk, CHUNK), constant)
        self.columns = [self._column(n, i) for i in range(schedule.tile.columns // self.apart)]

    def _row(self, v0: Number, i: int) -> tuple[ir.Value, Number, ir.Value | bool]:
        """Where a row comes from, how many bytes of it there are, and whether there is a place for it."""
        window, product = self.window, self.product
        # One image more, so that it is not negative.
        shift = window.pitch[0] * window.pitch[1] - window.first
        v = machine.add(v0, self.row, i * self.apart, shift)
        image, y, x = machine.digits(v, (window.images + 1, *window.pitch))
        image = machine.sub(image, 1)
        real = machine.both(
            machine.less(x, window.size[1]), machine.less(y, window.size[0]), machine.less(image, window.images)
        )
        pixel = machine.dot([image, y, x], [window.size[0] * window.size[1], window.size[1], 1])
        step = product.a.bytes(product.rows[-1])
        start = machine.moved(self.a, machine.mul(pixel, step), self.group, machine.mul(self.chunk, CHUNK))
        place = True if (i + 1) * self.apart <= self.held else machine.less(self.row, self.held - i * self.apart)
        return start, machine.chosen(real, CHUNK, 0), place

    def _column(self, n: Number, i: int) -> tuple[int, ir.Value | None]:
        product = self.product
        offset = i * self.apart
        if product.n % self.schedule.tile.columns == 0:
            size = None
        else:
            size = machine.value(machine.chosen(machine.less(machine.add(n, offset), product.n), CHUNK, 0))
        return offset, size

    def copy(self, step: Number, stage: Number) -> None:
        """Begin to copy step number `step` of this workgroup: of the weights to `stage`; with the first tap of a chunk
        of channels its pixels too."""
        product = self.product
        own, tap = machine.div(step, product.tap_count), machine.rem(step, product.tap_count)
        channels = machine.mul(machine.add(own, self.first), STEP)
        machine.when(machine.equal(tap, 0), lambda: self._copy_pixels(own, channels))
        digits = machine.digits(tap, product.extents_of(product.taps))
        moves = [product.b.bytes(loop) for loop in product.taps]
        source = machine.moved(self.from_b, machine.dot(digits, moves), channels)
        target = machine.moved(self.to_b, stage)
        for offset, size in self.columns:
            distance = offset * product.b.bytes(product.column)
            machine.copy16(machine.moved(target, offset * STEP), machine.moved(source, distance), size)

    def _copy_pixels(self, own: Number, channels: Number) -> None:
        size = self.window.chunk_bytes(self.schedule.tile.rows)
        to_a = machine.moved(self.to_a, machine.mul(own, size))
        for i, (start, count, place) in enumerate(self.rows):
            target = machine.moved(to_a, i * self.apart * STEP)

            def one(start: ir.Value = start, count: Number = count, target: ir.Value = target) -> None:
                machine.copy16(target, machine.moved(start, channels), machine.value(count))

            machine.when(place, one)

    def place_of(self, step: Number) -> Number:
        """Where the rows of step number `step` begin in shared memory, in bytes."""
        product, window = self.product, self.window
        own, tap = machine.div(step, product.tap_count), machine.rem(step, product.tap_count)
        down, across = machine.digits(tap, window.taps)
        rows = machine.add(machine.mul(down, window.pitch[1]), across)
        return machine.add(machine.mul(own, window.chunk_bytes(self.schedule.tile.rows)), machine.mul(rows, STEP))
