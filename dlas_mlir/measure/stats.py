"""From turns to figures: medians with their spread, ratios with their interval, and when a difference is one.

Bootstrap over process starts and rounds, not over calls, after Kalibera and Jones, "Rigorous benchmarking in reasonable
time" (ISMM 2013): what varies from call to call says little about what varies from run to run.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dlas_mlir.measure.turn import Turn

# A process that waited for more than this part of its CPUs' time has been disturbed: its times are not its own.
DISTURBED = 0.02
# No difference below this is called one, however quiet the machine.
LEAST_BAND = 0.03
_RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)  # percentiles
_QUANTILE = 1.959963984540054  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: the median over the turns' medians, percentiles and minimum of all calls.

    `cpu_ms` is CPU time of one call, over all threads; `waited` the mean of the turns', `disturbed` whether that is too
    much for the figures to be quoted.
    """

    median_ms: float
    iqr_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    cpu_ms: float
    samples: int
    rounds: int
    starts: int
    waited: float
    disturbed: bool

    @staticmethod
    def of(turns: Sequence[Turn], overhead_ms: float = 0.0) -> Timing:
        """Summarise `turns`, of which there is at least one; `overhead_ms` is taken off every call."""
        overhead = int(overhead_ms * 1e6)
        rounds = [[max(ns - overhead, 1) for ns in turn.ns] for turn in turns]
        pooled = np.array([ns for samples in rounds for ns in samples]) / 1e6
        low, p50, high, p90, p99 = (float(value) for value in np.percentile(pooled, [25, 50, 75, 90, 99]))
        waited = sum(turn.waited for turn in turns) / len(turns)
        return Timing(
            median_ms=statistics.median(statistics.median(samples) for samples in rounds) / 1e6,
            iqr_ms=high - low,
            min_ms=float(pooled.min()),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            cpu_ms=statistics.median(turn.cpu_ns for turn in turns) / 1e6,
            samples=len(pooled),
            rounds=len(rounds),
            starts=len({turn.start for turn in turns}),
            waited=waited,
            disturbed=waited > DISTURBED,
        )


@dataclass(frozen=True)
class Comparison:
    """The time of one over that of another, with its 95 % interval, and what may be said: `faster`, `slower`, or `tie`
    where the interval holds 1 or the difference is within `band`. `decided` says that more rounds would hardly change
    that."""

    ratio: float
    low: float
    high: float
    band: float

    @property
    def verdict(self) -> str:
        if self.high < 1 and self.ratio < 1 - self.band:
            return "faster"
        if self.low > 1 and self.ratio > 1 + self.band:
            return "slower"
        return "tie"

    @property
    def decided(self) -> bool:
        apart = self.high < 1 - self.band or self.low > 1 + self.band
        alike = self.low > 1 - self.band and self.high < 1 + self.band
        return apart or alike

    def __str__(self) -> str:
        return f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}], {self.verdict}"


def compare(
    one: Sequence[Turn], other: Sequence[Turn], *, noise: float | None = None, paired: bool = True
) -> Comparison:
    """`one` over `other`. With `paired`, the turns of both belong together, round by round (they took turns in one
    run); `noise` is the relative difference of two starts of the same thing."""
    a, b = _medians(one), _medians(other)
    ratio = float(np.median(a[0]) / np.median(b[0]))
    together = paired and a[1].tolist() == b[1].tolist()
    if together:
        low, high = ratio_intervals(a[0][None], b[0][None], a[1])
        return Comparison(ratio, float(low[0]), float(high[0]), tie_band(noise))
    drawn = [_resampled(part[0][None], part[1], seed)[0] for seed, part in enumerate((a, b))]
    low, high = np.percentile(drawn[0] / drawn[1], _INTERVAL)
    return Comparison(ratio, float(low), float(high), tie_band(noise))


def tie_band(noise: float | None) -> float:
    """The relative difference below which nothing is called one, where two starts of the same thing differ by
    `noise`."""
    return max(LEAST_BAND, 2 * (noise or 0.0))


def ratio_intervals(above: np.ndarray, below: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % intervals [n] of n ratios of medians, each of `above` over `below`, both [n, rounds], which were
    measured round by round with each other; `starts` [rounds] says of which process start each round is."""
    parts = [_resampled(values, starts, 0) for values in (above, below)]
    low, high = np.percentile(parts[0] / parts[1], _INTERVAL, axis=1)
    return low, high


def median_intervals(rounds: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % intervals [n] of the medians of n things, `rounds` [n, rounds], of the process starts [rounds]."""
    low, high = np.percentile(_resampled(rounds, starts, 0), _INTERVAL, axis=1)
    return low, high


def noise_of(many: Iterable[Sequence[Turn]]) -> float | None:
    """The A/A noise: how far the medians of two starts of one and the same thing lie apart, relative, as the median
    over all of `many` that were started more than once; None where none was."""
    found = []
    for turns in many:
        medians = [
            statistics.median(statistics.median(turn.ns) for turn in turns if turn.start == start)
            for start in sorted({turn.start for turn in turns})
        ]
        if len(medians) > 1:
            found.append(max(medians) / min(medians) - 1)
    return statistics.median(found) if found else None


def geomean(values: Iterable[float]) -> float | None:
    """Geometric mean; None of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of which `correct` of `n` were counted; `n` is at least 1."""
    share, square = correct / n, _QUANTILE**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _QUANTILE / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _medians(turns: Sequence[Turn]) -> tuple[np.ndarray, np.ndarray]:
    """The median of each round, and of which process start it is, by starts."""
    ordered = sorted(turns, key=lambda turn: turn.start)
    medians = np.array([statistics.median(turn.ns) for turn in ordered], float)
    return medians, np.array([turn.start for turn in ordered])


def _resampled(rounds: np.ndarray, starts: np.ndarray, seed: int) -> np.ndarray:
    """Medians [n, resamples] of `rounds` [n, rounds] drawn with replacement: starts, and of each its rounds. What has
    the same starts and seed is drawn alike."""
    found = np.empty((len(rounds), _RESAMPLES))
    for which, places in _draws(tuple(starts.tolist()), seed):
        drawn = rounds[:, places]
        drawn.sort(axis=2)  # for so few numbers, several times faster than np.median
        middle, last = drawn.shape[2] // 2, (drawn.shape[2] - 1) // 2
        found[:, which] = (drawn[:, :, last] + drawn[:, :, middle]) / 2
    return found


@functools.cache
def _draws(starts: tuple[int, ...], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The draws of `_resampled`, those of one length together: which they are, and the places [draws, length]."""
    source = np.random.default_rng(seed)
    places = [np.flatnonzero(np.array(starts) == start) for start in sorted(set(starts))]
    by_length: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number in range(_RESAMPLES):
        drawn = [places[start] for start in source.integers(0, len(places), len(places))]
        row = np.concatenate([source.choice(part, len(part)) for part in drawn])
        by_length.setdefault(len(row), []).append((number, row))
    return [(np.array([n for n, _ in rows]), np.stack([row for _, row in rows])) for rows in by_length.values()]
