"""Small builders for the operations a kernel is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith, scf

from dlas_mlir.ir import affine


def index(value: int) -> ir.Value:
    """An index constant."""
    return arith.constant(ir.IndexType.get(), value)


def splat(attr: ir.Attribute, lanes: int) -> ir.Value:
    """A vector<lanes> constant with the scalar `attr` in each lane."""
    kind = ir.VectorType.get([lanes], attr.type)
    return arith.constant(kind, ir.DenseElementsAttr.get_splat(kind, attr))


def apply(expr: ir.AffineExpr, operands: Sequence[ir.Value], name: str = "affine.apply") -> ir.Value:
    """`expr` (over the dimensions of `operands`) as an index value."""
    return affine_op(name, [expr], operands)


def affine_op(name: str, exprs: Sequence[ir.AffineExpr], operands: Sequence[ir.Value]) -> ir.Value:
    """affine.apply or affine.min of `exprs`."""
    map_ = ir.AffineMap.get(len(operands), 0, list(exprs))
    return ir.Operation.create(
        name,
        results=[ir.IndexType.get()],
        operands=list(operands),
        attributes={"map": ir.AffineMapAttr.get(map_)},
    ).result


def read_vector(source: ir.Value, indices: Sequence[ir.Value], lanes: int) -> ir.Value:
    """`lanes` contiguous elements of the last dimension."""
    element = ir.RankedTensorType(source.type).element_type
    return ir.Operation.create(
        "vector.transfer_read",
        results=[ir.VectorType.get([lanes], element)],
        operands=[source, *indices, arith.constant(element, zero(element))],
        attributes={
            "permutation_map": _minor(len(indices)),
            "in_bounds": ir.ArrayAttr.get([ir.BoolAttr.get(True)]),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, len(indices), 1, 0]),
        },
    ).result


def write_vector(vector: ir.Value, target: ir.Value, indices: Sequence[ir.Value]) -> ir.Value:
    """`target` with `vector` written along its last dimension."""
    return ir.Operation.create(
        "vector.transfer_write",
        results=[target.type],
        operands=[vector, target, *indices],
        attributes={
            "permutation_map": _minor(len(indices)),
            "in_bounds": ir.ArrayAttr.get([ir.BoolAttr.get(True)]),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1, len(indices), 0]),
        },
    ).result


def _minor(rank: int) -> ir.Attribute:
    return ir.AffineMapAttr.get(ir.AffineMap.get(rank, 0, [affine.dim(rank - 1)]))


def zero(kind: ir.Type) -> ir.Attribute:
    """The zero of an element type."""
    if isinstance(kind, ir.IntegerType | ir.IndexType):
        return ir.IntegerAttr.get(kind, 0)
    return ir.FloatAttr.get(kind, 0.0)


def for_loop(
    extent: int,
    step: int,
    carried: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """An scf.for from 0 to `extent` that carries values. `body` gets the induction variable and what is carried."""
    loop = scf.ForOp(index(0), index(extent), index(step), carried)
    with ir.InsertionPoint(loop.body):
        scf.YieldOp(body(loop.induction_variable, list(loop.inner_iter_args)))
    return list(loop.results)
