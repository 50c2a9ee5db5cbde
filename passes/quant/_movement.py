"""Operations that move numbers without computing: of dequantized values they move the codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.pads import Padding
from dlas_mlir.ir.quant import Dequantized, read_quantize
from dlas_mlir.ir.views import reassociation

Known = Mapping[ir.Value, Dequantized]


def _moved(value: Dequantized, codes: ir.Value, dims: tuple[int, ...] = ()) -> Dequantized:
    return Dequantized(codes, value.scale, value.zero, value.signed, dims)


def _shape(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)


def _reshaped(op: ir.Operation, codes: ir.Value, constants: Constants, build_it: Callable[[], ir.Value]) -> ir.Value:
    """Codes in the shape of the result; of constant ones a constant."""
    array = constants.read(codes)
    return build_it() if array is None else constant(array.reshape(_shape(op.results[0])), "codes")


def _expand(op: ir.Operation, known: Known, constants: Constants) -> Dequantized:
    value, groups = known[op.operands[0]], reassociation(op)
    shape = _shape(op.results[0])
    codes = _reshaped(op, value.codes, constants, lambda: build.expand(value.codes, groups, shape))
    return _moved(value, codes, tuple(dim for old in value.dims for dim in groups[old]))


def _collapse(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    value, groups = known[op.operands[0]], reassociation(op)
    shape = _shape(op.operands[0])
    dims = []
    for place, group in enumerate(groups):
        channel = [dim for dim in group if dim in value.dims]
        if channel and any(shape[dim] != 1 for dim in group if dim not in channel):
            return None
        dims += [place] if channel else []
    codes = _reshaped(op, value.codes, constants, lambda: build.collapse(value.codes, groups))
    return _moved(value, codes, tuple(dims))


def _transpose(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    value = known.get(op.operands[0])
    if value is None:
        return None
    permutation = list(ir.DenseI64ArrayAttr(op.attributes["permutation"]))
    array = constants.read(value.codes)
    codes = (
        build.transpose(value.codes, permutation)
        if array is None
        else constant(np.ascontiguousarray(array.transpose(permutation)), "codes")
    )
    return _moved(value, codes, tuple(permutation.index(dim) for dim in value.dims))


def _pad(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    value = known[op.operands[0]]
    padding = Padding.of(op)
    if not value.per_tensor or padding is None:
        return None
    number = padding.constant.value  # type: ignore[attr-defined]
    least, greatest = (-128, 127) if value.signed else (0, 255)
    if number == float("-inf") and all(_takes_least(user, value) for user in build.users(op.results[0])):
        code = least
    elif not (float(value.scale) > 0 and np.isfinite(number)):
        return None
    else:
        exact = number / float(value.scale) + int(value.zero)
        code = round(exact)
        if not least <= exact == code <= greatest:
            return None
    return _moved(value, build.pad(value.codes, padding.low, padding.high, _code(code)))


def _takes_least(user: ir.Operation, value: Dequantized) -> bool:
    """Whether the least code stands for minus infinity to `user`.

    Of a maximum every window holds an element of the image, and no code is below the least; and quantizing clamps.
    """
    if user.name == "linalg.pooling_nchw_max":
        return True
    quantization = read_quantize(user) if user.name == "linalg.generic" else None
    return quantization is not None and value.same_parameters(quantization)


def _code(value: int) -> ir.Value:
    """A constant i8; codes above 127 are written as the signed number with the same bits."""
    return arith.constant(ir.IntegerType.get_signless(8), (value + 128) % 256 - 128)


def _slice(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    value = known[op.operands[0]]
    strides = set(ir.DenseI64ArrayAttr(op.attributes["static_strides"]))
    if not value.per_tensor or len(op.operands) != 1 or strides != {1}:
        return None
    if len(_shape(op.results[0])) != len(_shape(op.operands[0])):
        return None
    offsets = list(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))
    return _moved(value, build.extract_slice(value.codes, offsets, _shape(op.results[0])))


def _concat(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    values = [known.get(operand) for operand in op.operands]
    first = values[0]
    if first is None or not all(value is not None and first.same_parameters(value) for value in values):
        return None
    codes = [value.codes for value in values if value is not None]
    return _moved(first, build.concat(codes, ir.IntegerAttr(op.attributes["dim"]).value))


def _max_pooling(op: ir.Operation, known: Known, constants: Constants) -> Dequantized | None:
    """Codes are in the order of the numbers they stand for."""
    value = known.get(op.operands[0])
    if value is None or not value.per_tensor:
        return None
    start = build.fill(_code(-128 if value.signed else 0), _shape(op.results[0]))
    greater = arith.maxsi if value.signed else arith.maxui
    return _moved(value, _window(op, value.codes, start, greater).results[0])


def pooled(op: ir.Operation) -> ir.Operation:
    """A named pooling of [N, C, H, W] as a linalg.generic, in its place."""
    combine = {"linalg.pooling_nchw_max": arith.maximumf, "linalg.pooling_nchw_sum": arith.addf}[op.name]
    new = _window(op, op.operands[0], op.operands[2], combine)
    op.results[0].replace_all_uses_with(new.results[0])
    return new


def _window(
    op: ir.Operation, source: ir.Value, start: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]
) -> ir.Operation:
    (sh, sw), (dh, dw) = (
        [int(x) for x in ir.DenseIntElementsAttr(op.attributes[name])] for name in ("strides", "dilations")
    )
    n, c, oh, ow, fh, fw = (affine.dim(i) for i in range(6))
    maps = [[n, c, oh * sh + fh * dh, ow * sw + fw * dw], [fh, fw], [n, c, oh, ow]]
    kinds = ["parallel"] * 4 + ["reduction"] * 2
    loops = ("n", "c", "oh", "ow", "r", "s")
    generic = build.generic([source, op.operands[1]], start, maps, kinds, lambda x, _, best: combine(best, x), loops)
    return generic.operation


MOVEMENTS: dict[str, Callable[[ir.Operation, Known, Constants], Dequantized | None]] = {
    "tensor.expand_shape": _expand,
    "tensor.collapse_shape": _collapse,
    "linalg.transpose": _transpose,
    "tensor.pad": _pad,
    "tensor.extract_slice": _slice,
    "tensor.concat": _concat,
    "linalg.pooling_nchw_max": _max_pooling,
}
