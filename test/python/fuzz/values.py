"""Arrays with what is known about their rounding: the bounds that compiled numbers are held to come from here.

Numbers are computed in double precision. Beside each element stands a first-order bound of what the same operations, in
another order and each rounded to its own type, may differ by ("running error analysis", Higham, Accuracy and Stability
of Numerical Algorithms, 3.3), with sums bounded by the sum of magnitudes. Where all terms are multiples of one power of
two and fit the significand, whatever their order, nothing is rounded and the bound is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fuzz.elements import DTYPES, LARGEST, PRECISION, is_float

_FUNCTION = 32.0  # Units in the last place that an approximation of a function may be off by.


@dataclass(frozen=True)
class Value:
    """`array` in float64, or in its own integer type. `error` bounds the difference (integers: 0, or infinite where an
    element depends on a rounding), `size` the sum of the magnitudes that went in. Every element is a multiple of
    `quantum`; 0: none is known."""

    array: np.ndarray
    error: np.ndarray
    size: np.ndarray
    quantum: float
    element: str

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> Value:
        """The same with another arrangement of the elements."""
        array, error, size = (np.asarray(move(array)) for array in (self.array, self.error, self.size))
        return Value(array, error, size, self.quantum, self.element)


def known(array: np.ndarray, element: str) -> Value:
    """An exact value of the type `element`."""
    if not is_float(element):
        array = array.astype(DTYPES[element])
        return Value(array, np.zeros(array.shape), _magnitude(array), 1.0, element)
    array = array.astype(np.float64)
    return Value(array, np.zeros(array.shape), np.abs(array), _quantum(array), element)


def unknown(shape: tuple[int, ...], element: str) -> Value:
    """What must not be read."""
    value = known(np.zeros(shape), element)
    return Value(value.array, np.full(shape, np.inf), value.size, 0.0, element)


def integer(array: np.ndarray, element: str, *sources: Value) -> Value:
    """An integer value computed from `sources`, unknown where one of them is."""
    error = np.zeros(array.shape)
    for source in sources:
        error = np.where(source.error > 0, np.inf, error)
    return Value(array.astype(DTYPES[element]), error, _magnitude(array), 1.0, element)


def rounded(array: np.ndarray, error: np.ndarray, size: np.ndarray, quantum: float, element: str) -> Value:
    """A float result, with the bound of its own rounding added."""
    finite = np.isfinite(array)
    error = np.where(np.isnan(error), np.where(finite, np.inf, 0.0), error)
    largest = float(np.max(size, where=finite, initial=0.0)) if size.size else 0.0
    if not (quantum and largest <= 2.0 ** PRECISION[element] * quantum):
        quantum = 0.0
        error = error + 2.0 ** -PRECISION[element] * np.where(finite, size, 0.0)
    # Beyond the largest number: infinite, or not, as the roundings have it.
    error = np.where(finite & (size > LARGEST[element] * 0.99), np.inf, error)
    return Value(array, error, size, quantum, element)


def narrowed(value: Value, element: str) -> Value:
    """`value` where it may be rounded to `element` before it is used."""
    if value.element != "f32":
        return value
    with np.errstate(over="ignore"):
        held = value.array.astype(DTYPES[element]).astype(np.float64)
    finite = np.isfinite(value.array)
    inexact = finite & ((held != value.array) | (value.error > 0))
    error = value.error + np.where(inexact, 2.0 ** -PRECISION[element] * np.abs(value.array), 0.0)
    # Below the smallest normal number less is kept.
    error += np.where(inexact & (element == "f16"), 2.0**-24, 0.0)
    error = np.where(finite & (np.abs(value.array) > LARGEST[element] * 0.99), np.inf, error)
    return Value(value.array, error, value.size, 0.0 if inexact.any() else value.quantum, "f32")


def approximated(array: np.ndarray, error: np.ndarray, element: str) -> Value:
    """The result of a function that is computed by an approximation."""
    size = np.abs(array)
    floor = 2.0**-4  # Where a function crosses zero its approximation is good to the scale of its arguments.
    error = error + _FUNCTION * 2.0 ** -PRECISION[element] * np.where(np.isfinite(array), size + floor, 0.0)
    return rounded(array, error, size, 0.0, element)


def select(condition: Value, a: Value, b: Value) -> Value:
    """Elements of `a` where `condition`, else of `b`."""
    array = np.where(condition.array, a.array, b.array)
    chosen = np.where(condition.array, a.error, b.error)
    same = (a.array == b.array) & (a.error == 0) & (b.error == 0)
    with np.errstate(invalid="ignore"):
        either = np.abs(np.subtract(a.array, b.array, dtype=np.float64)) + np.maximum(a.error, b.error)
    if not is_float(a.element):
        either = np.full(array.shape, np.inf)
    error = np.where((condition.error > 0) & ~same, either, chosen)
    size = np.where(condition.array, a.size, b.size)
    return Value(array, error, size, min(a.quantum, b.quantum), a.element)


def difference(wanted: Value, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where `got` is wrong, and where that can be told."""
    told = np.isfinite(wanted.error)
    if not is_float(wanted.element):
        return told & (got != wanted.array), told
    number = got.astype(np.float64)
    # What is less than the smallest normal number may be flushed to zero.
    tiny = 2.0**-13 if wanted.element == "f16" else 2.0**-125
    with np.errstate(invalid="ignore"):
        near = np.abs(number - wanted.array) <= 4 * wanted.error + tiny
    same = (number == wanted.array) | (np.isnan(number) & np.isnan(wanted.array))
    # Integer or not, the value itself has to be stored in its type.
    return told & ~near & ~same, told


def _magnitude(array: np.ndarray) -> np.ndarray:
    return np.abs(array.astype(np.float64))


def _quantum(array: np.ndarray) -> float:
    """The largest power of two, from 1 down to 2^-24, of which all finite elements are multiples; else 0."""
    finite = array[np.isfinite(array)]
    for power in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24):
        scaled = finite * 2.0**power
        if (scaled == np.rint(scaled)).all():
            return 2.0**-power
    return 0.0
