"""The stages of a region behind its root (bias, residual, activation, rounding), which a thread computes for some
columns of a row at once; where they read their operands, and where results go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dlas_mlir.codegen.gpu import machine
from dlas_mlir.codegen.gpu.body import evaluate
from dlas_mlir.codegen.gpu.machine import Number
from dlas_mlir.codegen.gpu.product import BYTES, Layout, layout_of
from dlas_mlir.codegen.region import Access, Output, Region, Stage
from dlas_mlir.codegen.workload import Access as WorkloadAccess
from dlas_mlir.codegen.workload import Workload

# Columns that a thread does at once.
WIDTHS = (8, 4, 2, 1)


@dataclass(frozen=True)
class Grid:
    """The elements of a result: `rows` are loops and their extents, the last one fastest; `column` is the loop of the
    `columns` beside each other."""

    rows: dict[str, int]
    column: str
    columns: int


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
    def of(region: Region, workload: Workload, *, stored: bool = True) -> Layouts:
        """Those of `region`, which is `workload`; `stored`: its outputs are written where the workload says."""
        found = {}
        for number, (stage, same) in enumerate(zip(region.stages, workload.stages, strict=True)):
            items = [(stage.initial, same.initial, same.element)]
            if number:
                items += zip(stage.inputs, same.inputs, same.input_elements, strict=True)
            for item, described, element in items:
                if isinstance(item, Access) and isinstance(described, WorkloadAccess):
                    found[id(item)] = layout_of(workload, described, element)
        outputs = region.outputs if stored else []
        return Layouts(found, tuple(_layout_of_output(region, workload, output) for output in outputs))

    def width(self, grid: Grid, most: int) -> int:
        """How many columns a thread does at once: neighbours, or one, wherever they are read or written, that begin at
        a multiple of it, and divide `most`."""
        return next(width for width in WIDTHS if self._fits(width, grid, most))

    def _fits(self, width: int, grid: Grid, most: int) -> bool:
        if grid.columns % width or most % width:
            return False
        for layout in (*self.operands.values(), *self.outputs):
            across = layout.strides.get(grid.column, 0)
            rows = [layout.strides.get(loop, 0) for loop in grid.rows]
            if across > 1 or (across == 1 and any(move % width for move in (*rows, layout.constant))):
                return width == 1
        return True


def _layout_of_output(region: Region, workload: Workload, output: Output) -> Layout:
    strides: dict[str, int] = {}
    constant, size = 0, 1
    dims = list(zip(region.out_loops, output.type.shape, output.at, strict=True))
    for loop, extent, at in reversed(dims):
        if loop is not None:
            strides[workload.names[loop]] = size
        constant += at * size
        size *= extent
    return Layout(-1, str(output.type.element_type), strides, constant, ())


class Behind:
    """The stages of `region`, `width` columns at once. `layouts` say where they read operands, `pointers` where the
    captured tensors are."""

    def __init__(
        self, region: Region, grid: Grid, layouts: Layouts, width: int, pointers: dict[ir.Value, ir.Value]
    ) -> None:
        self.region, self.grid, self.width, self.pointers = region, grid, width, pointers
        self.layouts = layouts.operands

    def initial(self, point: Point) -> list[ir.Value] | None:
        """What the sums of the root start from in each column; None for zero, or nothing."""
        initial = self.region.root.initial
        if initial is None or (not isinstance(initial, Access) and _is_zero(initial)):
            return None
        return self._operand(initial, point, {})

    def computed(self, point: Point, sums: list[ir.Value]) -> dict[ir.Value, list[ir.Value]]:
        """The results of all stages at `point`, where the root has `sums`."""
        found = {self.region.root.result: sums}
        for stage in self.region.stages[1:]:
            found[stage.result] = self._stage(stage, point, found)
        return found

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
        count = self.width if layout.strides.get(self.grid.column) else 1
        return loaded(place, kind, count, BYTES[layout.element] * count, constant=True) * (self.width // count)

    def store(self, target: Target, point: Point, values: list[ir.Value]) -> None:
        """Write a result at `point`."""
        stored(values, self._place(target.place, target.layout, point))

    def _place(self, base: ir.Value, layout: Layout, point: Point) -> ir.Value:
        """Where an operand, or a result, has the first column of `point`."""
        rows = self.grid.rows
        moves = [layout.bytes(loop) for loop in rows]
        digits = [point.digits[loop] for loop in rows]
        offset = machine.offset(point.m, digits, list(rows.values()), moves)
        column = machine.mul(point.n, layout.bytes(self.grid.column))
        return machine.moved(base, offset, column, layout.constant * BYTES[layout.element])


def _is_zero(item: ir.Attribute | ir.Value) -> bool:
    return isinstance(item, ir.FloatAttr | ir.IntegerAttr) and item.value == 0


def stored(values: Sequence[ir.Value], place: ir.Value) -> None:
    """Write neighbours, at most 16 bytes at once, which begin at a multiple of that, or of all of them."""
    size = BYTES[str(values[0].type)]
    most = 16 // size
    for first in range(0, len(values), most):
        part = list(values[first : first + most])
        content = vector.from_elements(ir.VectorType.get([len(part)], part[0].type), part)
        machine.store(content, machine.moved(place, first * size), len(part) * size)


def loaded(place: ir.Value, kind: ir.Type, count: int, alignment: int, constant: bool) -> list[ir.Value]:
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
