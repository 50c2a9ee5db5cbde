"""The ratio of two that take turns, round by round: what slows the machine down slows both of a round."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from dlas_mlir.measure.stats import Comparison, tie_band
from dlas_mlir.measure.turn import Turn

_RESAMPLES = 1000


def paired(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median of the ratios of at least one round, and its 95 % interval by bootstrap over rounds."""
    source = random.Random(0)
    drawn = sorted(statistics.median(source.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    return statistics.median(ratios), drawn[int(0.025 * _RESAMPLES)], drawn[int(0.975 * _RESAMPLES) - 1]


def compared(one: Sequence[Turn], other: Sequence[Turn], noise: float | None = None) -> Comparison:
    """`one` over `other`, which have taken as many turns; `noise` is that of two starts of the same."""
    ratios = [statistics.median(a.ns) / statistics.median(b.ns) for a, b in zip(one, other, strict=True)]
    return Comparison(*paired(ratios), tie_band(noise))
