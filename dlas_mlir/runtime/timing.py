"""The timing protocol: check first, warm up, repeat, and report a median with its spread."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

# What rounding alone may do to a whole network, by the coarsest element type that it computes in.
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Check:
    """Distance from the reference: `max_rel_error` is the largest max|a-b| / max|b|, None if not finite."""

    verified: bool
    max_rel_error: float | None
    reason: str = ""


def check(
    outputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    tolerance: float | None = None,
    element: str | None = None,
    limit: float = 0.0,
) -> Check:
    """Compare `outputs` with `expected`, one by one.

    Each may be off by what goes with `element`, the coarsest type that they were computed in (default: their own), or
    by `limit`, where rounding alone can do more in this network; `tolerance` replaces both.
    """
    if len(outputs) != len(expected):
        return Check(False, None, f"{len(outputs)} outputs where PyTorch has {len(expected)}")
    worst = 0.0
    verified = True
    for i, (ours, theirs) in enumerate(zip(outputs, expected, strict=True)):
        if ours.shape != theirs.shape:
            return Check(False, None, f"output {i} has shape {ours.shape} where PyTorch has {theirs.shape}")
        error = relative_error(ours, theirs)
        if not np.isfinite(theirs).all():
            return Check(False, None, f"PyTorch's own output {i} is not finite: there is nothing to compare with")
        if not math.isfinite(error):
            return Check(False, None, f"output {i} is not finite where PyTorch's is")
        allowed = _limit(str(theirs.dtype), element, limit) if tolerance is None else tolerance
        verified = verified and error <= allowed
        worst = max(worst, error)
    reason = "" if verified else f"the output is off by {worst:.2e} of PyTorch's largest value"
    return Check(verified, worst, reason)


def _limit(own: str, element: str | None, limit: float) -> float:
    """Outputs that are whole numbers are equal or wrong."""
    least = TOLERANCE.get(own, 0.0)
    return max(least, TOLERANCE.get(element or own, 0.0), limit) if least else least


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max|a-b| / max|b| in double precision; the absolute error where the reference is all zero."""
    if theirs.size == 0:
        return 0.0
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    scale = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / (scale or 1.0)


def sample(call: Callable[[], object], *, min_seconds: float = 0.2, min_count: int = 5, warmup: int = 2) -> list[int]:
    """Nanoseconds of every call, after `warmup` calls that are not counted, until both minima are reached."""
    for _ in range(warmup):
        call()
    samples: list[int] = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        end = perf_counter_ns() + int(min_seconds * 1e9)
        now = 0
        while len(samples) < min_count or now < end:
            start = perf_counter_ns()
            call()
            now = perf_counter_ns()
            samples.append(now - start)
    finally:
        if enabled:
            gc.enable()
    return samples


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: the median over the rounds' medians, and the spread of all samples."""

    median_ms: float
    iqr_ms: float
    min_ms: float
    samples: int
    rounds: int

    @staticmethod
    def of(rounds: Sequence[Sequence[int]]) -> Timing:
        """Summarise rounds of nanosecond samples, none of them empty."""
        pooled = np.array([ns for samples in rounds for ns in samples]) / 1e6
        low, high = np.percentile(pooled, [25, 75])
        return Timing(
            median_ms=statistics.median(statistics.median(samples) for samples in rounds) / 1e6,
            iqr_ms=float(high - low),
            min_ms=float(pooled.min()),
            samples=len(pooled),
            rounds=len(rounds),
        )
