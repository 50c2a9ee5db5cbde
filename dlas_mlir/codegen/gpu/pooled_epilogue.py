"""The end of a kernel whose product is pooled: each pixel of a patch goes through the stages behind the sums, back to
where its sums were in shared memory; then each thread takes some channels of a pixel of the pooling's result."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.behind import WIDTHS, Behind, Grid, Layouts, Point, Target, loaded, stored
from dlas_mlir.codegen.gpu.body import evaluate
from dlas_mlir.codegen.gpu.epilogue import Epilogue, number_is_inside
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.pooling import PooledSchedule, Pooling, Side, patch_of, pixel_of
from dlas_mlir.codegen.gpu.product import BYTES, Product
from dlas_mlir.codegen.gpu.resources import sums_pitch
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.region import Access, Region

# Taps that are straight code.
_STRAIGHT = 16


@dataclass(frozen=True)
class Pooled:
    """A pooling in a kernel: its `region`, how it reads the product, its schedule, the pixels of a patch along each
    side, and where its results go."""

    region: Region
    pooling: Pooling
    schedule: PooledSchedule
    patch: tuple[int, ...]
    targets: Sequence[ir.Value]

    @property
    def access(self) -> Access:
        """How it reads the product."""
        return next(item for item in self.region.root.inputs if isinstance(item, Access))

    @property
    def grid(self) -> Grid:
        """Its result."""
        workload = self.pooling.workload
        many = [loop for loop in workload.parallel if workload.extents[loop] > 1 and loop != self.pooling.column]
        extents = {loop: workload.extents[loop] for loop in many}
        return Grid(extents, self.pooling.column, workload.extents[self.pooling.column])


class PooledEpilogue(Epilogue):
    """The stages of `region` behind its sums, and `pooled` of what they compute."""

    def __init__(
        self,
        region: Region,
        product: Product,
        schedule: GpuSchedule,
        pointers: dict[ir.Value, ir.Value],
        pooled: Pooled,
    ) -> None:
        super().__init__(region, product, schedule, pointers, [])
        self.pooled, self.value = pooled, region.outputs[0].value
        self.element = ir.RankedTensorType(self.value.type).element_type
        layouts = Layouts.of(pooled.region, pooled.pooling.workload)
        columns = schedule.tile.columns
        widest = layouts.width(pooled.grid, self.width)
        # As wide as leaves something to all threads.
        pixels = math.prod(pooled.pooling.tile(pooled.schedule))
        fitting = [width for width in WIDTHS if widest % width == 0]
        busy = [width for width in fitting if pixels * columns // width >= schedule.threads]
        self.own = (busy or fitting[-1:])[0]
        self.after = Behind(pooled.region, pooled.grid, layouts, self.own, pointers)
        outputs = zip(pooled.region.outputs, pooled.targets, layouts.outputs, strict=True)
        self.results = [Target(*one) for one in outputs]

    def finish(self, shared: ir.Value, thread: Number, m0: Number, n0: Number) -> None:
        """Compute what is in shared memory, and pool it, all threads together."""
        super().finish(shared, thread, m0, n0)
        machine.barrier()
        tile = self.pooled.pooling.tile(self.pooled.schedule)
        across = self.schedule.tile.columns // self.own
        total, threads = math.prod(tile) * across, self.schedule.threads
        inside = {pixel_of(side) for side in self._sides()}
        outer = {loop: extent for loop, extent in self.behind.grid.rows.items() if loop not in inside}
        patch = machine.div(m0, self.schedule.tile.rows)
        place = dict(zip(outer, machine.digits(patch, list(outer.values())), strict=True))
        for first in range(0, total, threads):
            number = machine.add(thread, first)
            pixel, group = machine.div(number, across), machine.rem(number, across)
            inner = machine.digits(pixel, tile)
            column = machine.mul(group, self.own)
            point, is_result = self._result(place, inner, machine.add(n0, column))
            exists = machine.both(
                number_is_inside(number, first, total, threads),
                is_result,
                True if self.product.n % self.schedule.tile.columns == 0 else machine.less(point.n, self.product.n),
            )
            at = machine.moved(shared, self._slot(column))
            machine.when(exists, lambda point=point, inner=inner, at=at: self._pool(point, inner, place, at))

    def _sides(self) -> tuple[Side, ...]:
        return self.pooled.pooling.sides

    # The pixels of a patch.

    def _point(self, m: Number, n: Number) -> tuple[Point, ir.Value | bool]:
        point, _ = super()._point(m, n)
        return point, machine.both(*(self._is_inside(side, point.digits) for side in self._sides()))

    def _is_inside(self, side: Side, digits: dict[str, Number]) -> ir.Value | bool:
        """Whether a pixel of a patch is one of the image."""
        pooling, extents = self.pooled.pooling, self.product.workload.extents
        step = side.stride * pooling.tile(self.pooled.schedule)[pooling.sides.index(side)]
        last = (extents[patch_of(side)] - 1) * step + extents[pixel_of(side)] - 1 + side.first
        if side.first >= 0 and last < side.size:
            return True
        patch, pixel = digits.get(patch_of(side), 0), digits.get(pixel_of(side), 0)
        return machine.less(machine.add(machine.mul(patch, step), pixel, side.first), side.size)

    def _columns(self, place: ir.Value, point: Point) -> None:
        computed = self._computed(point, lambda rank: place, 16, constant=False)
        stored(computed[self.value], place)

    def _slot(self, column: Number) -> Number:
        """Where in a row of shared memory a column's value is: at the start of its thread's sums."""
        group = machine.mul(machine.div(column, self.width), self.width * 4)
        return machine.add(group, machine.mul(machine.rem(column, self.width), BYTES[str(self.element)]))

    # The result.

    def _result(self, place: dict[str, Number], inner: Sequence[Number], n: Number) -> tuple[Point, ir.Value | bool]:
        """The pixel `inner` of a workgroup's, in the patch at `place`, and whether the result has it."""
        pooling, rows = self.pooled.pooling, self.pooled.grid.rows
        digits = {own: place[loop] for loop, own in pooling.kept[:-1]}
        inside: list[ir.Value | bool] = []
        for side, size, number in zip(self._sides(), pooling.tile(self.pooled.schedule), inner, strict=True):
            if not side.pooled:
                continue
            digits[side.pooled] = machine.add(machine.mul(place.get(patch_of(side), 0), size), number)
            if side.count % size:
                inside.append(machine.less(digits[side.pooled], side.count))
        extents = list(rows.values())
        moves = [math.prod(extents[i + 1 :]) for i in range(len(extents))]
        m = machine.dot([digits[loop] for loop in rows], moves)
        return Point(m, digits, n), machine.both(*inside)

    def _pool(self, point: Point, inner: Sequence[Number], place: dict[str, Number], at: ir.Value) -> None:
        """Reduce over the window of a pixel, `at` being the first row of its columns; then the stages behind."""
        root = self.pooled.region.root
        initial = self.after.initial(point)
        if initial is None:
            kind = ir.RankedTensorType(root.result.type).element_type
            zero = ir.FloatAttr.get(kind, 0.0) if isinstance(kind, ir.FloatType) else ir.IntegerAttr.get(kind, 0)
            initial = [arith.constant(kind, zero)] * self.own
        taps = [side.taps for side in self._sides()]

        def body(window: Sequence[Number], values: list[ir.Value]) -> list[ir.Value]:
            return self._combined(values, self._read(inner, window, place, at))

        if math.prod(taps) <= _STRAIGHT:
            for window in itertools.product(*map(range, taps)):
                initial = body(window, initial)
        else:
            count = math.prod(taps)
            initial = machine.loop(count, initial, lambda tap, values: body(machine.digits(tap, taps), values))
        computed = self.after.computed(point, initial)
        for target in self.results:
            self.after.store(target, point, computed[target.output.value])

    def _read(
        self, inner: Sequence[Number], window: Sequence[Number], place: dict[str, Number], at: ir.Value
    ) -> list[ir.Value]:
        """What one tap of a pixel's window reads in each column."""
        row: Number = 0
        inside: list[ir.Value | bool] = []
        outside = self.pooled.access.view.outside
        for side, pixels, pixel, tap in zip(self._sides(), self.pooled.patch, inner, window, strict=True):
            own = machine.add(machine.mul(pixel, side.stride), machine.mul(tap, side.dilation))
            row = machine.add(machine.mul(row, pixels), own)
            if outside is not None and side.beyond:
                inside.append(self._is_inside(side, {**place, pixel_of(side): own}))
        address = machine.moved(at, machine.mul(row, sums_pitch(self.schedule)))
        size = BYTES[str(self.element)]
        values = loaded(address, self.element, self.own, size * self.own, constant=False)
        exists = machine.both(*inside)
        if exists is True or outside is None:
            return values
        filler = arith.constant(self.element, outside)
        return [filler if exists is False else arith.select(exists, value, filler) for value in values]

    def _combined(self, totals: list[ir.Value], values: list[ir.Value]) -> list[ir.Value]:
        root = self.pooled.region.root
        read = [isinstance(item, Access) for item in root.inputs]
        return [
            evaluate(root.body, [*(value if own else None for own in read), total])
            for value, total in zip(values, totals, strict=True)
        ]
