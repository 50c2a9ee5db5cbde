"""What a kernel computes: the parts of a flow.dispatch.region, and what an operation must be to be one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from iree.compiler import ir

from dlas_mlir.codegen.dot import Rest
from dlas_mlir.codegen.dot_instructions import Instruction
from dlas_mlir.codegen.schedule import ATTRIBUTE
from dlas_mlir.ir.linalg import indexing_maps, iterators, loop_extents, out_loops, scalar_constant, shape_of
from dlas_mlir.opt.base import PassError

# The elements that vectors are computed of. Truth values are for iree-compile, which stores them as bytes.
ELEMENTS = frozenset({"f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64"})


@dataclass(frozen=True)
class View:
    """A captured tensor read at a constant offset in each dimension. Where that is beyond its ends, `outside` is
    read; None: it never is."""

    source: ir.Value
    offsets: tuple[int, ...]
    outside: ir.Attribute | None = None


@dataclass(frozen=True)
class Access:
    """How one operand of a stage is indexed: `exprs` are over the loops of the root. For an operand of a dot product
    they say where the first of a lane's elements is; `signed` is how those are extended, `rest` what is read beyond."""

    view: View
    exprs: tuple[ir.AffineExpr, ...]
    dot: Instruction | None = None
    signed: bool = False
    rest: Rest | None = None


# What a stage reads: a captured tensor, what an earlier stage has computed, or a scalar constant for all elements.
Operand: TypeAlias = Access | ir.Value | ir.Attribute


@dataclass(frozen=True)
class Stage:
    """A linalg.generic of the region. `inputs` holds an Operand for each block argument but the last, or None for one
    that is not used; `initial` is what the last one starts from; `dot` is the instruction that does the last loop."""

    op: ir.Operation
    inputs: tuple[Operand | None, ...]
    initial: Operand | None
    dot: Instruction | None = None

    @property
    def body(self) -> ir.Block:
        return self.op.regions[0].blocks[0]

    @property
    def result(self) -> ir.Value:
        return self.op.results[0]


@dataclass(frozen=True)
class Output:
    """One result of the region: the stage value it holds with its padding, and where that is inserted into `into` (None
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
    # What computes a tensor that the root reads: it has one result, that tensor.
    producer: Region | None = None

    @property
    def root(self) -> Stage:
        return self.stages[0]

    def operands(self) -> Iterator[Operand | None]:
        """What its stages read and start from, in order."""
        for stage in self.stages:
            yield from (*stage.inputs, stage.initial)

    @property
    def produced(self) -> ir.Value | None:
        """The tensor that the producer computes."""
        return self.producer.outputs[0].value if self.producer else None


def stage_refusal(op: ir.Operation) -> str | None:
    """Why a linalg.generic cannot be a stage of a kernel, or None."""
    if len(op.results) != 1:
        return "a linalg.generic with several results cannot be part of a kernel"
    if not all(isinstance(value.type, ir.RankedTensorType) for value in op.operands):
        return "a linalg.generic that reads something else than tensors cannot be part of a kernel"
    kinds = [ir.RankedTensorType(value.type) for value in op.operands]
    for kind in kinds:
        if not kind.has_static_shape:
            return f"dynamic shapes are not supported: {kind}"
        if 0 in kind.shape:
            return f"{kind} has no elements"
        if str(kind.element_type) not in ELEMENTS:
            return f"vectors of {kind.element_type} are not supported"
    return _result_refusal(op) or _body_refusal(op)


def _result_refusal(op: ir.Operation) -> str | None:
    map_ = indexing_maps(op)[-1]
    try:
        loops = out_loops(map_)
    except PassError as error:
        return error.message
    used = [loop for loop in loops if loop is not None]
    if not used:
        return "a result of one element without a loop cannot be part of a kernel"
    if len(set(used)) != len(used):
        return f"a result indexed by {map_} cannot be part of a kernel"
    if any(loop is None and size != 1 for loop, size in zip(loops, shape_of(op.results[0]), strict=True)):
        return "a result of which a part is not written cannot be part of a kernel"
    extents = loop_extents(op)
    if any(extents[i] > 1 for i, kind in enumerate(iterators(op)) if kind == "parallel" and i not in used):
        return "a parallel loop that writes the same elements again cannot be part of a kernel"
    return None


def _body_refusal(op: ir.Operation) -> str | None:
    own = set(op.regions[0].blocks[0].arguments)
    for inner in op.regions[0].blocks[0].operations:
        inner = inner.operation
        if any(value not in own and scalar_constant(value) is None for value in inner.operands):
            return "a kernel's body may only use its arguments and constants"
        if inner.name == "linalg.yield":
            continue
        if inner.regions or len(inner.results) != 1 or inner.name.split(".")[0] not in ("arith", "math"):
            return f"'{inner.name}' in a body cannot be vectorised"
        own.add(inner.results[0])
    return None


def scheduled_root(op: ir.Operation) -> ir.Operation | None:
    """The operation of a dispatch region that carries a schedule, if any."""
    for inner in op.regions[0].blocks[0].operations:
        if ATTRIBUTE in inner.operation.attributes:
            return inner.operation
    return None
