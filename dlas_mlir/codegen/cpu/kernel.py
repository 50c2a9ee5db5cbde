"""From a scheduled dispatch region to flow.dispatch.workgroups with the loops and vectors written out.

The loop nest of one workgroup is

    for the parallel loops, in the schedule's order, in steps of their register tiles
      accumulators = initial values                             (register tile x vectors, all in registers)
      for the reduction loops
        accumulators = body(loads, accumulators)                (vector.fma; each load is done once for the tile)
      results = element-wise stages(accumulators)
      write results

after the micro-kernels of Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (SC 2018). IREE's default CPU pipeline bufferises and lowers it as it is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dot
from dlas_mlir.codegen.cpu.cascade import Cascade, added, is_long_sum
from dlas_mlir.codegen.region import Access, Output, Region, Stage
from dlas_mlir.codegen.vector.access import Position, Reader, write
from dlas_mlir.codegen.vector.body import BodyEmitter
from dlas_mlir.ir import affine
from dlas_mlir.ir.schedule import Schedule
from dlas_mlir.ir.strides import Span
from dlas_mlir.opt.base import PassError

_DYNAMIC = -(2**63)


def _dispatch_tensor(kind: ir.Type, access: str) -> ir.Type:
    return ir.Type.parse(f"!iree_tensor_ext.dispatch.tensor<{access}:{kind}>")


@dataclass(frozen=True)
class _Edge:
    """The padding on one side of a split dimension, and which of the dimension's workgroups writes it."""

    workgroup: ir.Value
    which: int
    start: int
    size: int


def _at_edges(box: tuple[_Edge | None, ...]) -> ir.Value:
    """Whether this workgroup is at all the edges of `box`."""
    i1, equal = ir.IntegerType.get_signless(1), ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 0)
    conditions = [
        ir.Operation.create(
            "arith.cmpi",
            results=[i1],
            operands=[edge.workgroup, build.index(edge.which)],
            attributes={"predicate": equal},
        ).result
        for edge in box
        if edge
    ]
    condition = conditions[0]
    for other in conditions[1:]:
        condition = ir.Operation.create("arith.andi", results=[i1], operands=[condition, other]).result
    return condition


class Kernel:
    """Emits one region; `captured` are the tensors that it reads, `op` what has been made of it."""

    def __init__(self, region: Region, schedule: Schedule) -> None:
        self.region, self.schedule = region, schedule
        self.captured = self._captured()
        self.loops = len(region.extents)
        self.op: ir.Operation | None = None
        self.distributed = [loop for loop in schedule.order if schedule.distribution[loop]][::-1]
        self.tile = [schedule.distribution[loop] or region.extents[loop] for loop in range(self.loops)]
        self.base: list[ir.Value | None] = [None] * self.loops
        self.workgroup: dict[int, ir.Value] = {}
        self.order_parallel = [loop for loop in schedule.order if loop not in region.reductions]
        # The loop of a dot product is in the instruction.
        summed = {self.loops - 1} if region.root.dot else set()
        self.order_reduction = [loop for loop in schedule.order if loop in region.reductions and loop not in summed]
        self.long_sum = is_long_sum(region.root, region.extents, region.reductions)

    def _captured(self) -> list[ir.Value]:
        """The tensors that the kernel reads, each once."""
        accesses = [item for stage in self.region.stages for item in (*stage.inputs, stage.initial)]
        captured = list(dict.fromkeys(item.view.source for item in accesses if isinstance(item, Access)))
        updated = [output.into for output in self.region.outputs if output.into is not None]
        if len(set(updated)) != len(updated) or set(updated) & set(captured):
            raise PassError("a buffer that is updated cannot be read or updated again by a kernel", self.region.op)
        return captured

    # The operation around the kernel.

    def emit(self) -> ir.Operation:
        outputs = self.region.outputs
        updated = [output.into for output in outputs if output.into is not None]
        operands = [*self.captured, *updated]
        ties = [-1 if output.into is None else operands.index(output.into) for output in outputs]
        index = ir.IndexType.get()
        self.op = ir.Operation.create(
            "flow.dispatch.workgroups",
            results=[output.type for output in outputs],
            operands=operands,
            attributes={
                "operandSegmentSizes": ir.DenseI32ArrayAttr.get([0, len(operands), 0, 0]),
                "tied_operands": ir.ArrayAttr.get([ir.IntegerAttr.get(index, tie) for tie in ties]),
            },
            regions=2,
        )
        kinds = [_dispatch_tensor(value.type, "readonly") for value in self.captured]
        kinds += [_dispatch_tensor(value.type, "readwrite") for value in updated]
        kinds += [_dispatch_tensor(output.type, "writeonly") for output in outputs if output.into is None]
        assert self.op is not None
        block = self.op.regions[0].blocks.append(*kinds, arg_locs=[ir.Location.unknown()] * len(kinds))
        count = self.op.regions[1].blocks.append()
        with ir.InsertionPoint(count):
            extents = [-(-self.region.extents[loop] // self.tile[loop]) for loop in self.distributed]
            grid = [build.index(extent) for extent in (*extents, 1, 1, 1)[:3]]
            ir.Operation.create("flow.return", operands=grid)
        with ir.InsertionPoint(block):
            self._body(list(block.arguments))
            ir.Operation.create("flow.return")
        return self.op

    def _body(self, arguments: list[ir.Value]) -> None:
        inputs, targets = arguments[: len(self.captured)], self._targets(arguments[len(self.captured) :])
        tensors = {value: _load(argument, value.type) for value, argument in zip(self.captured, inputs, strict=True)}
        self.reader = self._reader(tensors)
        for place, loop in enumerate(self.distributed):
            self._workgroup_base(place, loop)
        tiles = [self._empty_tile(output) for output in self.region.outputs]
        tiles = [self._fill_borders(output, tile) for output, tile in zip(self.region.outputs, tiles, strict=True)]
        position = Position(tuple(self.base), (0,) * self.loops)
        tiles = self._parallel(0, position, Position((None,) * self.loops, (0,) * self.loops), tiles)
        for output, tile, target in zip(self.region.outputs, tiles, targets, strict=True):
            self._store(output, tile, target)
            self._store_outer_borders(output, target)

    def _reader(self, tensors: dict[ir.Value, ir.Value]) -> Reader:
        spans = [self._span(loop) for loop in range(self.loops)]
        return Reader(tensors, self.schedule.vector, self.schedule.lanes, spans)

    def _span(self, loop: int) -> Span:
        """Where register tiles begin in a loop. What was moved back for the last one makes the step smaller."""
        extent, tile, block = self.region.extents[loop], self.tile[loop], self.schedule.register_tile[loop]
        begins = (tile, extent - tile) if tile != extent else ()
        inside = (block, tile - block) if block != tile else ()
        return Span(0, extent - block, math.gcd(*begins, *inside))

    def _targets(self, arguments: list[ir.Value]) -> list[ir.Value]:
        """The argument that each output is stored to: those that are updated come first."""
        outputs = self.region.outputs
        rest = iter(arguments)
        found = {i: next(rest) for i, output in enumerate(outputs) if output.into is not None}
        found |= {i: next(rest) for i, output in enumerate(outputs) if output.into is None}
        return [found[i] for i in range(len(outputs))]

    def _workgroup_base(self, place: int, loop: int) -> None:
        extent, tile = self.region.extents[loop], self.tile[loop]
        if extent == tile:
            return
        workgroup = ir.Operation.create(
            "flow.dispatch.workgroup.id",
            results=[ir.IndexType.get()],
            attributes={"dimension": ir.IntegerAttr.get(ir.IndexType.get(), place)},
        ).result
        self.workgroup[loop] = workgroup
        start = affine.dim(0) * affine.constant(tile)
        if extent % tile:
            self.base[loop] = build.affine_op("affine.min", [start, affine.constant(extent - tile)], [workgroup])
        else:
            self.base[loop] = build.apply(start, [workgroup])

    # The tile of an output that one workgroup writes.

    def _is_split(self, loop: int | None) -> bool:
        return loop is not None and self.tile[loop] != self.region.extents[loop]

    def _tile_shape(self, output: Output) -> list[int]:
        """A dimension that is not split carries its padding; the padding of a split one is written apart."""
        shape = []
        for i, loop in enumerate(self.region.out_loops):
            size = 1 if loop is None else self.tile[loop]
            shape.append(size if self._is_split(loop) else output.low[i] + size + output.high[i])
        return shape

    def _empty_tile(self, output: Output) -> ir.Value:
        kind = ir.RankedTensorType.get(self._tile_shape(output), output.type.element_type)
        return ir.Operation.create("tensor.empty", results=[kind]).result

    def _fill_borders(self, output: Output, tile: ir.Value) -> ir.Value:
        shape = self._tile_shape(output)
        for i, loop in enumerate(self.region.out_loops):
            if self._is_split(loop):
                continue
            strips = ((0, output.low[i]), (shape[i] - output.high[i], output.high[i]))
            for start, size in strips:
                if size:
                    offsets, sizes = [0] * len(shape), list(shape)
                    offsets[i], sizes[i] = start, size
                    tile = _fill(tile, output.pad, offsets, sizes, self.schedule.lanes)
        return tile

    def _store(self, output: Output, tile: ir.Value, target: ir.Value) -> None:
        offsets: list[int | ir.Value] = []
        for i, loop in enumerate(self.region.out_loops):
            base = None if loop is None else self.base[loop]
            if base is None:
                offsets.append(output.at[i])
            elif shift := output.low[i] + output.at[i]:
                offsets.append(build.apply(affine.dim(0) + affine.constant(shift), [base]))
            else:
                offsets.append(base)
        _store_slice(tile, target, offsets)

    def _store_outer_borders(self, output: Output, target: ir.Value) -> None:
        """The padding around split dimensions: each strip and each corner, by the workgroup that is at that edge."""
        edges: list[list[_Edge | None]] = []
        for i, loop in enumerate(self.region.out_loops):
            edges.append([None])
            if loop is not None and self._is_split(loop):
                extent = self.region.extents[loop]
                before = _Edge(self.workgroup[loop], 0, 0, output.low[i])
                after = _Edge(
                    self.workgroup[loop], -(-extent // self.tile[loop]) - 1, output.low[i] + extent, output.high[i]
                )
                edges[i] += [edge for edge in (before, after) if edge.size]
        for box in itertools.product(*edges):
            if any(box):
                self._store_border(output, target, box)

    def _store_border(self, output: Output, target: ir.Value, box: tuple[_Edge | None, ...]) -> None:
        branch = ir.Operation.create("scf.if", operands=[_at_edges(box)], regions=2)
        with ir.InsertionPoint(branch.regions[0].blocks.append()):
            shape = [edge.size if edge else size for edge, size in zip(box, self._tile_shape(output), strict=True)]
            kind = ir.RankedTensorType.get(shape, output.type.element_type)
            border = ir.Operation.create("tensor.empty", results=[kind]).result
            border = _fill(border, output.pad, [0] * len(shape), shape, self.schedule.lanes)
            offsets: list[int | ir.Value] = []
            for i, (edge, loop) in enumerate(zip(box, self.region.out_loops, strict=True)):
                base = None if loop is None else self.base[loop]
                if edge or base is None:
                    offsets.append(output.at[i] + (edge.start if edge else 0))
                else:
                    offsets.append(build.apply(affine.dim(0) + affine.constant(output.low[i] + output.at[i]), [base]))
            _store_slice(border, target, offsets)
            ir.Operation.create("scf.yield")

    # The loops of a workgroup.

    def _parallel(self, depth: int, here: Position, inside: Position, tiles: list[ir.Value]) -> list[ir.Value]:
        """`here` counts from the start of the problem, `inside` from the start of the workgroup's tile."""
        if depth == len(self.order_parallel):
            return self._tile_of_registers(here, inside, tiles)
        loop = self.order_parallel[depth]
        extent, step = self.tile[loop], self.schedule.register_tile[loop]
        if extent == step:
            return self._parallel(depth + 1, here, inside, tiles)

        def body(iv: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            if extent % step:
                iv = build.affine_op("affine.min", [affine.dim(0), affine.constant(extent - step)], [iv])
            base = here.values[loop]
            absolute = iv if base is None else build.apply(affine.dim(0) + affine.dim(1), [base, iv])
            return self._parallel(depth + 1, here.moved(loop, absolute), inside.moved(loop, iv), carried)

        return build.for_loop(extent, step, tiles, body)

    def _points(self) -> list[tuple[int, ...]]:
        """The offsets of the vectors in the register tile; loops that the vector operands run over vary fastest, so
        that a broadcast value is used while it is at hand."""
        schedule = self.schedule
        steps = {schedule.vector: schedule.lanes}
        vector_dims: set[int] = set()
        for item in self.region.root.inputs:
            if isinstance(item, Access):
                dims = set().union(*(affine.dims_of(expr) for expr in item.exprs)) if item.exprs else set()
                if schedule.vector in dims:
                    vector_dims |= dims
        parallel = [loop for loop in range(self.loops) if loop not in self.region.reductions]
        parallel.sort(key=lambda loop: loop in vector_dims)
        ranges = [range(0, schedule.register_tile[loop], steps.get(loop, 1)) for loop in parallel]
        points = []
        for combination in itertools.product(*ranges):
            offsets = [0] * self.loops
            for loop, offset in zip(parallel, combination, strict=True):
                offsets[loop] = offset
            points.append(tuple(offsets))
        return points

    def _tile_of_registers(self, here: Position, inside: Position, tiles: list[ir.Value]) -> list[ir.Value]:
        points = self._points()
        outer = self.reader.forget()
        root = self.region.root
        values = self._contract(here, points, self._initial(root, here, points, {}))
        tiles = self._finish(here, inside, points, values, tiles)
        self.reader.restore(outer)
        return tiles

    def _contract(self, here: Position, points: list[tuple[int, ...]], start: list[ir.Value]) -> list[ir.Value]:
        """The vectors of the root's result, one for each point."""
        if self.order_reduction and self.long_sum:
            return added(start, self._cascade(points, start[0].type).total(here))
        if self.order_reduction:
            return self._reduce(0, here, points, start)
        return self._evaluate(self.region.root, here, points, start, BodyEmitter(self.schedule.lanes), {})

    def _cascade(self, points: list[tuple[int, ...]], vector: ir.Type) -> Cascade:
        tile, extents = self.schedule.register_tile, self.region.extents
        zero = build.splat(build.zero(ir.VectorType(vector).element_type), self.schedule.lanes)
        return Cascade(
            loops=tuple((loop, extents[loop] // tile[loop], tile[loop]) for loop in self.order_reduction),
            unrolled=math.prod(tile[loop] for loop in self.order_reduction),
            chain=lambda depth, here, sums: self._reduce(depth, here, points, sums),
            zeros=[zero] * len(points),
        )

    def _finish(
        self,
        here: Position,
        inside: Position,
        points: list[tuple[int, ...]],
        values: list[ir.Value],
        tiles: list[ir.Value],
    ) -> list[ir.Value]:
        """The stages behind the root, and their results written."""
        emitter = BodyEmitter(self.schedule.lanes)
        computed = {self.region.root.result: values}
        for stage in self.region.stages[1:]:
            initial = self._initial(stage, here, points, computed)
            computed[stage.result] = self._evaluate(stage, here, points, initial, emitter, computed)
        tiles = list(tiles)
        for place, output in enumerate(self.region.outputs):
            for point, value in zip(points, computed[output.value], strict=True):
                tiles[place] = self._write(output, tiles[place], inside.plus(point), value)
        return tiles

    def _initial(
        self, stage: Stage, here: Position, points: list[tuple[int, ...]], computed: dict[ir.Value, list[ir.Value]]
    ) -> list[ir.Value]:
        """What the last argument of a stage's body is, for each point; nothing where it is not used."""
        initial = stage.initial
        if initial is None:
            return []
        if isinstance(initial, Access):
            return [self.reader.read(initial, here.plus(point)) for point in points]
        if isinstance(initial, ir.Value):
            return computed[initial]
        return [build.splat(initial, self.schedule.lanes) for _ in points]

    def _reduce(
        self, depth: int, here: Position, points: list[tuple[int, ...]], accumulators: list[ir.Value]
    ) -> list[ir.Value]:
        if depth == len(self.order_reduction):
            return self._reduction_steps(here, points, accumulators)
        loop = self.order_reduction[depth]
        extent, step = self.region.extents[loop], self.schedule.register_tile[loop]
        if extent == step:
            return self._reduce(depth + 1, here, points, accumulators)

        def body(iv: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            return self._reduce(depth + 1, here.moved(loop, iv), points, carried)

        return build.for_loop(extent, step, accumulators, body)

    def _reduction_steps(
        self, here: Position, points: list[tuple[int, ...]], accumulators: list[ir.Value]
    ) -> list[ir.Value]:
        outer = self.reader.forget()
        emitter = BodyEmitter(self.schedule.lanes)
        unrolled = [range(self.schedule.register_tile[loop]) for loop in self.order_reduction]
        for combination in itertools.product(*unrolled):
            offsets = [0] * self.loops
            for loop, offset in zip(self.order_reduction, combination, strict=True):
                offsets[loop] = offset
            at = here.plus(offsets)
            accumulators = self._evaluate(self.region.root, at, points, accumulators, emitter, {})
        self.reader.restore(outer)
        return accumulators

    def _evaluate(
        self,
        stage: Stage,
        here: Position,
        points: list[tuple[int, ...]],
        accumulators: list[ir.Value],
        emitter: BodyEmitter,
        computed: dict[ir.Value, list[ir.Value]],
    ) -> list[ir.Value]:
        results = []
        for place, point in enumerate(points):
            arguments: list[ir.Value | None] = []
            for item in stage.inputs:
                if isinstance(item, Access):
                    arguments.append(self.reader.read(item, here.plus(point)))
                elif isinstance(item, ir.Value):
                    arguments.append(computed[item][place])
                else:
                    arguments.append(None if item is None else build.splat(item, self.schedule.lanes))
            arguments.append(accumulators[place] if accumulators else None)
            if stage.dot is not None:
                results.append(dot.emit(stage.dot, arguments[:-1], accumulators[place]))
            else:
                results.append(emitter.emit(stage.body, arguments))
        return results

    def _write(self, output: Output, tile: ir.Value, position: Position, vector: ir.Value) -> ir.Value:
        indices = self._place(output, position)
        lane_dim = self.region.out_loops.index(self.schedule.vector)
        scattered = lane_dim != len(indices) - 1
        return write(vector, tile, indices, ir.VectorType(vector.type).shape[0], lane_dim, scattered)

    def _place(self, output: Output, position: Position) -> list[ir.Value]:
        """Where `position` (inside the tile) is in the tile of `output`."""
        return [
            position.index(
                affine.constant(0) if loop is None else affine.dim(loop), 0 if self._is_split(loop) else output.low[i]
            )
            for i, loop in enumerate(self.region.out_loops)
        ]


def _load(argument: ir.Value, kind: ir.Type) -> ir.Value:
    shape = list(ir.RankedTensorType(kind).shape)
    return ir.Operation.create(
        "iree_tensor_ext.dispatch.tensor.load",
        results=[kind],
        operands=[argument],
        attributes={
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0, 0]),
            "static_offsets": ir.DenseI64ArrayAttr.get([0] * len(shape)),
            "static_sizes": ir.DenseI64ArrayAttr.get(shape),
            "static_strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
        },
    ).result


def _store_slice(tile: ir.Value, target: ir.Value, offsets: list[int | ir.Value]) -> None:
    shape = list(ir.RankedTensorType(tile.type).shape)
    dynamic = [offset for offset in offsets if not isinstance(offset, int)]
    ir.Operation.create(
        "iree_tensor_ext.dispatch.tensor.store",
        operands=[tile, target, *dynamic],
        attributes={
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1, 0, len(dynamic), 0, 0]),
            "static_offsets": ir.DenseI64ArrayAttr.get([o if isinstance(o, int) else _DYNAMIC for o in offsets]),
            "static_sizes": ir.DenseI64ArrayAttr.get(shape),
            "static_strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
        },
    )


def _fill(tile: ir.Value, pad: ir.Attribute | None, offsets: list[int], sizes: list[int], lanes: int) -> ir.Value:
    """`tile` with the constant `pad` in the box at `offsets` of `sizes`."""
    assert pad is not None
    last = len(sizes) - 1
    width = min(lanes, 1 << (sizes[last].bit_length() - 1))
    vector = build.splat(pad, width)

    def nest(dim: int, indices: list[ir.Value], carried: list[ir.Value]) -> list[ir.Value]:
        if dim > last:
            return [build.write_vector(vector, carried[0], indices)]
        step = width if dim == last else 1

        def body(iv: ir.Value, inner: list[ir.Value]) -> list[ir.Value]:
            if dim == last and sizes[dim] % step:
                iv = build.affine_op("affine.min", [affine.dim(0), affine.constant(sizes[dim] - step)], [iv])
            at = build.apply(affine.dim(0) + affine.constant(offsets[dim]), [iv]) if offsets[dim] else iv
            return nest(dim + 1, [*indices, at], inner)

        if sizes[dim] == step:
            return nest(dim + 1, [*indices, build.index(offsets[dim])], carried)
        return build.for_loop(sizes[dim], step, carried, body)

    return nest(0, [], [tile])[0]
