"""Take a flow.dispatch.region apart.

A region that can become a kernel holds, in this order: views (tensor.extract_slice with unit strides) of what it
captures, one root linalg.generic on a filled or captured accumulator, element-wise linalg.generics on the root's
iteration space, paddings of results, and insertions of those or of results. Before all this there may be another root
that sums, with element-wise operations on its result: the producer of a tensor that the root reads. Whatever else it
holds is refused.
"""

from __future__ import annotations

from dataclasses import replace

from iree.compiler import ir

from dlas_mlir.codegen import build, dot
from dlas_mlir.codegen.region import ELEMENTS, Access, Operand, Output, Region, Stage, View, stage_refusal
from dlas_mlir.ir import affine
from dlas_mlir.ir.build import defining
from dlas_mlir.ir.linalg import (
    fill_constant,
    indexing_maps,
    is_plain_insertion,
    is_plain_slice,
    iterators,
    loop_extents,
    out_loops,
    reduction_loops,
    scalar_constant,
    shape_of,
)
from dlas_mlir.ir.pads import Padding
from dlas_mlir.opt.base import PassError


def read_region(op: ir.Operation) -> Region:
    """Take a dispatch region apart. Raises PassError when an operation has no place in a kernel."""
    region = Region(op)
    reader = _Reader(region)
    for inner in op.regions[0].blocks[0].operations:
        reader.read(inner.operation)
    if not region.stages:
        raise PassError("a dispatch region without a scheduled linalg.generic", op)
    return region


class _Reader:
    def __init__(self, region: Region) -> None:
        self.region = region
        self.views: dict[ir.Value, View] = {}
        # Tensors of the region that hold one value everywhere.
        self.constants: dict[ir.Value, ir.Attribute] = {}
        self.fresh: set[ir.Value] = set()
        self.tails: dict[ir.Value, ir.Operation] = {}
        self.computed: set[ir.Value] = set()

    def read(self, op: ir.Operation) -> None:
        match op.name:
            case "tensor.empty":
                # Nobody may rely on what stands in it.
                element = ir.RankedTensorType(op.results[0].type).element_type
                if str(element) in ELEMENTS:
                    self.constants[op.results[0]] = build.zero(element)
                self.fresh.add(op.results[0])
            case "arith.constant":
                if (value := scalar_constant(op.results[0])) is not None:
                    self.constants[op.results[0]] = value
            case "tensor.extract_slice":
                self._slice(op)
            case "linalg.fill":
                value = fill_constant(op)
                if value is None:
                    raise PassError("a fill with something else than a constant", op)
                self.constants[op.results[0]] = value
            case "linalg.generic":
                self._generic(op)
            case "tensor.pad" if op.operands[0] not in self.computed:
                self._pad(op)
            case "tensor.pad" | "tensor.insert_slice":
                self.tails[op.results[0]] = op
            case "flow.return":
                self.region.outputs = [self._output(value) for value in op.operands]
            case _:
                raise PassError(f"'{op.name}' cannot be part of a kernel", op)

    def _is_inside(self, value: ir.Value) -> bool:
        op = defining(value)
        return op is not None and op.block == self.region.op.regions[0].blocks[0]

    def _view(self, value: ir.Value) -> View:
        if value not in self.views and self._is_inside(value):
            raise PassError("a kernel does not read its own results back", defining(value))
        return self.views.get(value) or View(value, (0,) * len(shape_of(value)))

    def _slice(self, op: ir.Operation) -> None:
        source = op.operands[0]
        if source in self.constants:
            self.constants[op.results[0]] = self.constants[source]
            return
        if not is_plain_slice(op):
            raise PassError(
                "only a slice with constant offsets, unit strides and full rank can be part of a kernel", op
            )
        base = self._view(source)
        offsets = ir.DenseI64ArrayAttr(op.attributes["static_offsets"])
        combined = tuple(a + b for a, b in zip(base.offsets, offsets, strict=True))
        self.views[op.results[0]] = View(base.source, combined, base.outside)

    def _pad(self, op: ir.Operation) -> None:
        """Padding around something that is read."""
        padding = Padding.of(op)
        if padding is None or padding.cuts or padding.source in self.constants:
            raise PassError("only padding of a tensor with a constant can be read by a kernel", op)
        base = self._view(padding.source)
        size = zip(base.offsets, shape_of(padding.source), shape_of(base.source), strict=True)
        if any((offset, extent) != (0, whole) for offset, extent, whole in size):
            raise PassError("padding of a part of a tensor cannot be read by a kernel", op)
        offsets = tuple(-low for low in padding.low)
        self.views[op.results[0]] = View(base.source, offsets, padding.constant)

    def _generic(self, op: ir.Operation) -> None:
        region = self.region
        if (why := stage_refusal(op)) is not None:
            raise PassError(why, op)
        maps = indexing_maps(op)
        if region.stages and "reduction" in iterators(op):
            self._end_producer(op)
        if not region.stages:
            region.extents = loop_extents(op)
            region.reductions = reduction_loops(op)
            region.out_loops = out_loops(maps[-1])
            loops = [affine.dim(i) for i in range(maps[0].n_dims)]
        else:
            loops = self._root_loops(op, maps)
        self._add_stage(op, maps, loops)

    def _end_producer(self, root: ir.Operation) -> None:
        """What was read so far computes a tensor for `root`."""
        region = self.region
        made = {value for value in root.operands if value in self.computed}
        if region.producer is not None or not region.reductions or self.tails or len(made) != 1:
            raise PassError("a second reduction cannot be part of a kernel", root)
        (value,) = made
        if value != region.stages[-1].result or len(list(value.uses)) != 1:
            raise PassError("a kernel reads its own results only where they are computed", root)
        zeros = (0,) * len(shape_of(value))
        output = Output(value, zeros, zeros, None, ir.RankedTensorType(value.type), zeros)
        region.producer = Region(
            region.op, region.extents, region.reductions, region.out_loops, region.stages, [output]
        )
        region.extents, region.reductions, region.out_loops, region.stages = (), (), (), []
        self.computed = set()
        self.views[value] = View(value, zeros)

    def _root_loops(self, op: ir.Operation, maps: list[ir.AffineMap]) -> list[ir.AffineExpr]:
        """For each loop of a later stage the loop of the root that the same dimension of the result runs over."""
        region = self.region
        if any(kind == "reduction" for kind in iterators(op)):
            raise PassError("a second reduction cannot be part of a kernel", op)
        if shape_of(op.results[0]) != shape_of(region.root.result):
            raise PassError("a result of another shape cannot be part of a kernel", op)
        loops = [affine.constant(0)] * maps[0].n_dims
        for expr, loop in zip(maps[-1].results, region.out_loops, strict=True):
            if loop is not None and affine.is_dim(expr):
                loops[affine.dim_position(expr)] = affine.dim(loop)
        return loops

    def _add_stage(self, op: ir.Operation, maps: list[ir.AffineMap], loops: list[ir.AffineExpr]) -> None:
        region = self.region
        first = not region.stages
        inputs: list[Operand | None] = []
        for value, map_, argument in zip(op.operands, maps, op.regions[0].blocks[0].arguments, strict=True):
            used = bool(list(argument.uses)) or (first and region.reductions and len(inputs) == len(maps) - 1)
            inputs.append(self._operand(op, value, map_, loops) if used else None)
        instruction = dot.instruction_of(op)
        if instruction is not None:
            inputs = [*_dot_operands(op, inputs[:-1], instruction, region.extents), inputs[-1]]
        region.stages.append(Stage(op, tuple(inputs[:-1]), inputs[-1], instruction))
        self.computed.add(op.results[0])

    def _operand(self, op: ir.Operation, value: ir.Value, map_: ir.AffineMap, loops: list[ir.AffineExpr]) -> Operand:
        if value in self.constants:
            return self.constants[value]
        count = len(self.region.extents)
        exprs = tuple(affine.substitute(expr, loops, count) for expr in map_.results)
        if value not in self.computed:
            return Access(self._view(value), exprs)
        here = [affine.constant(0) if loop is None else affine.dim(loop) for loop in self.region.out_loops]
        units = [size == 1 for size in shape_of(value)]
        if any(a != b and not unit for a, b, unit in zip(exprs, here, units, strict=True)):
            raise PassError("a kernel reads its own results only where they are computed", op)
        return value

    def _output(self, value: ir.Value) -> Output:
        kind = ir.RankedTensorType(value.type)
        zeros = (0,) * kind.rank
        op = self.tails.get(value)
        if op is None:
            if value not in self.computed:
                raise PassError("a kernel returns nothing but what it computes", self.region.op)
            return Output(value, zeros, zeros, None, kind, zeros)
        return self._padded(op, kind) if op.name == "tensor.pad" else self._inserted(op, kind)

    def _stage_value(self, op: ir.Operation) -> ir.Value:
        """What `op` pads or inserts."""
        if op.operands[0] not in self.computed:
            raise PassError("only what a kernel computes can be padded or inserted by it", op)
        return op.operands[0]

    def _padded(self, op: ir.Operation, kind: ir.RankedTensorType) -> Output:
        padding = Padding.of(op)
        if padding is None or padding.cuts:
            raise PassError("only padding with a constant can be part of a kernel", op)
        return Output(self._stage_value(op), padding.low, padding.high, padding.constant, kind, (0,) * kind.rank)

    def _inserted(self, op: ir.Operation, kind: ir.RankedTensorType) -> Output:
        offsets = tuple(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))
        source, destination = op.operands[0], op.operands[1]
        if not is_plain_insertion(op):
            raise PassError("only an insertion at a constant place with unit strides can be part of a kernel", op)
        if destination not in self.fresh and self._is_inside(destination):
            raise PassError("a kernel inserts its results into nothing that it makes itself", op)
        into = None if destination in self.fresh else destination
        around = self.tails.get(source)
        if around is not None and around.name == "tensor.pad":
            return replace(self._padded(around, kind), at=offsets, into=into)
        zeros = (0,) * kind.rank
        return Output(self._stage_value(op), zeros, zeros, None, kind, offsets, into)


def _dot_operands(
    op: ir.Operation, inputs: list[Operand | None], instruction: dot.Instruction, extents: tuple[int, ...]
) -> list[Operand | None]:
    """The operands of a dot product over the last loop, each read from its first element on."""
    dot.check(op, instruction, extents)
    loop, rest = len(extents) - 1, dot.rest_of(op, instruction, extents)
    first = [affine.dim(i) for i in range(loop)] + [affine.constant(0)]
    found: list[Operand | None] = []
    for item, argument in zip(inputs, op.regions[0].blocks[0].arguments, strict=False):
        if not isinstance(item, Access):
            raise PassError("a dot product reads two tensors, not a value that fills one", op)
        exprs = [affine.substitute(expr, first, loop + 1) for expr in item.exprs]
        if affine.is_dim(item.exprs[-1], loop):
            # [..., lanes, width]: neighbours in one dimension.
            exprs = [*exprs[:-2], exprs[-2] * instruction.width]
        # Where the data are no filler's, the weights are zero.
        found.append(Access(item.view, tuple(exprs), instruction, dot.is_signed(argument), None if found else rest))
    return found
