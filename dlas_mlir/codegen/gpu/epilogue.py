"""What a kernel does with its sums: they are laid out in shared memory, then each thread takes some columns of a row,
computes the stages behind the root with them (bias, residual, activation, rounding), and writes the results.

So every operand of a stage, and every result, is read or written in whole vectors, whatever the instruction left where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.behind import Behind, Grid, Layouts, Point, Target, loaded
from dlas_mlir.codegen.gpu.executable import Launch, dispatch
from dlas_mlir.codegen.gpu.fragments import Fragment
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.product import Product
from dlas_mlir.codegen.gpu.resources import sums_pitch, window_of
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.region import Access, Region

# Threads of a workgroup that joins parts of sums.
_JOINING = 128


def grid_of(product: Product) -> Grid:
    """The result of a product."""
    return Grid(dict(zip(product.rows, product.extents_of(product.rows), strict=True)), product.column, product.n)


class Epilogue:
    """The stages of `region` behind its sums. `pointers` is where the captured tensors are, `targets` where results
    go."""

    def __init__(
        self,
        region: Region,
        product: Product,
        schedule: GpuSchedule,
        pointers: dict[ir.Value, ir.Value],
        targets: Sequence[ir.Value],
    ) -> None:
        self.product, self.schedule = product, schedule
        layouts = Layouts.of(region, product.workload, stored=bool(targets))
        self.width = layouts.width(grid_of(product), schedule.tile.columns)
        self.behind = Behind(region, grid_of(product), layouts, self.width, pointers)
        outputs = region.outputs if targets else []
        self.targets = [Target(*one) for one in zip(outputs, targets, layouts.outputs, strict=True)]

    # The sums in shared memory.

    def lay_out(self, fragments: Sequence[Fragment], shared: ir.Value, row: Number, column: Number) -> None:
        """Write the sums of a thread, whose first one is at `row` and `column` of the tile."""
        pitch = sums_pitch(self.schedule)
        place = machine.moved(shared, machine.mul(row, pitch), machine.mul(column, 4))
        for fragment in fragments:
            machine.store_pair(fragment.sums, machine.moved(place, fragment.row * pitch + fragment.column * 4))

    def finish(self, shared: ir.Value, thread: Number, m0: Number, n0: Number) -> None:
        """Compute and write what is in shared memory, all threads together; `thread` counts those of the cluster."""
        tile, product = self.schedule.tile, self.product
        across = tile.columns // self.width
        total, threads = tile.rows * across, self.schedule.threads * self.schedule.split
        for first in range(0, total, threads):
            number = machine.add(thread, first)
            row, group = machine.div(number, across), machine.rem(number, across)
            n = machine.add(n0, machine.mul(group, self.width))
            point, is_row = self._point(machine.add(m0, row), n)
            place = machine.moved(
                shared, machine.mul(row, sums_pitch(self.schedule)), machine.mul(group, self.width * 4)
            )
            exists = machine.both(
                number_is_inside(number, first, total, threads),
                is_row,
                True if product.n % tile.columns == 0 else machine.less(n, product.n),
            )
            machine.when(exists, lambda point=point, place=place: self._columns(place, point))

    def _point(self, m: Number, n: Number) -> tuple[Point, ir.Value | bool]:
        """Row number `m` of all tiles, and whether it is one of the result."""
        product = self.product
        extents = product.extents_of(product.rows)
        if not self.schedule.halo:
            digits = machine.digits(m, extents)
            inside = True if product.m % self.schedule.tile.rows == 0 else machine.less(m, product.m)
            return Point(m, dict(zip(product.rows, digits, strict=True)), n), inside
        window = window_of(product)
        image, y, x = machine.digits(m, (window.images, *window.pitch))
        inside = machine.both(
            machine.less(x, window.out[1]), machine.less(y, window.out[0]), machine.less(image, window.images)
        )
        digits = [image, y, x][3 - len(extents) :]
        moves = [math.prod(extents[place + 1 :]) for place in range(len(extents))]
        return Point(machine.dot(digits, moves), dict(zip(product.rows, digits, strict=True)), n), inside

    def _columns(self, place: ir.Value, point: Point) -> None:
        def own(rank: int) -> ir.Value:
            return place if self.schedule.split == 1 else machine.of_workgroup(place, rank)

        self._write(point, self._computed(point, own, 16, constant=False))

    def join(self, place: ir.Value, point: Point) -> None:
        """Add up the parts of `point`, of which the first is at `place`, and write what becomes of them."""
        size = self.product.m * self.product.n * 4

        def part(rank: int) -> ir.Value:
            return machine.moved(place, rank * size)

        self._write(point, self._computed(point, part, self.width * 4, constant=True))

    def _computed(
        self, point: Point, place: Callable[[int], ir.Value], alignment: int, *, constant: bool
    ) -> dict[ir.Value, list[ir.Value]]:
        """What all stages make of the parts of `point` added up, each of which is at its `place`."""
        kind, sums = ir.Type.parse(self.product.total), []
        for rank in range(self.schedule.split):
            parts = loaded(place(rank), kind, self.width, alignment, constant)
            sums = [_added(a, b) for a, b in zip(sums, parts, strict=True)] if sums else parts
        start = self.behind.initial(point)
        if start is not None:
            sums = [_added(first, total) for first, total in zip(start, sums, strict=True)]
        return self.behind.computed(point, sums)

    def _write(self, point: Point, computed: dict[ir.Value, list[ir.Value]]) -> None:
        for target in self.targets:
            self.behind.store(target, point, computed[target.output.value])


def join_parts(region: Region, nest: GpuNest, parts: ir.Value, name: str) -> ir.Operation:
    """A dispatch at the insertion point that adds up `parts`, [split, rows, columns], and does what is behind the sums:
    each thread some columns of a row."""
    product, schedule = nest.product, nest.schedule
    behind = [item for stage in region.stages[1:] for item in (*stage.inputs, stage.initial)]
    items = [item for item in (region.root.initial, *behind) if isinstance(item, Access)]
    reads = [parts, *dict.fromkeys(item.view.source for item in items)]

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        pointers = dict(zip(reads, sources, strict=True))
        epilogue = Epilogue(region, product, schedule, pointers, targets)
        number = machine.add(machine.mul(machine.workgroup(0), _JOINING), machine.thread())
        across = product.n // epilogue.width
        row, group = machine.div(number, across), machine.rem(number, across)
        n = machine.mul(group, epilogue.width)
        digits = machine.digits(row, product.extents_of(product.rows))
        point = Point(row, dict(zip(product.rows, digits, strict=True)), n)
        place = machine.moved(sources[0], machine.mul(row, product.n * 4), machine.mul(n, 4))
        exists = True if product.m * across % _JOINING == 0 else machine.less(number, product.m * across)
        machine.when(exists, lambda: epilogue.join(place, point))

    results, updates = [output.type for output in region.outputs], [output.into for output in region.outputs]
    width = Layouts.of(region, product.workload).width(grid_of(product), schedule.tile.columns)
    launch = Launch((-(-product.m * product.n // width // _JOINING), 1, 1), _JOINING)
    return dispatch(name, launch, reads, results, updates, body)


def number_is_inside(number: Number, first: int, total: int, threads: int) -> ir.Value | bool:
    """Whether `number`, one of `threads` from `first` on, is one of `total`."""
    return True if first + threads <= total else machine.less(number, total)


def _added(a: ir.Value, b: ir.Value) -> ir.Value:
    return arith.addf(a, b) if isinstance(a.type, ir.FloatType) else arith.addi(a, b)
