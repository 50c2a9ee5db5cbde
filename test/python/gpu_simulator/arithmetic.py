"""Numbers: MLIR's types as NumPy's, and the operations of arith, math and vector, thread by thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from iree.compiler import ir

_erf = np.vectorize(math.erf, otypes=[np.float32])
FLOATS = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}
INTEGERS = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "index": np.int64}


def dtype_of(kind: ir.Type) -> Any:
    """The NumPy type of a scalar, or of a vector's element."""
    element = str(ir.VectorType(kind).element_type) if isinstance(kind, ir.VectorType) else str(kind)
    return FLOATS.get(element) or INTEGERS[element]


def lanes_of(kind: ir.Type) -> int:
    """Elements of a vector, 0 for a scalar."""
    return ir.VectorType(kind).shape[0] if isinstance(kind, ir.VectorType) else 0


def to_bits(values: np.ndarray) -> np.ndarray:
    """The bytes of each thread's value: [threads, bytes]."""
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)


def from_bits(content: np.ndarray, kind: ir.Type) -> np.ndarray:
    """The values of a type that these bytes are."""
    found = np.ascontiguousarray(content).view(dtype_of(kind))
    return found if lanes_of(kind) else found[:, 0]


def _unsigned(values: np.ndarray) -> np.ndarray:
    return values.view(np.dtype(values.dtype.str.replace("i", "u"))) if values.dtype.kind == "i" else values


def multiplied_and_added(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """With one rounding, but for a rare second one in the last of many more bits."""
    wide = np.longdouble
    return (np.asarray(a).astype(wide) * np.asarray(b).astype(wide) + np.asarray(c).astype(wide)).astype(
        np.asarray(a).dtype
    )


def _divided(operation: Callable) -> Callable:
    def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = _unsigned(a), _unsigned(b)
        return operation(a, np.where(b == 0, 1, b).astype(b.dtype)).view(_signed(a.dtype))

    return divide


def _signed(kind: np.dtype) -> np.dtype:
    return np.dtype(kind.str.replace("u", "i"))


def _shifted_right(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # Shifting by 32 and more is poison: here a number that nobody expects.
    found = (_unsigned(a) >> (_unsigned(b) & 31)).view(a.dtype)
    return np.where(_unsigned(b) < 32, found, np.int32(0x5A5A5A5A))


# By name: two operands to one result.
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.divui": _divided(np.floor_divide),
    "arith.remui": _divided(np.remainder),
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.shli": np.left_shift,
    "arith.shrui": _shifted_right,
    "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum,
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
}
UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "arith.extui": _unsigned,
    "arith.uitofp": _unsigned,
    "arith.fptoui": lambda a: np.trunc(a).astype(np.int64),
    "arith.negf": np.negative,
    "math.exp": np.exp,
    "math.tanh": np.tanh,
    "math.cos": np.cos,
    "math.sin": np.sin,
    "math.erf": _erf,
    "math.sqrt": np.sqrt,
    "math.rsqrt": lambda x: 1 / np.sqrt(x),
    "math.roundeven": np.rint,
    "math.absf": np.abs,
    "math.log": np.log,
}
# Those that give the operand in the type of the result.
CASTS = frozenset(
    {
        "arith.index_cast",
        "arith.extf",
        "arith.truncf",
        "arith.sitofp",
        "arith.fptosi",
        "arith.extsi",
        "arith.trunci",
        "arith.index_castui",
    }
)
_ORDERED = {
    1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal, 6: np.not_equal,
}  # fmt: skip
_INTEGER_PREDICATES = {
    0: (np.equal, False), 1: (np.not_equal, False), 2: (np.less, False), 3: (np.less_equal, False),
    4: (np.greater, False), 5: (np.greater_equal, False), 6: (np.less, True), 7: (np.less_equal, True),
    8: (np.greater, True), 9: (np.greater_equal, True),
}  # fmt: skip


def compare_integers(predicate: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """arith.cmpi."""
    operation, unsigned = _INTEGER_PREDICATES[predicate]
    return operation(_unsigned(a), _unsigned(b)) if unsigned else operation(a, b)


def compare_floats(predicate: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """arith.cmpf: ordered predicates, and the unordered ones, which are true for NaN too."""
    if predicate == 7:
        return ~(np.isnan(a) | np.isnan(b))
    if 1 <= predicate <= 6:
        return _ORDERED[predicate](a, b) & ~(np.isnan(a) | np.isnan(b))
    if 8 <= predicate <= 13:
        return _ORDERED[predicate - 7](a, b) | np.isnan(a) | np.isnan(b)
    return np.full(a.shape, predicate == 15)
