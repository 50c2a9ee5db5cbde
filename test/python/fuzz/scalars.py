"""The operations of bodies, on values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fuzz.elements import DTYPES, is_float
from fuzz.program import Body, Scalar
from fuzz.values import Value, approximated, integer, known, rounded, select

_erf = np.vectorize(math.erf, otypes=[np.float64])


def evaluate(body: Body, arguments: Sequence[Value], loops: Sequence[np.ndarray]) -> Value:
    """What the body yields for `arguments`; `loops` are the values of its loops."""
    values = list(arguments)
    with np.errstate(all="ignore"):
        for op in body.ops:
            values.append(_scalar(op, [values[i] for i in op.args], loops))
    return values[-1 if body.passed is None else body.passed]


def _scalar(op: Scalar, args: list[Value], loops: Sequence[np.ndarray]) -> Value:
    dialect, _, name = op.op.rpartition(".")
    if op.op == "constant":
        return known(np.asarray(op.attr).astype(DTYPES[op.type]), op.type)
    if op.op == "linalg.index":
        return known(loops[op.attr], "index")
    if name == "select":
        return select(*args)
    if name in ("cmpf", "cmpi"):
        return _compare(op.attr, *args)
    if name in _CONVERSIONS:
        return _CONVERSIONS[name](args[0], op.type)
    if is_float(op.type):
        return (_MATH[name] if dialect == "math" else _FLOATS[name])(op.type, *args)
    return integer(_INTEGERS[name](*(arg.array for arg in args)), op.type, *args)


# Floats.


def _add(element: str, a: Value, b: Value) -> Value:
    return rounded(a.array + b.array, a.error + b.error, a.size + b.size, min(a.quantum, b.quantum), element)


def _negate(element: str, a: Value) -> Value:
    return Value(-a.array, a.error, a.size, a.quantum, element)


def _scaled(array: np.ndarray, error: np.ndarray) -> np.ndarray:
    """How far `array` times something that may be off by `error` may be off."""
    return np.where(error > 0, np.where(np.isinf(error), np.inf, np.abs(array) * error), 0.0)


def _multiply(element: str, a: Value, b: Value) -> Value:
    error = _scaled(a.array, b.error) + _scaled(b.array, a.error) + _scaled(a.error, b.error)
    return rounded(a.array * b.array, error, a.size * b.size, a.quantum * b.quantum, element)


def _divide(element: str, a: Value, b: Value) -> Value:
    array, divisor = a.array / b.array, np.abs(b.array)
    left = np.where(divisor > b.error, divisor - b.error, 0.0)
    error = np.where(a.error + b.error > 0, (a.error + np.abs(array) * b.error) / left, 0.0)
    return rounded(array, error, a.size / divisor, 0.0, element)


def _extreme(function: Callable, numbers: bool) -> Callable[..., Value]:
    def call(element: str, a: Value, b: Value) -> Value:
        array = function(a.array, b.array)
        size = np.where(np.isnan(array) | (array == a.array), a.size, b.size)
        return Value(array, np.maximum(a.error, b.error), size, min(a.quantum, b.quantum), element)

    return call


_FLOATS: dict[str, Callable[..., Value]] = {
    "addf": _add,
    "subf": lambda element, a, b: _add(element, a, _negate(element, b)),
    "mulf": _multiply,
    "divf": _divide,
    "negf": _negate,
    "maximumf": _extreme(np.maximum, False),
    "minimumf": _extreme(np.minimum, False),
    "maxnumf": _extreme(np.fmax, True),
    "minnumf": _extreme(np.fmin, True),
}


def _smooth(function: Callable, slope: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Value]:
    """`slope` bounds the derivative around its first argument, as far as the second."""

    def call(element: str, a: Value) -> Value:
        error = np.where(a.error > 0, slope(a.array, a.error) * a.error, 0.0)
        return approximated(function(a.array), error, element)

    return call


def _steps(function: Callable, edges: float) -> Callable[..., Value]:
    """A function to whole numbers that jumps at whole numbers plus `edges`."""

    def call(element: str, a: Value) -> Value:
        array = function(a.array)
        distance = np.abs(a.array - edges - np.rint(a.array - edges))
        error = np.where((a.error > 0) & (distance <= a.error), np.ceil(a.error), 0.0)
        return rounded(array, error, np.abs(array), 1.0, element)

    return call


_MATH: dict[str, Callable[..., Value]] = {
    "absf": lambda element, a: Value(np.abs(a.array), a.error, a.size, a.quantum, element),
    "fma": lambda element, a, b, c: _add(element, _multiply(element, a, b), c),
    "exp": _smooth(np.exp, lambda x, e: np.exp(x + e)),
    "tanh": _smooth(np.tanh, lambda x, e: np.ones_like(x)),
    "erf": _smooth(_erf, lambda x, e: np.full_like(x, 1.2)),
    "sqrt": _smooth(np.sqrt, lambda x, e: np.where(x > e, 1 / np.sqrt(x - e), np.inf)),
    "rsqrt": _smooth(lambda x: 1 / np.sqrt(x), lambda x, e: np.where(x > e, (x - e) ** -1.5, np.inf)),
    "log": _smooth(np.log, lambda x, e: np.where(x > e, 1 / (x - e), np.inf)),
    "floor": _steps(np.floor, 0.0),
    "ceil": _steps(np.ceil, 0.0),
    "roundeven": _steps(np.rint, 0.5),
}


# Comparisons and conversions.

_PREDICATES: dict[str, Callable] = {
    "olt": np.less,
    "ole": np.less_equal,
    "ogt": np.greater,
    "oge": np.greater_equal,
    "oeq": np.equal,
    "une": np.not_equal,
    "ugt": lambda a, b: ~(a <= b),
    "ult": lambda a, b: ~(a >= b),
    "slt": np.less,
    "sle": np.less_equal,
    "sgt": np.greater,
    "sge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def _compare(predicate: str, a: Value, b: Value) -> Value:
    array = _PREDICATES[predicate](a.array, b.array)
    error = a.error + b.error
    close = np.abs(a.array.astype(np.float64) - b.array.astype(np.float64)) <= error
    return Value(array, np.where((error > 0) & close, np.inf, 0.0), array.astype(np.float64), 1.0, "i1")


def _to_integer(signed: bool) -> Callable[[Value, str], Value]:
    def call(a: Value, element: str) -> Value:
        kind = DTYPES[element] if signed else np.dtype(f"u{DTYPES[element].itemsize}")
        limits, whole = np.iinfo(kind), np.trunc(a.array)
        inside = np.isfinite(whole) & (whole >= limits.min) & (whole <= limits.max)
        safe = np.trunc(a.array - a.error) == np.trunc(a.array + a.error)
        array = np.where(inside, whole, 0).astype(kind).astype(DTYPES[element])
        return Value(array, np.where(inside & safe, 0.0, np.inf), np.abs(whole), 1.0, element)

    return call


def _from_integer(signed: bool) -> Callable[[Value, str], Value]:
    def call(a: Value, element: str) -> Value:
        array = (a.array if signed else _unsigned(a.array)).astype(np.float64)
        if signed and a.element == "i1":
            array = -array
        return rounded(array, a.error, np.abs(array), 1.0, element)

    return call


def _extend(a: Value, element: str) -> Value:
    array = -a.array.astype(np.int64) if a.element == "i1" else a.array
    return integer(array.astype(DTYPES[element]), element, a)


def _extend_unsigned(a: Value, element: str) -> Value:
    return integer(_unsigned(a.array).astype(DTYPES[element]), element, a)


def _narrow(a: Value, element: str) -> Value:
    array = (a.array & 1).astype(np.bool_) if element == "i1" else a.array.astype(DTYPES[element])
    return integer(array, element, a)


_CONVERSIONS: dict[str, Callable[[Value, str], Value]] = {
    "extf": lambda a, element: Value(a.array, a.error, a.size, a.quantum, element),
    "truncf": lambda a, element: rounded(a.array, a.error, np.abs(a.array), a.quantum, element),
    "fptosi": _to_integer(True),
    "fptoui": _to_integer(False),
    "sitofp": _from_integer(True),
    "uitofp": _from_integer(False),
    "extsi": _extend,
    "extui": _extend_unsigned,
    "trunci": _narrow,
    "index_cast": lambda a, element: integer(a.array, element, a),
}


# Integers.


def _unsigned(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.bool_ else array.view(f"u{array.dtype.itemsize}")


def _as_unsigned(function: Callable) -> Callable:
    return lambda a, b: function(_unsigned(a), _unsigned(b)).astype(a.dtype)


def _truncating_division(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By a positive number."""
    # Rounded down first: the lowest number has no opposite.
    return a // b + ((a < 0) & (a % b != 0)).astype(a.dtype)


_INTEGERS: dict[str, Callable] = {
    "addi": np.add,
    "subi": np.subtract,
    "muli": np.multiply,
    "maxsi": np.maximum,
    "minsi": np.minimum,
    "maxui": _as_unsigned(np.maximum),
    "minui": _as_unsigned(np.minimum),
    "andi": np.bitwise_and,
    "ori": np.bitwise_or,
    "xori": np.bitwise_xor,
    "shli": np.left_shift,
    "shrsi": np.right_shift,
    "shrui": _as_unsigned(np.right_shift),
    "divsi": _truncating_division,
}
