"""What a kernel does with its sums: they are laid out in shared memory, then each thread takes some columns of a row,
computes the stages behind the root with them (bias, residual, activation, rounding), and writes the results.

So every operand of a stage, and every result, is read or written in whole vectors, whatever the instruction left where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.body import evaluate
from dlas_mlir.codegen.gpu.executable import Launch, dispatch
from dlas_mlir.codegen.gpu.fragments import Fragment
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.nest import GpuNest
from dlas_mlir.codegen.gpu.product import BYTES, Layout, Product, layout_of
from dlas_mlir.codegen.gpu.resources import sums_pitch, window_of
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.region import Access, Output, Region, Stage
from dlas_mlir.codegen.workload import Access as WorkloadAccess

# Columns that a thread does at once, at most; threads of a workgroup that joins parts of sums.
_COLUMNS, _JOINING = 8, 128


@dataclass(frozen=True)
class Target:
    """Where a result goes: to a pointer, laid out as `layout` says."""

    output: Output
    place: ir.Value
    layout: Layout


@dataclass(frozen=True)
class Point:
    """Columns of a row: the row's number and its digits by loop, and the first column."""

    m: Number
    digits: dict[str, Number]
    n: Number


@dataclass(frozen=True)
class Layouts:
    """Where the stages of a region read their operands, by these, and where its outputs are written."""

    operands: dict[int, Layout]
    outputs: tuple[Layout, ...]

    @staticmethod
    def of(region: Region, product: Product) -> Layouts:
        """Those of `region`, whose root is `product`."""
        workload, found = product.workload, {}
        for number, (stage, same) in enumerate(zip(region.stages, workload.stages, strict=True)):
            items = [(stage.initial, same.initial, same.element)]
            if number:
                items += zip(stage.inputs, same.inputs, same.input_elements, strict=True)
            for item, described, element in items:
                if isinstance(item, Access) and isinstance(described, WorkloadAccess):
                    found[id(item)] = layout_of(workload, described, element)
        return Layouts(found, tuple(_layout_of_output(region, product, output) for output in region.outputs))

    def width(self, product: Product, schedule: GpuSchedule) -> int:
        """How many columns a thread does at once: neighbours, or one, wherever they are read or written, that begin at
        a multiple of it."""
        return next(width for width in (_COLUMNS, 4, 2, 1) if self._fits(width, product, schedule))

    def _fits(self, width: int, product: Product, schedule: GpuSchedule) -> bool:
        if product.n % width or schedule.tile.columns % width:
            return False
        for layout in (*self.operands.values(), *self.outputs):
            across = layout.strides.get(product.column, 0)
            rows = [layout.strides.get(loop, 0) for loop in product.rows]
            if across > 1 or (across == 1 and any(move % width for move in (*rows, layout.constant))):
                return width == 1
        return True


def _layout_of_output(region: Region, product: Product, output: Output) -> Layout:
    strides: dict[str, int] = {}
    constant, size = 0, 1
    dims = list(zip(region.out_loops, output.type.shape, output.at, strict=True))
    for loop, extent, at in reversed(dims):
        if loop is not None:
            strides[product.workload.names[loop]] = size
        constant += at * size
        size *= extent
    return Layout(-1, str(output.type.element_type), strides, constant, ())


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
        self.region, self.product, self.schedule, self.pointers = region, product, schedule, pointers
        described = Layouts.of(region, product)
        self.layouts = described.operands
        self.targets = [
            Target(output, place, layout)
            for output, place, layout in zip(region.outputs, targets, described.outputs, strict=True)
        ]
        self.width = described.width(product, schedule)

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

        self._write_sum(point, own, 16, constant=False)

    def join(self, place: ir.Value, point: Point) -> None:
        """Add up the parts of `point`, of which the first is at `place`, and write what becomes of them."""
        size = self.product.m * self.product.n * 4
        self._write_sum(point, lambda rank: machine.moved(place, rank * size), self.width * 4, constant=True)

    def _write_sum(self, point: Point, place: Callable[[int], ir.Value], alignment: int, *, constant: bool) -> None:
        """Add up the parts of `point`, each at its `place`, and write what becomes of them."""
        kind, sums = ir.Type.parse(self.product.total), []
        for rank in range(self.schedule.split):
            parts = _loaded(place(rank), kind, self.width, alignment, constant)
            sums = [_added(a, b) for a, b in zip(sums, parts, strict=True)] if sums else parts
        self.write(point, self._with_initial(point, sums))

    # Stages.

    def _with_initial(self, point: Point, sums: list[ir.Value]) -> list[ir.Value]:
        """The sums, and what they start from."""
        initial = self.region.root.initial
        start = self._operand(initial, point, {})
        if initial is None or start is None or (not isinstance(initial, Access) and _is_zero(initial)):
            return sums
        return [_added(first, total) for first, total in zip(start, sums, strict=True)]

    def write(self, point: Point, sums: list[ir.Value]) -> None:
        """The results of the stages at `point`, where the root has `sums`."""
        computed = {self.region.root.result: sums}
        for stage in self.region.stages[1:]:
            computed[stage.result] = self._stage(stage, point, computed)
        for target in self.targets:
            self._store(target, point, computed[target.output.value])

    def _stage(self, stage: Stage, point: Point, computed: dict[ir.Value, list[ir.Value]]) -> list[ir.Value]:
        operands = [self._operand(item, point, computed) for item in (*stage.inputs, stage.initial)]
        return [
            evaluate(stage.body, [None if operand is None else operand[i] for operand in operands])
            for i in range(self.width)
        ]

    def _operand(
        self, item: Access | ir.Value | ir.Attribute | None, point: Point, computed: dict[ir.Value, list[ir.Value]]
    ) -> list[ir.Value] | None:
        """An operand of a stage in each column."""
        if item is None:
            return None
        if isinstance(item, Access):
            return self._read(item, point)
        if isinstance(item, ir.Value):
            return computed[item]
        return [arith.constant(item.type, item)] * self.width  # type: ignore[attr-defined]

    def _read(self, item: Access, point: Point) -> list[ir.Value]:
        layout = self.layouts[id(item)]
        kind = ir.Type.parse(layout.element)
        place = self._place(self.pointers[item.view.source], layout, point)
        count = self.width if layout.strides.get(self.product.column) else 1
        return _loaded(place, kind, count, BYTES[layout.element] * count, constant=True) * (self.width // count)

    def _store(self, target: Target, point: Point, values: list[ir.Value]) -> None:
        size = BYTES[target.layout.element]
        place = self._place(target.place, target.layout, point)
        most = 16 // size
        for first in range(0, self.width, most):
            part = values[first : first + most]
            content = vector.from_elements(ir.VectorType.get([len(part)], part[0].type), part)
            machine.store(content, machine.moved(place, first * size), len(part) * size)

    def _place(self, base: ir.Value, layout: Layout, point: Point) -> ir.Value:
        """Where an operand, or a result, has the first column of `point`."""
        rows = self.product.rows
        moves = [layout.bytes(loop) for loop in rows]
        digits = [point.digits[loop] for loop in rows]
        offset = machine.offset(point.m, digits, self.product.extents_of(rows), moves)
        column = machine.mul(point.n, layout.bytes(self.product.column))
        return machine.moved(base, offset, column, layout.constant * BYTES[layout.element])


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
    width = Layouts.of(region, product).width(product, schedule)
    launch = Launch((-(-product.m * product.n // width // _JOINING), 1, 1), _JOINING)
    return dispatch(name, launch, reads, results, updates, body)


def number_is_inside(number: Number, first: int, total: int, threads: int) -> ir.Value | bool:
    """Whether `number`, one of `threads` from `first` on, is one of `total`."""
    return True if first + threads <= total else machine.less(number, total)


def _added(a: ir.Value, b: ir.Value) -> ir.Value:
    return arith.addf(a, b) if isinstance(a.type, ir.FloatType) else arith.addi(a, b)


def _is_zero(item: ir.Attribute | ir.Value) -> bool:
    return isinstance(item, ir.FloatAttr | ir.IntegerAttr) and item.value == 0


def _loaded(place: ir.Value, kind: ir.Type, count: int, alignment: int, constant: bool) -> list[ir.Value]:
    """`count` neighbours, at most 16 bytes at once."""
    size = BYTES[str(kind)]
    most = min(count, 16 // size)
    found = []
    for first in range(0, count, most):
        at = machine.moved(place, first * size)
        aligned = min(alignment, most * size)
        if most == 1:
            found.append(machine.load(kind, at, aligned, constant))
            continue
        content = machine.load(ir.VectorType.get([most], kind), at, aligned, constant)
        found += [vector.extract(content, [], [lane], results=[kind]) for lane in range(most)]
    return found
