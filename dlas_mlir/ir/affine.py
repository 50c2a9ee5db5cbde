"""Affine expressions in Python: evaluate them, substitute loops, and look at what they depend on."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir

_OPERATORS = {
    ir.AffineAddExpr: lambda a, b: a + b,
    ir.AffineMulExpr: lambda a, b: a * b,
    ir.AffineModExpr: lambda a, b: a % b,
    ir.AffineFloorDivExpr: lambda a, b: a // b,
    ir.AffineCeilDivExpr: lambda a, b: -(-a // b),
}


def _typed(expr: ir.AffineExpr) -> ir.AffineExpr:
    # Always: what get_add returns of d0 + 0 calls itself a sum, and is d0.
    return expr.maybe_downcast()


def evaluate(expr: ir.AffineExpr, loops: Sequence[int]) -> int:
    """The value of `expr` where dimension i has the value `loops[i]`."""
    expr = _typed(expr)
    if isinstance(expr, ir.AffineDimExpr):
        return loops[expr.position]
    if isinstance(expr, ir.AffineConstantExpr):
        return expr.value
    for kind, operator in _OPERATORS.items():
        if isinstance(expr, kind):
            binary = ir.AffineBinaryExpr(expr)
            return operator(evaluate(binary.lhs, loops), evaluate(binary.rhs, loops))
    raise ValueError(f"not an affine expression of loops: {expr}")


def dims_of(expr: ir.AffineExpr) -> set[int]:
    """The positions of the dimensions that `expr` reads."""
    expr = _typed(expr)
    if isinstance(expr, ir.AffineDimExpr):
        return {expr.position}
    if isinstance(expr, ir.AffineConstantExpr):
        return set()
    binary = ir.AffineBinaryExpr(expr)
    return dims_of(binary.lhs) | dims_of(binary.rhs)


def is_dim(expr: ir.AffineExpr, position: int | None = None) -> bool:
    """Whether `expr` is one dimension and nothing else (that at `position`, if given)."""
    expr = _typed(expr)
    return isinstance(expr, ir.AffineDimExpr) and position in (None, expr.position)


def dim_position(expr: ir.AffineExpr) -> int:
    """The position of `expr`, which must be a plain dimension."""
    expr = _typed(expr)
    if not isinstance(expr, ir.AffineDimExpr):
        raise ValueError(f"{expr} is not a plain dimension")
    return expr.position


def constant(value: int) -> ir.AffineExpr:
    """A constant affine expression."""
    return ir.AffineExpr.get_constant(value)


def dim(position: int) -> ir.AffineExpr:
    """The dimension at `position`."""
    return ir.AffineExpr.get_dim(position)


def substitute(expr: ir.AffineExpr, values: Sequence[ir.AffineExpr], dims: int) -> ir.AffineExpr:
    """`expr` with dimension i replaced by `values[i]`, which are expressions over `dims` dimensions."""
    return ir.AffineExpr.simplify_affine_expr(expr.compose(ir.AffineMap.get(dims, 0, list(values))), dims, 0)
