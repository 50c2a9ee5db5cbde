"""Dot-product instructions: several neighbouring narrow elements of two vectors multiplied and summed into each lane.

A linalg.generic is done by one of them when it carries `dlas.dot`, the instruction's name: its last loop is then a
reduction over the `width` elements that are summed, which are neighbours in the last dimension of both operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build
from dlas_mlir.codegen.dot_instructions import INSTRUCTIONS, Instruction
from dlas_mlir.ir import affine, attributes
from dlas_mlir.ir.strides import Span, offsets
from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.dot"
# How many elements of the data are read by the last step of the summed loop and not its own, if they may be infinite.
FILLER = "dlas.dot_filler"


def instruction_of(op: ir.Operation) -> Instruction | None:
    """The instruction that `op` is to be done with, if any. Raises PassError for a name that there is not."""
    if ATTRIBUTE not in op.attributes:
        return None
    name = attributes.text(op, ATTRIBUTE)
    if name not in INSTRUCTIONS:
        raise PassError(f"`{ATTRIBUTE}`: there is no '{name}'; there are {', '.join(INSTRUCTIONS)}", op)
    return INSTRUCTIONS[name]


@dataclass(frozen=True)
class Rest:
    """In its last step, number `last`, a loop reads but `real` elements of a group that are its own."""

    loop: int
    last: int
    real: int


def rest_of(op: ir.Operation, instruction: Instruction, extents: Sequence[int]) -> Rest | None:
    """What the last step of the summed loop reads of the data. Raises PassError for an attribute that does not fit."""
    if FILLER not in op.attributes:
        return None
    filler = attributes.integer(op, FILLER)
    weights = ir.AffineMapAttr(ir.ArrayAttr(op.attributes["indexing_maps"])[1]).value.results
    if not 0 < filler < instruction.width or len(weights) < 3 or not affine.is_dim(weights[-3]):
        raise PassError(f"`{FILLER}` is between 0 and {instruction.width}, and for weights [..., c, k, cc]", op)
    loop = affine.dim_position(weights[-3])
    return Rest(loop, extents[loop] - 1, instruction.width - filler)


def check(op: ir.Operation, instruction: Instruction, extents: Sequence[int]) -> None:
    """Raise PassError unless the last loop of `op` sums what `instruction` does, neighbours of both operands."""
    loop, width = len(extents) - 1, instruction.width
    body = [inner.operation.name for inner in op.regions[0].blocks[0].operations]
    float_body = ["arith.extf", "arith.extf", "arith.mulf", "arith.addf", "linalg.yield"]
    body = ["arith.exti" if name in ("arith.extsi", "arith.extui") else name for name in body]
    integer_body = ["arith.exti", "arith.exti", "arith.muli", "arith.addi", "linalg.yield"]
    kinds = [str(ir.RankedTensorType(value.type).element_type) for value in op.operands]
    fitting = {"bf16"} if instruction.floating else {f"i{bits}" for bits in (8, 16) if bits <= instruction.operand}
    accumulator = "f32" if instruction.floating else "i32"
    if body != (float_body if instruction.floating else integer_body) or len(kinds) != 3:
        raise PassError(f"`{ATTRIBUTE}` is for the sum of products of two tensors", op)
    if not {*kinds[:2]} <= fitting or kinds[2] != accumulator:
        raise PassError(f"`{ATTRIBUTE}`: the instruction is not for sums of {' x '.join(kinds[:2])} in {kinds[2]}", op)
    maps = [ir.AffineMapAttr(attr).value for attr in ir.ArrayAttr(op.attributes["indexing_maps"])]
    spans = [*map(Span.of, extents[:-1]), Span(0, 0)]
    for operand, map_ in zip(op.operands[:2], maps[:2], strict=True):
        *outer, last = (offsets(expr, loop, extents[loop], spans) for expr in map_.results)
        whole = last == tuple(range(width)) and all(found == (0,) * width for found in outer)
        alone = affine.is_dim(map_.results[-1], loop)
        if not whole or (alone and (len(outer) < 1 or ir.RankedTensorType(operand.type).shape[-1] != width)):
            raise PassError(f"`{ATTRIBUTE}`: the last loop is not over {width} neighbours of both operands", op)


def emit(instruction: Instruction, vectors: Sequence[ir.Value | None], accumulator: ir.Value) -> ir.Value:
    """accumulator + data . weights, the two `vectors`, which hold a lane's elements as one integer. Raises PassError
    for lanes that the instruction does not have."""
    lanes = ir.VectorType(accumulator.type).shape[0]
    if 32 * lanes not in instruction.intrinsics:
        raise PassError(f"no dot-product instruction for {lanes} lanes")
    operands = [_as_elements(instruction, vector) for vector in vectors if vector is not None]
    operands = [accumulator, *operands] if instruction.accumulates else operands
    result = ir.Operation.create(
        "llvm.call_intrinsic",
        results=[accumulator.type],
        operands=operands,
        attributes={
            "intrin": ir.StringAttr.get(instruction.intrinsics[32 * lanes]),
            "op_bundle_sizes": ir.DenseI32ArrayAttr.get([]),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(operands), 0]),
        },
    ).result
    return result if instruction.accumulates else arith.addi(accumulator, result)


def _as_elements(instruction: Instruction, value: ir.Value) -> ir.Value:
    lanes = ir.VectorType(value.type).shape[0]
    element = ir.BF16Type.get() if instruction.floating else ir.IntegerType.get_signless(instruction.operand)
    return build.bitcast(value, ir.VectorType.get([lanes * instruction.width], element))


def as_lanes(instruction: Instruction, vector: ir.Value, signed: bool) -> ir.Value:
    """A vector of narrow elements, `width` for each lane, as one integer for each lane."""
    kind = ir.VectorType(vector.type)
    count = kind.shape[0]
    if not instruction.floating and kind.element_type.width < instruction.operand:
        wide = ir.VectorType.get([count], ir.IntegerType.get_signless(instruction.operand))
        vector = (arith.extsi if signed else arith.extui)(wide, vector)
    lane = ir.IntegerType.get_signless(instruction.width * instruction.operand)
    return build.bitcast(vector, ir.VectorType.get([count // instruction.width], lane))


def without_filler(instruction: Instruction, lanes: ir.Value, real: int, is_last: ir.Value | None) -> ir.Value:
    """`lanes` with zeros in all but the first `real` elements of each; only where `is_last`, if that is not known."""
    kind = ir.VectorType(lanes.type)
    bits = ir.IntegerAttr.get(kind.element_type, (1 << (real * instruction.operand)) - 1)
    kept = build.splat(bits, kind.shape[0])
    if is_last is not None:
        everything = build.splat(ir.IntegerAttr.get(kind.element_type, -1), kind.shape[0])
        kept = arith.select(is_last, kept, everything)
    return arith.andi(lanes, kept)


def is_signed(argument: ir.Value) -> bool:
    """Whether the body that `argument` belongs to sign-extends it."""
    return any(use.owner.operation.name == "arith.extsi" for use in argument.uses)
