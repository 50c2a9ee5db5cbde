"""Tensors that are other forms of one: slices, transposes and reshapes, and where in their origin an element is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from iree.compiler import ir

from dlas_mlir.ir import affine, build

Exprs = list[ir.AffineExpr]
# Where `tensor.extract_slice` has an operand for a number.
_DYNAMIC = ir.ShapedType.get_dynamic_stride_or_offset()


def behind_slices(value: ir.Value, indices: Sequence[ir.Value]) -> tuple[ir.Value, Exprs, list[ir.Value]]:
    """What `value` is a slice of, be it a slice of a slice, transposed or reshaped in between, and where in it the
    element of `value` at `indices` is: expressions over the index values that come last. `value` itself where it is no
    slice of another."""
    values = list(indices)
    found = source = value
    places = exprs = [affine.dim(i) for i in range(len(values))]
    while (op := build.defining(source)) is not None and (move := _MOVES.get(op.name)) is not None:
        moved = move(op, exprs, values)
        if moved is None:
            break
        source, exprs = op.operands[0], moved
        if op.name == "tensor.extract_slice":
            found, places = source, exprs
    return found, places, values


def reassociation(op: ir.Operation) -> list[list[int]]:
    """The dimensions of the longer shape that are one in the other, of a tensor.expand_shape or collapse_shape."""
    groups = ir.ArrayAttr(op.attributes["reassociation"])
    return [[ir.IntegerAttr(dim).value for dim in ir.ArrayAttr(group)] for group in groups]


def _shape(value: ir.Value) -> list[int]:
    return ir.RankedTensorType(value.type).shape


def _in_sliced(op: ir.Operation, exprs: Exprs, values: list[ir.Value]) -> Exprs | None:
    """Offsets that are computed are added to `values`."""
    offsets, sizes, strides = (
        list(ir.DenseI64ArrayAttr(op.attributes[name])) for name in ("static_offsets", "static_sizes", "static_strides")
    )
    if _DYNAMIC in strides:
        return None
    computed = iter(list(op.operands)[1:])
    # Which dimensions of one element the result has does not matter: the place in them is 0.
    varying = iter(expr for expr, size in zip(exprs, _shape(op.results[0]), strict=True) if size != 1)
    places = []
    for offset, size, stride in zip(offsets, sizes, strides, strict=True):
        start = affine.constant(offset)
        if offset == _DYNAMIC:
            start = affine.dim(len(values))
            values.append(next(computed))
        places.append(start if size == 1 else next(varying) * stride + start)
    return places


def _in_transposed(op: ir.Operation, exprs: Exprs, _: list[ir.Value]) -> Exprs:
    places = [affine.constant(0)] * len(exprs)
    for expr, dim in zip(exprs, ir.DenseI64ArrayAttr(op.attributes["permutation"]), strict=True):
        places[dim] = expr
    return places


def _in_collapsed(op: ir.Operation, exprs: Exprs, _: list[ir.Value]) -> Exprs | None:
    if not build.is_static(op):
        return None
    shape = _shape(op.operands[0])
    places = [affine.constant(0)] * len(shape)
    for expr, group in zip(exprs, reassociation(op), strict=True):
        varying = [dim for dim in group if shape[dim] != 1]
        for i, dim in enumerate(varying):
            step = prod(shape[other] for other in varying[i + 1 :])
            place = expr if step == 1 else ir.AffineExpr.get_floor_div(expr, affine.constant(step))
            places[dim] = place if i == 0 else ir.AffineExpr.get_mod(place, affine.constant(shape[dim]))
    return places


def _in_expanded(op: ir.Operation, exprs: Exprs, _: list[ir.Value]) -> Exprs | None:
    if not build.is_static(op):
        return None
    shape = _shape(op.results[0])
    places = []
    for group in reassociation(op):
        place = affine.constant(0)
        for dim in group:
            place = place * shape[dim] + exprs[dim] if shape[dim] != 1 else place
        places.append(place)
    return places


_MOVES: dict[str, Callable[[ir.Operation, Exprs, list[ir.Value]], Exprs | None]] = {
    "tensor.extract_slice": _in_sliced,
    "linalg.transpose": _in_transposed,
    "tensor.collapse_shape": _in_collapsed,
    "tensor.expand_shape": _in_expanded,
}
