"""Scalar bodies of linalg operations, executed on numpy arrays: the evaluator behind constant folding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from iree.compiler import ir

from dlas_mlir.ir import affine
from dlas_mlir.ir.constants import dtype_of
from dlas_mlir.ir.linalg import indexing_maps, iterators, loop_extents, scalar_constant

_ERF = np.vectorize(__import__("math").erf, otypes=[np.float64])
_FUNCTIONS: dict[str, Callable] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.negf": np.negative,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum,
    "arith.maxui": lambda a, b: np.maximum(_unsigned(a), _unsigned(b)).astype(a.dtype),
    "arith.minui": lambda a, b: np.minimum(_unsigned(a), _unsigned(b)).astype(a.dtype),
    "arith.select": np.where,
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "math.sqrt": np.sqrt,
    "math.rsqrt": lambda x: (1 / np.sqrt(x)).astype(x.dtype),
    "math.exp": np.exp,
    "math.tanh": np.tanh,
    "math.absf": np.abs,
    "math.floor": np.floor,
    "math.roundeven": np.rint,
    "math.ceil": np.ceil,
    "math.log": np.log,
    "math.erf": lambda x: _ERF(x).astype(x.dtype),
    "math.fma": lambda a, b, c: a * b + c,
}
# Of truth values, which have one bit: sums wrap around.
_FUNCTIONS_OF_BITS: dict[str, Callable] = {
    "arith.addi": np.logical_xor,
    "arith.subi": np.logical_xor,
    "arith.muli": np.logical_and,
    "arith.maxui": np.logical_or,
    "arith.minui": np.logical_and,
    # The true one is -1.
    "arith.maxsi": np.logical_and,
    "arith.minsi": np.logical_or,
}
_CONVERSIONS = {"arith.truncf", "arith.extf", "arith.fptosi", "arith.index_cast"}
_SIGNED_CONVERSIONS = {"arith.sitofp", "arith.extsi"}
_UNSIGNED_CONVERSIONS = {"arith.uitofp", "arith.extui"}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
}
# arith.cmpf predicates by number: ordered comparisons are false, unordered ones true, where an operand is NaN.
_CMPF = [
    "false",
    "oeq",
    "ogt",
    "oge",
    "olt",
    "ole",
    "one",
    "ord",
    "ueq",
    "ugt",
    "uge",
    "ult",
    "ule",
    "une",
    "uno",
    "true",
]


# arith.cmpi predicates by number: signed ones before unsigned ones.
_CMPI = ["eq", "ne", "lt", "le", "gt", "ge", "lt", "le", "gt", "ge"]
_FIRST_UNSIGNED = 6


def _unsigned(array: np.ndarray) -> np.ndarray:
    """Signless integers as unsigned ones."""
    return array if array.dtype == np.bool_ else array.view(f"u{array.dtype.itemsize}")


def _signed(array: np.ndarray) -> np.ndarray:
    """Signless integers as signed ones."""
    return -array.astype(np.int8) if array.dtype == np.bool_ else array


class CannotEvaluate(Exception):
    """The body has an operation that the evaluator does not know, or an assertion that fails."""


def evaluate_body(
    block: ir.Block, arguments: Sequence[np.ndarray | None], extents: Sequence[int] | None = None
) -> np.ndarray:
    """What `block` yields for arrays of one broadcastable shape, of one dimension for each loop where their `extents`
    are given. Raises CannotEvaluate."""
    end = list(block.operations)[-1].operation
    if end.name != "linalg.yield":
        raise CannotEvaluate("no linalg.yield")
    return evaluate_values(block, arguments, [end.operands[0]], extents)[0]


def evaluate_values(
    block: ir.Block,
    arguments: Sequence[np.ndarray | None],
    wanted: Sequence[ir.Value],
    extents: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """What `wanted` values of `block` are, of which all that they depend on is known. Raises CannotEvaluate."""
    values: dict[ir.Value, np.ndarray] = {
        argument: array for argument, array in zip(block.arguments, arguments, strict=True) if array is not None
    }

    def operand(value: ir.Value) -> np.ndarray:
        if value in values:
            return values[value]
        attr = scalar_constant(value)
        if attr is None:
            raise CannotEvaluate(f"{value} is neither an argument nor a constant")
        return np.asarray(attr.value, _dtype(value.type))  # type: ignore[attr-defined]

    for op in _needed(block, wanted):
        if op.name == "linalg.index" and extents is not None:
            values[op.results[0]] = _numbers(op, extents)
            continue
        inputs = [operand(value) for value in op.operands]
        if op.name == "cf.assert":
            if not np.all(inputs[0]):
                raise CannotEvaluate("an assertion on constants fails")
            continue
        with np.errstate(all="ignore"):
            values[op.results[0]] = _apply(op, inputs)
    return [operand(value) for value in wanted]


def _needed(block: ir.Block, wanted: Sequence[ir.Value]) -> list[ir.Operation]:
    """The operations that `wanted` values depend on, and all assertions, in order."""
    needed, found = set(wanted), []
    for op in reversed([op.operation for op in block.operations]):
        if op.name != "arith.constant" and (op.name == "cf.assert" or any(result in needed for result in op.results)):
            found.append(op)
            needed.update(op.operands)
    return found[::-1]


def _numbers(op: ir.Operation, extents: Sequence[int]) -> np.ndarray:
    """The numbers of the loop that a linalg.index is about."""
    loop = ir.IntegerAttr(op.attributes["dim"]).value
    return np.arange(extents[loop]).reshape([-1 if i == loop else 1 for i in range(len(extents))])


def _dtype(kind: ir.Type) -> np.dtype:
    try:
        return dtype_of(kind)
    except KeyError:
        raise CannotEvaluate(f"numpy has no {kind}") from None


def _apply(op: ir.Operation, inputs: list[np.ndarray]) -> np.ndarray:
    kind = _dtype(op.results[0].type)
    if op.name in _CONVERSIONS:
        return inputs[0].astype(kind)
    if op.name in _SIGNED_CONVERSIONS:
        return _signed(inputs[0]).astype(kind)
    if op.name in _UNSIGNED_CONVERSIONS:
        return _unsigned(inputs[0]).astype(kind)
    if op.name == "arith.trunci":
        return (inputs[0] & 1).astype(kind) if kind == np.bool_ else inputs[0].astype(kind)
    if op.name == "arith.fptoui":
        return inputs[0].astype(np.int64).astype(kind)
    if op.name == "arith.bitcast":
        return inputs[0].view(kind)
    if op.name == "arith.cmpf":
        predicate = _CMPF[ir.IntegerAttr(op.attributes["predicate"]).value]
        unordered = np.isnan(inputs[0]) | np.isnan(inputs[1])
        if predicate[1:] not in _COMPARISONS:
            raise CannotEvaluate(f"arith.cmpf {predicate}")
        compared = _COMPARISONS[predicate[1:]](*inputs)
        return compared | unordered if predicate[0] == "u" else compared & ~unordered
    if op.name == "arith.cmpi":
        predicate = ir.IntegerAttr(op.attributes["predicate"]).value
        sign = _unsigned if predicate >= _FIRST_UNSIGNED else _signed
        return _COMPARISONS[_CMPI[predicate]](*map(sign, inputs))
    if op.name == "arith.divsi":
        return _quotient(*inputs)
    if op.name not in _FUNCTIONS:
        raise CannotEvaluate(op.name)
    if kind == np.bool_ and op.name in _FUNCTIONS_OF_BITS:
        return _FUNCTIONS_OF_BITS[op.name](*inputs)
    return _FUNCTIONS[op.name](*inputs)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Signed integers divided, rounded towards zero."""
    if a.dtype == np.bool_ or not np.all(b):
        raise CannotEvaluate("a division by zero, or of truth values")
    floored = a // b
    return floored + ((floored < 0) & (floored * b != a))


def is_elementwise(op: ir.Operation) -> bool:
    """Whether `op` is a linalg.generic with one result, parallel loops only and a plain permutation as output map."""
    if op.name != "linalg.generic" or len(op.results) != 1 or "reduction" in iterators(op):
        return False
    out = indexing_maps(op)[-1]
    dims = [affine.dim_position(expr) for expr in out.results if affine.is_dim(expr)]
    return len(dims) == len(out.results) and sorted(dims) == list(range(out.n_dims))


def evaluate_elementwise(op: ir.Operation, arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """The result of an element-wise linalg.generic for its input `arrays`. Raises CannotEvaluate."""
    maps = indexing_maps(op)
    extents = loop_extents(op)
    arrays_of_loops = [
        None if array is None else aligned(array, map_, len(extents)) for array, map_ in zip(arrays, maps, strict=False)
    ]
    value = evaluate_body(op.regions[0].blocks[0], [*arrays_of_loops, None], extents)
    value = np.broadcast_to(value, extents)
    order = [affine.dim_position(expr) for expr in maps[-1].results]
    kind = ir.RankedTensorType(op.results[0].type)
    return np.asarray(value.transpose(order), order="C").astype(_dtype(kind.element_type), copy=False)


def aligned(array: np.ndarray, map_: ir.AffineMap, loops: int) -> np.ndarray:
    """`array` with one dimension per loop, size 1 where it does not depend on the loop."""
    index: list = []
    dims: list[int] = []
    for expr in map_.results:
        if affine.is_dim(expr):
            dims.append(affine.dim_position(expr))
            index.append(slice(None))
        elif not affine.dims_of(expr):
            index.append(affine.evaluate(expr, [0] * loops))
        else:
            raise CannotEvaluate(f"indexing map {map_}")
    picked = array[tuple(index)]
    picked = picked.transpose(np.argsort(dims)) if dims else picked
    shape = [1] * loops
    for size, loop in zip(picked.shape, sorted(dims), strict=True):
        shape[loop] = size
    return picked.reshape(shape)
