"""Rows and columns of an input that a linalg operation does not read."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import linalg

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.linalg import shape_of


def trim_inputs(op: ir.Operation) -> None:
    """Give the linalg operation `op` no more of its inputs than it reads where a window has but one place. The window's
    loop is then all that reads a dimension, and iree-compile wants that to be as long."""
    maps = linalg.get_indexing_maps(op)  # pyright: ignore[reportAttributeAccessIssue]  (native)
    if maps is None or not build.is_static(op) or any(value.type.encoding for value in _tensors(op)):
        return
    exprs = [list(ir.AffineMapAttr(map_).value.results) for map_ in maps]
    if len(exprs) != len(op.operands) or any(ir.AffineMapAttr(map_).value.n_symbols for map_ in maps):
        return
    extents = _extents(op, exprs)
    for place in range(len(op.operands) - len(op.results)):
        value = op.operands[place]
        if isinstance(value.type, ir.RankedTensorType):
            shape = shape_of(value)
            sizes = [_read(expr, extents, size) for expr, size in zip(exprs[place], shape, strict=True)]
            if sizes != shape:
                with ir.InsertionPoint(op), op.location:
                    op.operands[place] = build.extract_slice(value, [0] * len(shape), sizes)


def _tensors(op: ir.Operation) -> list[ir.Value]:
    return [value for value in op.operands if isinstance(value.type, ir.RankedTensorType)]


def _extents(op: ir.Operation, maps: list[list[ir.AffineExpr]]) -> dict[int, int]:
    """The extents of the loops that index an operand plainly."""
    extents: dict[int, int] = {}
    for operand, exprs in zip(op.operands, maps, strict=True):
        for expr, size in zip(exprs, shape_of(operand) if exprs else [], strict=True):
            if affine.is_dim(expr):
                extents[affine.dim_position(expr)] = size
    return extents


def _read(expr: ir.AffineExpr, extents: dict[int, int], size: int) -> int:
    """How many of the `size` elements of a dimension `expr` reads, where without the loops of one iteration it is a
    single loop; else all."""
    dims = affine.dims_of(expr)
    if affine.is_dim(expr) or not dims <= set(extents):
        return size
    count = max(dims, default=0) + 1
    loops = [affine.constant(0) if extents.get(i, 0) == 1 else affine.dim(i) for i in range(count)]
    left = ir.AffineExpr.simplify_affine_expr(affine.substitute(expr, loops, count), count, 0)
    return min(size, extents[affine.dim_position(left)]) if affine.is_dim(left) else size
