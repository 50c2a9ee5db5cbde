"""Tensors that are other forms of one: slices, transposes and reshapes, and where in their origin an element is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from iree.compiler import ir

from dlas_mlir.ir import affine, build

Exprs = Sequence[ir.AffineExpr]


def behind_slices(value: ir.Value, exprs: Exprs) -> tuple[ir.Value, list[ir.AffineExpr]]:
    """What `value` is a slice of, be it a slice of a slice, transposed or reshaped in between, and where in it the
    element of `value` at `exprs` is. `value` itself where it is no slice of another."""
    found, places = value, list(exprs)
    source, exprs = value, places
    while (op := build.defining(source)) is not None and (move := _MOVES.get(op.name)) is not None:
        moved = move(op, exprs) if build.is_static(op) else None
        if moved is None:
            break
        source, exprs = op.operands[0], moved
        if op.name == "tensor.extract_slice":
            found, places = source, exprs
    return found, places


def reassociation(op: ir.Operation) -> list[list[int]]:
    """The dimensions of the longer shape that are one in the other, of a tensor.expand_shape or collapse_shape."""
    groups = ir.ArrayAttr(op.attributes["reassociation"])
    return [[ir.IntegerAttr(dim).value for dim in ir.ArrayAttr(group)] for group in groups]


def _shape(value: ir.Value) -> list[int]:
    return ir.RankedTensorType(value.type).shape


def _in_sliced(op: ir.Operation, exprs: Exprs) -> list[ir.AffineExpr] | None:
    if len(op.operands) != 1:
        return None
    offsets, sizes, strides = (
        list(ir.DenseI64ArrayAttr(op.attributes[name])) for name in ("static_offsets", "static_sizes", "static_strides")
    )
    # Which dimensions of one element the result has does not matter: the place in them is 0.
    varying = iter(expr for expr, size in zip(exprs, _shape(op.results[0]), strict=True) if size != 1)
    return [
        affine.constant(offset) if size == 1 else next(varying) * stride + affine.constant(offset)
        for offset, size, stride in zip(offsets, sizes, strides, strict=True)
    ]


def _in_transposed(op: ir.Operation, exprs: Exprs) -> list[ir.AffineExpr]:
    places = [affine.constant(0)] * len(exprs)
    for expr, dim in zip(exprs, ir.DenseI64ArrayAttr(op.attributes["permutation"]), strict=True):
        places[dim] = expr
    return places


def _in_collapsed(op: ir.Operation, exprs: Exprs) -> list[ir.AffineExpr]:
    shape = _shape(op.operands[0])
    places = [affine.constant(0)] * len(shape)
    for expr, group in zip(exprs, reassociation(op), strict=True):
        varying = [dim for dim in group if shape[dim] != 1]
        for i, dim in enumerate(varying):
            step = prod(shape[other] for other in varying[i + 1 :])
            place = expr if step == 1 else ir.AffineExpr.get_floor_div(expr, affine.constant(step))
            places[dim] = place if i == 0 else ir.AffineExpr.get_mod(place, affine.constant(shape[dim]))
    return places


def _in_expanded(op: ir.Operation, exprs: Exprs) -> list[ir.AffineExpr]:
    shape = _shape(op.results[0])
    places = []
    for group in reassociation(op):
        place = affine.constant(0)
        for dim in group:
            place = place * shape[dim] + exprs[dim] if shape[dim] != 1 else place
        places.append(place)
    return places


_MOVES: dict[str, Callable[[ir.Operation, Exprs], list[ir.AffineExpr] | None]] = {
    "tensor.extract_slice": _in_sliced,
    "linalg.transpose": _in_transposed,
    "tensor.collapse_shape": _in_collapsed,
    "tensor.expand_shape": _in_expanded,
}
