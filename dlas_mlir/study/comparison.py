"""Two studies beside each other: what both measured, which is faster, which more accurate, and what failed where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.stats import geomean
from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.contrasts import FASTER, SLOWER, VERDICTS, Effects
from dlas_mlir.study.statistics import LEVEL, holm, mcnemar

# What a difference in accuracy is called.
MORE, LESS, ALIKE, UNKNOWN = "more", "less", "tie", "untestable"


@dataclass(frozen=True)
class Comparison:
    """Points of the same levels, by their rows in `before` and in `after`.

    `effects` are of the times of the second study over the first's, of what was timed in both; `verdict` says what may
    be said of each, all of them one family. `accuracy` says the same of how many images are right.
    """

    before: Analysis
    after: Analysis
    first: np.ndarray
    second: np.ndarray
    effects: Effects
    verdict: np.ndarray
    accuracy: list[str]

    @staticmethod
    def of(before: Analysis, after: Analysis) -> Comparison:
        """Raises DlasError where no point is in both."""
        one, other = before.results, after.results
        _, first, second = np.intersect1d(one.ids, other.ids, assume_unique=True, return_indices=True)
        order = np.argsort(first)
        first, second = first[order], second[order]
        if not len(first):
            raise DlasError(f"{one.source} and {other.source} have no point in common: all differ on some axis")
        effects = after.clock.alone(second).over(before.clock.alone(first))
        accuracy = _accuracies(before, after, first, second)
        return Comparison(before, after, first, second, effects, effects.verdicts(), accuracy)

    @property
    def counts(self) -> dict[str, int]:
        """How many are faster, slower, a tie and untestable in the second study, of those timed in both."""
        timed = self.timed
        return {name: int((self.verdict[timed] == code).sum()) for code, name in VERDICTS.items()}

    @property
    def timed(self) -> np.ndarray:
        """What was timed in both."""
        return self.before.results.timed[self.first] & self.after.results.timed[self.second]

    @property
    def mean(self) -> float | None:
        """The geometric mean of the ratios of all that was timed in both."""
        return geomean(np.exp(self.effects.log[self.timed & np.isfinite(self.effects.log)]).tolist())

    def states(self) -> Counter[tuple[str, str]]:
        """How many points are in which state in the first and in the second."""
        states = (self.before.results.state[self.first].tolist(), self.after.results.state[self.second].tolist())
        return Counter(zip(*states, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Counts, and a row for each point in both."""
        times = self.before.results.metric("median_ms")[self.first], self.after.results.metric("median_ms")[self.second]
        ratio = self.effects.ratio
        rows = [
            {
                "id": str(self.before.results.ids[self.first[i]]),
                "states": [
                    str(self.before.results.state[self.first[i]]),
                    str(self.after.results.state[self.second[i]]),
                ],
                "median_ms": [_number(column[i]) for column in times],
                "ratio": _number(ratio[i]),
                "verdict": VERDICTS[int(self.verdict[i])],
                "accuracy": self.accuracy[i],
            }
            for i in range(len(self.first))
        ]
        return {"counts": self.counts, "geomean": self.mean, "n": int(self.timed.sum()), "points": rows}

    def changed(self) -> np.ndarray:
        """What is faster or slower, the largest change first."""
        found = np.flatnonzero((self.verdict == FASTER) | (self.verdict == SLOWER))
        return found[np.argsort(-np.abs(self.effects.log[found]))]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _accuracies(before: Analysis, after: Analysis, first: np.ndarray, second: np.ndarray) -> list[str]:
    one, other = before.results, after.results
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    adjusted = holm(np.array([mcnemar(one.right(row), other.right(second_row)) for row, second_row in pairs]))
    gain = other.metric("accuracy")[second] - one.metric("accuracy")[first]
    return [
        UNKNOWN if np.isnan(value) else ALIKE if value >= LEVEL else MORE if up > 0 else LESS
        for value, up in zip(adjusted.tolist(), gain.tolist(), strict=True)
    ]
