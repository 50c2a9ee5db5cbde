"""Quantize and dequantize, as importers of QDQ models leave them: element-wise linalg.generics.

quantize:   code = clamp(round_half_even(x / scale) + zero, low, high)
dequantize: x = (code - zero) * scale, with one scale and zero or one for each output channel
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.evaluate import is_elementwise
from dlas_mlir.ir.linalg import indexing_maps, scalar_constant


@dataclass(frozen=True)
class Quantization:
    """The parameters of one quantize operation; `low` and `high` are the least and the greatest code."""

    scale: float
    zero: int
    low: int
    high: int
    signed: bool


@dataclass(frozen=True)
class Dequantized:
    """A float value that is known to be (codes - zero) * scale. With several scales (`channels` of them), `dims` are
    the dimensions of the value that are the output channel, outermost first; else `dims` is empty."""

    codes: ir.Value
    scale: np.ndarray
    zero: np.ndarray
    signed: bool
    dims: tuple[int, ...] = ()

    @property
    def per_tensor(self) -> bool:
        return not self.dims

    def same_parameters(self, other: Dequantized | Quantization) -> bool:
        """Whether `other` has the codes of this one for the same numbers."""
        if not self.per_tensor or self.signed != other.signed:
            return False
        return bool(np.float32(other.scale) == np.float32(self.scale) and int(other.zero) == int(self.zero))


def _source(value: ir.Value, name: str) -> ir.Operation | None:
    op = build.defining(value)
    return op if op is not None and op.name == name else None


def _number(value: ir.Value) -> float | None:
    """A constant, also where it is rounded from float64."""
    rounded = _source(value, "arith.truncf")
    attr = scalar_constant(rounded.operands[0] if rounded is not None else value)
    return None if attr is None else attr.value  # type: ignore[attr-defined]


def _is_unary(op: ir.Operation) -> bool:
    if not is_elementwise(op) or len(op.operands) != 2:
        return False
    source, result = indexing_maps(op)
    return source == result and all(affine.is_dim(expr, i) for i, expr in enumerate(source.results))


def read_quantize(op: ir.Operation) -> Quantization | None:
    """The parameters of `op` if it quantizes its only input, f32, to 8 bits; what else there is stays as it is."""
    if not _is_unary(op) or [str(build.element_type(value)) for value in (op.operands[0], op.results[0])] != [
        "f32",
        "i8",
    ]:
        return None
    body = op.regions[0].blocks[0]
    value = body.operations[len(body.operations) - 1].operands[0]
    converted = _source(value, "arith.fptoui") or _source(value, "arith.fptosi")
    if converted is None:
        return None
    signed, value = converted.name == "arith.fptosi", converted.operands[0]
    numbers = []
    for name in ("arith.minimumf", "arith.maximumf", "arith.addf", "math.roundeven", "arith.divf"):
        step = _source(value, name)
        if step is None:
            return None
        if name != "math.roundeven":
            number = _number(step.operands[1])
            if number is None:
                return None
            numbers.append(number)
        value = step.operands[0]
    high, low, zero, scale = numbers
    if not (scale > 0 and np.isfinite(numbers).all()):
        return None  # no codes come of it: it stays as it is
    return Quantization(scale, int(zero), int(low), int(high), signed) if value == body.arguments[0] else None


def read_dequantize(op: ir.Operation, constants: Constants) -> Dequantized | None:
    """What `op` dequantizes to f32, with the parameters, if that is all it does."""
    if not is_elementwise(op) or str(build.element_type(op.results[0])) != "f32":
        return None
    body, maps = op.regions[0].blocks[0], indexing_maps(op)
    arguments = list(body.arguments)

    def parameter(value: ir.Value) -> tuple[np.ndarray, tuple[int, ...]] | None:
        """A scalar, or the constants that a block argument stands for, widened perhaps, and their dimension."""
        if (wide := _source(value, "arith.extsi") or _source(value, "arith.extui")) is not None:
            found = parameter(wide.operands[0])
            if found is None or wide.name == "arith.extsi":
                return found
            width = ir.IntegerType(wide.operands[0].type).width
            return found[0].astype(np.int64) % (1 << width), found[1]
        if value in arguments:
            place = arguments.index(value)
            array, exprs = constants.read(op.operands[place]), maps[place].results
            if array is None or len(exprs) != 1 or not affine.is_dim(exprs[0]):
                return None
            return array, (affine.dim_position(exprs[0]),)
        number = _number(value)
        return None if number is None else (np.asarray(number), ())

    scaled = _source(body.operations[len(body.operations) - 1].operands[0], "arith.mulf")
    scale = parameter(scaled.operands[1]) if scaled is not None else None
    if scaled is None or scale is None:
        return None
    converted = _source(scaled.operands[0], "arith.sitofp") or _source(scaled.operands[0], "arith.uitofp")
    if converted is None:
        return None
    value, zero = converted.operands[0], (np.asarray(0), ())
    shifted = _source(value, "arith.subi")
    if shifted is not None:
        found = parameter(shifted.operands[1])
        if found is None:
            return None
        value, zero = shifted.operands[0], found
    widened = _source(value, "arith.extsi") or _source(value, "arith.extui")
    signed = (widened or converted).name in ("arith.extsi", "arith.sitofp")
    code = widened.operands[0] if widened is not None else value
    if (
        not np.isfinite(scale[0]).all()
        or code != arguments[0]
        or maps[0] != maps[-1]
        or str(build.element_type(op.operands[0])) != "i8"
    ):
        return None
    return Dequantized(op.operands[0], scale[0], zero[0], signed, scale[1] or zero[1])


def dequantize(value: Dequantized) -> ir.Value:
    """Build the float value."""
    kind = ir.RankedTensorType(value.codes.type)
    identity = [affine.dim(i) for i in range(kind.rank)]
    f32 = ir.F32Type.get()
    inputs, maps = [value.codes], [identity]
    if not value.per_tensor:
        shape = [kind.shape[dim] for dim in value.dims]
        scales = np.broadcast_to(value.scale, int(np.prod(shape))).astype(np.float32).reshape(shape)
        zeros = np.broadcast_to(value.zero, int(np.prod(shape))).astype(np.float32).reshape(shape)
        channel = [affine.dim(dim) for dim in value.dims]
        inputs += [constant(scales, "scales"), constant(zeros, "zeros")]
        maps += [channel, channel]

    def body(code: ir.Value, *rest: ir.Value) -> ir.Value:
        if value.per_tensor:
            return number(value, code)
        exact = (arith.sitofp if value.signed else arith.uitofp)(f32, code)
        return arith.mulf(arith.subf(exact, rest[1]), rest[0])

    destination = build.empty(kind.shape, f32)
    return build.generic(inputs, destination, [*maps, identity], ["parallel"] * kind.rank, body).results[0]


def number(value: Dequantized, code: ir.Value) -> ir.Value:
    """The scalar (code - zero) * scale of a value with one scale."""
    f32 = ir.F32Type.get()
    result = (arith.sitofp if value.signed else arith.uitofp)(f32, code)
    if int(value.zero):
        result = arith.subf(result, build.scalar(f32, float(value.zero)))
    return arith.mulf(result, build.scalar(f32, float(np.float32(value.scale))))


def widen(codes: ir.Value, signed: bool) -> ir.Value:
    """Codes of 8 bits as i32."""
    kind = ir.RankedTensorType(codes.type)
    i32 = ir.IntegerType.get_signless(32)
    identity = [affine.dim(i) for i in range(kind.rank)]
    extend = arith.extsi if signed else arith.extui
    return build.generic(
        [codes],
        build.empty(kind.shape, i32),
        [identity, identity],
        ["parallel"] * kind.rank,
        lambda code, _: extend(i32, code),
    ).results[0]


def narrow(value: ir.Value) -> tuple[ir.Value, bool] | None:
    """The codes of 8 bits that `value` widens and whether they are signed; None for anything else."""
    op = build.defining(value)
    if (
        op is None
        or op.name != "linalg.generic"
        or not _is_unary(op)
        or str(build.element_type(op.operands[0])) != "i8"
    ):
        return None
    body = [inner.operation.name for inner in op.regions[0].blocks[0].operations]
    if body not in (["arith.extsi", "linalg.yield"], ["arith.extui", "linalg.yield"]):
        return None
    return op.operands[0], body[0] == "arith.extsi"
