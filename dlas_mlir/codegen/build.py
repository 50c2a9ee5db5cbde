"""Small builders for the operations a kernel is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree.compiler import ir
from iree.compiler.dialects import affine as affine_dialect
from iree.compiler.dialects import arith, memref, scf, vector
from iree.compiler.dialects import tensor as tensor_dialect

from dlas_mlir.ir import affine


def index(value: int) -> ir.Value:
    """An index constant."""
    return arith.constant(ir.IndexType.get(), value)


def index_of(value: ir.Value, signed: bool) -> ir.Value:
    """An integer as an index value."""
    return (arith.index_cast if signed else arith.index_castui)(ir.IndexType.get(), value)


def splat(attr: ir.Attribute, lanes: int) -> ir.Value:
    """A vector<lanes> constant with the scalar `attr` in each lane."""
    kind = ir.VectorType.get([lanes], attr.type)
    return arith.constant(kind, ir.DenseElementsAttr.get_splat(kind, attr))


def zero(kind: ir.Type) -> ir.Attribute:
    """The zero of an element type."""
    if isinstance(kind, ir.IntegerType | ir.IndexType):
        return ir.IntegerAttr.get(kind, 0)
    return ir.FloatAttr.get(kind, 0.0)


# Index arithmetic.


def apply(expr: ir.AffineExpr, operands: Sequence[ir.Value]) -> ir.Value:
    """`expr` (over the dimensions of `operands`) as an index value."""
    map_ = ir.AffineMap.get(len(operands), 0, [expr])
    return affine_dialect.apply(map_, operands, results=[ir.IndexType.get()])


def minimum(exprs: Sequence[ir.AffineExpr], operands: Sequence[ir.Value]) -> ir.Value:
    """The least of `exprs` (over the dimensions of `operands`) as an index value."""
    map_ = ir.AffineMap.get(len(operands), 0, list(exprs))
    return affine_dialect.min(map_, operands, results=[ir.IndexType.get()])


def maximum(exprs: Sequence[ir.AffineExpr], operands: Sequence[ir.Value]) -> ir.Value:
    """The greatest of `exprs` (over the dimensions of `operands`) as an index value."""
    map_ = ir.AffineMap.get(len(operands), 0, list(exprs))
    return affine_dialect.max(map_, operands, results=[ir.IndexType.get()])


def plus(value: ir.Value, distance: int) -> ir.Value:
    """An index value plus a constant."""
    return apply(affine.dim(0) + affine.constant(distance), [value])


def added(value: ir.Value, other: ir.Value) -> ir.Value:
    """The sum of two index values."""
    return apply(affine.dim(0) + affine.dim(1), [value, other])


# Tensors.


def empty(shape: Sequence[int], element: ir.Type) -> ir.Value:
    """A tensor of which nothing is known."""
    return tensor_dialect.empty(list(shape), element)


def extract(source: ir.Value, indices: Sequence[ir.Value]) -> ir.Value:
    """One element of a tensor."""
    return tensor_dialect.extract(source, indices, results=[ir.RankedTensorType(source.type).element_type])


def insert(scalar: ir.Value, target: ir.Value, indices: Sequence[ir.Value]) -> ir.Value:
    """`target` with one element written."""
    return tensor_dialect.insert(scalar, target, indices, results=[target.type])


def prefetch(buffer: ir.Value, indices: Sequence[ir.Value]) -> None:
    """Ask for the cache line of one element of a buffer, into the second-level cache."""
    memref.prefetch(buffer, indices, is_write=False, locality_hint=2, is_data_cache=True)


# Vectors.


def read_vector(source: ir.Value, indices: Sequence[ir.Value], lanes: int) -> ir.Value:
    """`lanes` contiguous elements of the last dimension."""
    element = ir.RankedTensorType(source.type).element_type
    kind = ir.VectorType.get([lanes], element)
    filler = arith.constant(element, zero(element))
    return vector.transfer_read(kind, source, indices, _minor(len(indices)), filler, _in_bounds())


def write_vector(value: ir.Value, target: ir.Value, indices: Sequence[ir.Value]) -> ir.Value:
    """`target` with the vector `value` written along its last dimension."""
    return vector.transfer_write(target.type, value, target, indices, _minor(len(indices)), _in_bounds())


def _minor(rank: int) -> ir.Attribute:
    return ir.AffineMapAttr.get(ir.AffineMap.get(rank, 0, [affine.dim(rank - 1)]))


def _in_bounds() -> ir.Attribute:
    return ir.ArrayAttr.get([ir.BoolAttr.get(True)])


def broadcast(scalar: ir.Value, lanes: int) -> ir.Value:
    """A vector with `scalar` in each lane."""
    return vector.broadcast(ir.VectorType.get([lanes], scalar.type), scalar)


def from_scalars(scalars: Sequence[ir.Value]) -> ir.Value:
    """A vector of scalars."""
    return vector.from_elements(ir.VectorType.get([len(scalars)], scalars[0].type), scalars)


def lane(value: ir.Value, place: int) -> ir.Value:
    """One lane of a vector."""
    return vector.extract(value, [], [place], results=[ir.VectorType(value.type).element_type])


def shuffle(first: ir.Value, second: ir.Value, mask: Sequence[int]) -> ir.Value:
    """The lanes of two vectors, one behind the other, that `mask` names."""
    kind = ir.VectorType.get([len(mask)], ir.VectorType(first.type).element_type)
    return vector.shuffle(first, second, list(mask), results=[kind])


def bitcast(value: ir.Value, kind: ir.Type) -> ir.Value:
    """The vector `value` as a `kind`, bit by bit; itself where it is one."""
    return value if value.type == kind else vector.bitcast(kind, value)


def fma(a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, rounded once."""
    return vector.fma(a, b, c, results=[c.type])


# Loops.


def for_loop(
    extent: int,
    step: int,
    carried: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """An scf.for from 0 to `extent` that carries values. `body` gets the induction variable and what is carried."""
    return for_range(index(0), index(extent), index(step), carried, body)


def for_range(
    low: ir.Value,
    high: ir.Value,
    step: ir.Value,
    carried: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """The same between index values."""
    loop = scf.ForOp(low, high, step, carried)
    with ir.InsertionPoint(loop.body):
        scf.YieldOp(body(loop.induction_variable, list(loop.inner_iter_args)))
    return list(loop.results)
