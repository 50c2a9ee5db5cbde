"""What findings and reports both need of a study, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlas_mlir.study.contrasts import Clock, Effects
from dlas_mlir.study.duels import Duels
from dlas_mlir.study.fronts import front_of
from dlas_mlir.study.results import Results
from dlas_mlir.study.speedups import Means, Speedups, between_devices, means

# What has a time and an accuracy of its own: all that is not a choice of how to compress, compute and schedule.
SUBJECT = ("dataset", "model", "threads", "batch", "device")


@dataclass(frozen=True)
class Analysis:
    """A study's results with what is derived of them."""

    results: Results

    @cached_property
    def clock(self) -> Clock:
        return Clock.of(self.results)

    @cached_property
    def duels(self) -> Duels:
        return Duels.of(self.clock)

    @cached_property
    def speedups(self) -> Speedups:
        return Speedups.of(self.clock)

    @cached_property
    def means(self) -> list[Means]:
        return means(self.results, self.speedups)

    @cached_property
    def between_devices(self) -> tuple[Effects, np.ndarray, np.ndarray]:
        """See `speedups.between_devices`."""
        return between_devices(self.clock, self.speedups)

    @cached_property
    def front(self) -> np.ndarray:
        """See `fronts.front_of`."""
        return front_of(self.results)

    def label(self, row: int, leave_out: Sequence[str] = ()) -> str:
        """A point by its levels on the axes on which the study's points differ."""
        results = self.results
        shown = [axis for axis in results.varied if axis not in leave_out] or ["model"]
        return ", ".join(worded(axis, results.level(axis, row)) for axis in shown)

    def ratios(self, effects: Effects, inverse: bool = False) -> list[str]:
        """Ratios with their 95 % intervals, in words; their inverses, which are speed-ups, if so asked."""
        low, high = effects.intervals(self.clock.series)
        values = [effects.ratio, low, high]
        if inverse:
            values = [1 / values[0], 1 / values[2], 1 / values[1]]
        return [f"{ratio:.3f} [{a:.3f}, {b:.3f}]" for ratio, a, b in zip(*(v.tolist() for v in values), strict=True)]


def worded(axis: str, level: object) -> str:
    """A level, with the name of its axis where that is a number."""
    if axis == "threads":
        return f"{level} thread" + ("" if level == 1 else "s")
    if axis == "batch":
        return f"batch {level}"
    return str(level)


def percent(value: float, digits: int = 2) -> str:
    """A share as a percentage; a dash for none."""
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f} %"


def milliseconds(value: float) -> str:
    """Four digits that count; a dash for none."""
    return "-" if np.isnan(value) else f"{value:.4g} ms"
