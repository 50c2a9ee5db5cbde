"""Copies of a product whose tile of pixels is loaded once for all taps: channels in chunks of 128 bytes, each with its
halo, beside the pipeline of weights."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.copies import TileCopies, copied_of
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.product import CHUNK, STEP, Product
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.gpu.window import Window, halo_bytes


class HaloCopies(TileCopies):
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
        halo = halo_bytes(product, schedule.split, schedule.tile.rows, window)
        super().__init__(product, schedule, places, thread, corner, first, halo)
        self.window = window
        self.held = window.chunk_bytes(schedule.tile.rows) // STEP
        self.rows = [self._row(corner[0], i) for i in range(-(-self.held // self.apart))]
        self.sizes = [copied_of(inside) for inside in self._columns(corner[1])]

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

    def copy(self, step: Number, stage: Number) -> None:
        """Begin to copy step number `step` of this workgroup: of the weights to `stage`; with the first tap of a chunk
        of channels its pixels too."""
        product = self.product
        own, tap = machine.div(step, product.tap_count), machine.rem(step, product.tap_count)
        channels = machine.mul(machine.add(own, self.first), STEP)
        machine.when(machine.equal(tap, 0), lambda: self._copy_pixels(own, channels))
        digits = machine.digits(tap, product.extents_of(product.taps))
        moves = [product.b.bytes(loop) for loop in product.taps]
        self._copy_columns(stage, [machine.dot(digits, moves), channels], self.sizes)

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
