"""From turns to figures: medians with their spread, ratios with their interval, and when a difference is one.

Bootstrap over process starts and rounds, not over calls, after Kalibera and Jones, "Rigorous benchmarking in reasonable
time" (ISMM 2013): what varies from call to call says little about what varies from run to run.
"""

from __future__ import annotations

import math
import random
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
    band = max(LEAST_BAND, 2 * (noise or 0.0))
    a, b = _medians(one), _medians(other)
    ratio = statistics.median(_all(a)) / statistics.median(_all(b))
    source = random.Random(0)
    together = paired and [len(rounds) for rounds in a] == [len(rounds) for rounds in b]
    ratios = []
    for _ in range(_RESAMPLES):
        drawn = _draw(a, source)
        others = drawn if together else _draw(b, source)
        above, below = ([rounds[start][i] for start, i in places] for rounds, places in ((a, drawn), (b, others)))
        ratios.append(statistics.median(above) / statistics.median(below))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Comparison(ratio, float(low), float(high), band)


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


def _medians(turns: Sequence[Turn]) -> list[list[float]]:
    """The median of each round, by process start."""
    starts = sorted({turn.start for turn in turns})
    return [[statistics.median(turn.ns) for turn in turns if turn.start == start] for start in starts]


def _all(rounds: list[list[float]]) -> list[float]:
    return [median for start in rounds for median in start]


def _draw(rounds: list[list[float]], source: random.Random) -> list[tuple[int, int]]:
    """Starts drawn with replacement, and in each its rounds."""
    drawn = []
    for start in source.choices(range(len(rounds)), k=len(rounds)):
        count = len(rounds[start])
        drawn += [(start, i) for i in source.choices(range(count), k=count)]
    return drawn
