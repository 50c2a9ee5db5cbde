"""Whether outputs are what PyTorch computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# What rounding alone may do to a whole network, by the coarsest element type that it computes in.
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}
# What may be codes of a quantized network: conversions of sums, which may be rounded to the next one.
CODES = ("int8", "uint8", "int16", "int32")

# Elements that are compared at a time, so that large outputs are not held in double precision as a whole.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Check:
    """Distance from the reference: `max_rel_error` is the largest max|a-b| / max|b|, None if not finite."""

    verified: bool
    max_rel_error: float | None = None
    reason: str = ""


def check(
    outputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    tolerance: float | None = None,
    element: str | None = None,
    limits: Sequence[float] = (),
    reference: str = "PyTorch",
) -> Check:
    """Compare `outputs` with `expected`, one by one; `reference` is who computed those.

    Each may be off by what goes with `element`, the coarsest type that they were computed in (default: their own), or
    by its own of `limits`, where rounding alone can do more in this network; `tolerance` replaces both. Infinities and
    NaN are equal to themselves, and not compared where there is nothing else.
    """
    if len(outputs) != len(expected):
        return Check(False, reason=f"{len(outputs)} outputs where {reference} has {len(expected)}")
    worst = 0.0
    verified = True
    own = limits or [0.0] * len(expected)
    for i, (ours, theirs, limit) in enumerate(zip(outputs, expected, own, strict=True)):
        if reason := _differ(ours, theirs, reference):
            return Check(False, reason=f"output {i} {reason}")
        error = relative_error(ours, theirs)
        allowed = _limit(str(theirs.dtype), element, limit) if tolerance is None else tolerance
        verified = verified and error <= allowed
        worst = max(worst, error)
    reason = "" if verified else f"the output is off by {worst:.2e} of {reference}'s largest value"
    return Check(verified, worst, reason)


def _differ(ours: np.ndarray, theirs: np.ndarray, reference: str) -> str | None:
    """What is wrong besides the size of finite numbers."""
    if ours.shape != theirs.shape:
        return f"has shape {ours.shape} where {reference} has {theirs.shape}"
    if _kind(ours) != _kind(theirs):
        return f"is {ours.dtype} where {reference} has {theirs.dtype}"
    finite = False
    for a, b in _blocks(ours, theirs):
        of_ours, of_theirs = np.isfinite(a), np.isfinite(b)
        finite |= bool(of_theirs.any())
        if (of_ours & ~of_theirs).any():
            return f"is finite where {reference}'s is not"
        # A difference of infinities is no number.
        if (of_theirs & ~of_ours).any() or not np.array_equal(a[~of_ours], b[~of_ours], equal_nan=True):
            wrong = (of_theirs & ~of_ours).any()
            return f"is not finite where {reference}'s is" if wrong else "has other infinities or NaN"
    if theirs.size and not finite:
        return f"has no finite value in {reference}: there is nothing to compare with"
    return None


def _kind(array: np.ndarray) -> str:
    """Floating-point types are compared by value; whole numbers have their own type or are wrong."""
    return "f" if array.dtype.kind in "fV" else str(array.dtype)


def _blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both in double precision (whole numbers in their own), some elements at a time."""
    a, b = a.reshape(-1), b.reshape(-1)
    exact = a.dtype.kind in "iub" and a.dtype == b.dtype
    for start in range(0, a.size, _BLOCK):
        parts = a[start : start + _BLOCK], b[start : start + _BLOCK]
        yield parts if exact else (parts[0].astype(np.float64), parts[1].astype(np.float64))


def _limit(own: str, element: str | None, limit: float) -> float:
    """Outputs that are whole numbers are equal or wrong, but for codes of a quantized network."""
    if own in CODES:
        return limit
    least = TOLERANCE.get(own, 0.0)
    return max(least, TOLERANCE.get(element or own, 0.0), limit) if least else least


def tolerance_of(element: str) -> float | None:
    """What goes with the type that a recipe rounds operands to; None, the model's own, where it rounds none (empty)."""
    return TOLERANCE[element] if element else None


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max|a-b| / max|b| over what is finite in `theirs`; the absolute error where the reference is all zero."""
    largest = scale = 0.0
    for a, b in _blocks(ours, theirs):
        # Neighbours near 2^63 are one number in double precision.
        least = 1.0 if a.dtype.kind in "iu" else 0.0
        finite, differ = np.isfinite(b), a != b
        scale = max(scale, float(np.abs(b[finite].astype(np.float64)).max(initial=0.0)))
        apart = np.abs(a[finite & differ].astype(np.float64) - b[finite & differ].astype(np.float64))
        if apart.size:
            largest = max(largest, float(apart.max()), least)
    return largest / (scale or 1.0)
