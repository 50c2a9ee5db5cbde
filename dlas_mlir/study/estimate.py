"""How long what is left will take, by what has been done: means over steps of a kind and a model.

What no step of its kind has told yet is guessed: the time of a step on two cores of a server, larger for larger
models, times how much slower or faster than guessed the steps were that are done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from dlas_mlir import models

# Seconds for a model of 100 million multiplications, with the epochs of `studies/quick.toml`.
_GUESSES = {
    "train": 190.0,
    "compress": 40.0,
    "import": 7.0,
    "lower": 3.0,
    "tune": 80.0,
    "compile": 10.0,
    "verify": 0.3,
    "accuracy": 4.0,
    "measure": 1.0,
}
# Fitted to studies of small and of large networks: most of a step is per layer, not per multiplication.
_GROWTH = 0.35
# So many guessed seconds have to be done until the machine's pace counts for half.
_PACE_SECONDS = 200.0
# Nothing else runs beside these.
_ALONE = ("tune", "measure")

Kind = tuple[str, str]


class Estimate:
    """Counts what is left by kind and model, and times what is done. `lanes` is how much work is done at a time."""

    def __init__(self, left: Mapping[Kind, int], lanes: int) -> None:
        self._left = Counter(left)
        self._lanes = lanes
        self._seconds: defaultdict[Kind, float] = defaultdict(float)
        self._count: Counter[Kind] = Counter()

    def done(self, kind: str, subject: str, seconds: float, count: int = 1) -> None:
        """`count` of a kind were done in `seconds`."""
        self.skip(kind, subject, count)
        self._seconds[kind, subject] += seconds
        self._count[kind, subject] += count

    def skip(self, kind: str, subject: str, count: int = 1) -> None:
        """`count` of a kind will not be done, or took no time."""
        self._left[kind, subject] = max(0, self._left[kind, subject] - count)

    def seconds(self) -> float:
        """Those that are left."""
        alone = work = 0.0
        for (kind, subject), count in self._left.items():
            seconds = count * self.mean(kind, subject)
            alone, work = (alone + seconds, work) if kind in _ALONE else (alone, work + seconds)
        return alone + work / self._lanes

    def mean(self, kind: str, subject: str) -> float:
        """Of one step: over those of this model, else of this kind by the size of the model, else a guess."""
        if count := self._count[kind, subject]:
            return self._seconds[kind, subject] / count
        same = [key for key in self._count if key[0] == kind and self._count[key]]
        if same:
            return _size(subject) * self._spent(same) / sum(self._count[key] * _size(key[1]) for key in same)
        return _GUESSES[kind] * _size(subject) * self._pace()

    def _pace(self) -> float:
        """How many times as long as guessed the steps took that are done."""
        done = [key for key in self._count if self._count[key]]
        guessed = sum(self._count[key] * _GUESSES[key[0]] * _size(key[1]) for key in done)
        return (self._spent(done) + _PACE_SECONDS) / (guessed + _PACE_SECONDS)

    def _spent(self, keys: Iterable[Kind]) -> float:
        return sum(self._seconds[key] for key in keys)


def _size(subject: str) -> float:
    """What a step of this model takes over one of a model of the usual size; 1 for what is no model of the zoo."""
    model = models.find(subject)
    return 1.0 if model is None else (model.macs / 1e8) ** _GROWTH


def words(seconds: float) -> str:
    """A time for the eyes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
