"""What a flow.dispatch.region computes, read off its operations.

A region that can become a kernel holds, in this order: views (tensor.extract_slice with unit strides) of what it
captures, one root linalg.generic on a filled or captured accumulator, element-wise linalg.generics on the root's
iteration space, and tensor.pad of results.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iree.compiler import ir

from dlas_mlir.ir import affine
from dlas_mlir.ir.base import PassError
from dlas_mlir.ir.kernel import dot
from dlas_mlir.ir.kernel.dot import Instruction
from dlas_mlir.ir.schedule import ATTRIBUTE


@dataclass(frozen=True)
class View:
    """A captured tensor read at a constant offset in each dimension."""

    source: ir.Value
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """How one operand of a stage is indexed: `exprs` are over the loops of the root. For an operand of a dot product
    they say where the first of a lane's elements is; `signed` is how those are extended."""

    view: View
    exprs: tuple[ir.AffineExpr, ...]
    dot: Instruction | None = None
    signed: bool = False


@dataclass(frozen=True)
class Stage:
    """A linalg.generic of the region. `inputs` holds an Access, or the value of an earlier stage, per block argument
    but the last; `initial` is what the accumulator starts from (a scalar constant or an Access); `dot` is the
    instruction that does the last loop."""

    op: ir.Operation
    inputs: tuple[Access | ir.Value | None, ...]
    initial: ir.Attribute | Access | None
    dot: Instruction | None = None

    @property
    def body(self) -> ir.Block:
        return self.op.regions[0].blocks[0]

    @property
    def result(self) -> ir.Value:
        return self.op.results[0]


@dataclass(frozen=True)
class Output:
    """One result of the region: the stage value it holds with its padding, or where it is inserted into `into` (None
    for a fresh buffer, of which the rest is left unwritten)."""

    value: ir.Value
    low: tuple[int, ...]
    high: tuple[int, ...]
    pad: ir.Attribute | None
    type: ir.RankedTensorType
    at: tuple[int, ...]
    into: ir.Value | None = None


@dataclass
class Region:
    """The parts of one dispatch region."""

    op: ir.Operation
    extents: tuple[int, ...] = ()
    reductions: tuple[int, ...] = ()
    # The loop that each dimension of the result runs over; None for a dimension of one element.
    out_loops: tuple[int | None, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    @property
    def root(self) -> Stage:
        return self.stages[0]


def indexing_maps(op: ir.Operation) -> list[ir.AffineMap]:
    """The indexing maps of a linalg.generic, inputs first."""
    return [ir.AffineMapAttr(attr).value for attr in ir.ArrayAttr(op.attributes["indexing_maps"])]


def iterators(op: ir.Operation) -> list[str]:
    """`parallel` or `reduction` for each loop of a linalg.generic."""
    kinds = ir.ArrayAttr(op.attributes["iterator_types"])
    return ["reduction" if "reduction" in str(kind) else "parallel" for kind in kinds]


def is_plain_insertion(op: ir.Operation) -> bool:
    """Whether a tensor.insert_slice puts a value of full rank at a constant place with unit strides."""
    strides = set(ir.DenseI64ArrayAttr(op.attributes["static_strides"]))
    return len(op.operands) == 2 and strides == {1} and len(shape_of(op.operands[0])) == len(shape_of(op.operands[1]))


def shape_of(value: ir.Value) -> list[int]:
    """The static shape of a tensor value. Raises PassError for a dynamic one."""
    kind = ir.RankedTensorType(value.type)
    if not kind.has_static_shape:
        raise PassError(f"dynamic shapes are not supported: {kind}", getattr(value, "owner", None))
    return list(kind.shape)


def loop_extents(op: ir.Operation) -> tuple[int, ...]:
    """The extent of each loop of a linalg.generic, from the operands that it indexes plainly."""
    maps = indexing_maps(op)
    extents: dict[int, int] = {}
    for operand, map_ in zip(op.operands, maps, strict=True):
        for expr, size in zip(map_.results, shape_of(operand), strict=True):
            if affine.is_dim(expr):
                extents[affine.dim_position(expr)] = size
    return tuple(extents[i] for i in range(maps[0].n_dims))


def out_loops(map_: ir.AffineMap) -> tuple[int | None, ...]:
    """The loop that each result of an output map is; None for a constant zero. Raises PassError for anything else."""
    loops = []
    for expr in map_.results:
        if affine.is_dim(expr):
            loops.append(affine.dim_position(expr))
        elif not affine.dims_of(expr) and affine.evaluate(expr, []) == 0:
            loops.append(None)
        else:
            raise PassError(f"a result indexed by {expr} cannot be part of a kernel")
    return tuple(loops)


def scalar_constant(value: ir.Value) -> ir.Attribute | None:
    """The attribute of an arith.constant that is a scalar or a splat, as a scalar; None for anything else."""
    owner = value.owner
    if not isinstance(owner, ir.Operation | ir.OpView) or owner.operation.name != "arith.constant":
        return None
    attr = owner.operation.attributes["value"]
    if isinstance(attr, ir.FloatAttr | ir.IntegerAttr):
        return attr
    if isinstance(attr, ir.DenseElementsAttr) and attr.is_splat:
        return attr.get_splat_value()
    return None


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
        self.fills: dict[ir.Value, ir.Attribute] = {}
        self.pads: dict[ir.Value, ir.Operation] = {}
        self.inserts: dict[ir.Value, ir.Operation] = {}
        self.computed: set[ir.Value] = set()

    def read(self, op: ir.Operation) -> None:
        match op.name:
            case "tensor.empty" | "arith.constant":
                pass
            case "tensor.extract_slice":
                self._slice(op)
            case "linalg.fill":
                value = scalar_constant(op.operands[0])
                if value is None:
                    raise PassError("a fill with something else than a constant", op)
                self.fills[op.results[0]] = value
            case "linalg.generic":
                self._generic(op)
            case "tensor.pad":
                self.pads[op.results[0]] = op
            case "tensor.insert_slice":
                self.inserts[op.results[0]] = op
            case "flow.return":
                self.region.outputs = [self._output(value) for value in op.operands]
            case _:
                raise PassError(f"'{op.name}' cannot be part of a kernel", op)

    def _view(self, value: ir.Value) -> View:
        return self.views.get(value) or View(value, (0,) * len(shape_of(value)))

    def _slice(self, op: ir.Operation) -> None:
        offsets = tuple(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))
        strides = tuple(ir.DenseI64ArrayAttr(op.attributes["static_strides"]))
        ranks = len(shape_of(op.operands[0])), len(shape_of(op.results[0]))
        if len(op.operands) != 1 or set(strides) != {1} or ranks[0] != ranks[1]:
            raise PassError(
                "only a slice with constant offsets, unit strides and full rank can be part of a kernel", op
            )
        base = self._view(op.operands[0])
        combined = tuple(a + b for a, b in zip(base.offsets, offsets, strict=True))
        self.views[op.results[0]] = View(base.source, combined)

    def _generic(self, op: ir.Operation) -> None:
        region = self.region
        if len(op.results) != 1:
            raise PassError("a linalg.generic with several results cannot be part of a kernel", op)
        maps = indexing_maps(op)
        out = maps[-1].results
        if not region.stages:
            region.extents = loop_extents(op)
            region.reductions = tuple(i for i, kind in enumerate(iterators(op)) if kind == "reduction")
            region.out_loops = out_loops(maps[-1])
            loops = [affine.dim(i) for i in range(maps[0].n_dims)]
        else:
            if any(kind == "reduction" for kind in iterators(op)):
                raise PassError("a second reduction cannot be part of a kernel", op)
            # Loop i of this stage is the loop of the root that the same result dimension runs over.
            loops = [affine.constant(0)] * maps[0].n_dims
            for expr, loop in zip(out, region.out_loops, strict=True):
                if loop is not None and affine.is_dim(expr):
                    loops[affine.dim_position(expr)] = affine.dim(loop)
        self._add_stage(op, maps, loops)

    def _add_stage(self, op: ir.Operation, maps: list[ir.AffineMap], loops: list[ir.AffineExpr]) -> None:
        count = len(self.region.extents)

        def access(value: ir.Value, map_: ir.AffineMap) -> Access:
            exprs = tuple(affine.substitute(expr, loops, count) for expr in map_.results)
            return Access(self._view(value), exprs)

        block = op.regions[0].blocks[0]
        inputs: list[Access | ir.Value | None] = []
        for value, map_, argument in zip(op.operands, maps, block.arguments, strict=True):
            if not list(argument.uses):
                inputs.append(None)
            elif value in self.computed:
                inputs.append(value)
            else:
                inputs.append(access(value, map_))
        destination = op.operands[len(op.operands) - 1]
        initial: ir.Attribute | Access | None = None
        if inputs[-1] is not None:
            initial = self.fills.get(destination) or access(destination, maps[-1])
        instruction = dot.instruction_of(op)
        if instruction is not None:
            inputs = [*_summed(op, inputs[:-1], instruction, count - 1), inputs[-1]]
        self.region.stages.append(Stage(op, tuple(inputs[:-1]), initial, instruction))
        self.computed.add(op.results[0])

    def _output(self, value: ir.Value) -> Output:
        kind = ir.RankedTensorType(value.type)
        zeros = (0,) * kind.rank
        if value in self.inserts:
            return self._inserted(self.inserts[value], kind)
        pad = self.pads.get(value)
        if pad is None:
            return Output(value, zeros, zeros, None, kind, zeros)
        fill = scalar_constant(pad.regions[0].blocks[0].operations[-1].operands[0])
        if fill is None:
            raise PassError("only padding with a constant can be part of a kernel", pad)
        low = tuple(ir.DenseI64ArrayAttr(pad.attributes["static_low"]))
        high = tuple(ir.DenseI64ArrayAttr(pad.attributes["static_high"]))
        return Output(pad.operands[0], low, high, fill, kind, zeros)

    def _inserted(self, op: ir.Operation, kind: ir.RankedTensorType) -> Output:
        offsets = tuple(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))
        source, destination = op.operands[0], op.operands[1]
        if not is_plain_insertion(op):
            raise PassError("only an insertion at a constant place with unit strides can be part of a kernel", op)
        zeros = (0,) * kind.rank
        owner = destination.owner
        fresh = not isinstance(owner, ir.Block) and owner.operation.name == "tensor.empty"
        return Output(source, zeros, zeros, None, kind, offsets, None if fresh else destination)


def _summed(
    op: ir.Operation, inputs: list[Access | ir.Value | None], instruction: Instruction, loop: int
) -> list[Access | ir.Value | None]:
    """The operands of a dot product over `loop`, each read from its first element on."""
    loops = [affine.dim(i) for i in range(loop)] + [affine.constant(0)]
    found: list[Access | ir.Value | None] = []
    for item, argument in zip(inputs, op.regions[0].blocks[0].arguments, strict=False):
        if not isinstance(item, Access):
            raise PassError("a dot product reads two tensors", op)
        exprs = [affine.substitute(expr, loops, loop + 1) for expr in item.exprs]
        if affine.is_dim(item.exprs[-1], loop):
            # [..., lanes, width]: neighbours in one dimension.
            exprs = [*exprs[:-2], exprs[-2] * instruction.width]
        found.append(Access(item.view, tuple(exprs), instruction, dot.is_signed(argument)))
    return found


def scheduled_root(op: ir.Operation) -> ir.Operation | None:
    """The operation of a dispatch region that carries a schedule, if any."""
    for inner in op.regions[0].blocks[0].operations:
        if ATTRIBUTE in inner.operation.attributes:
            return inner.operation
    return None
