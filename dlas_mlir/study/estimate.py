"""How long what is left will take, by what has been done: means over steps of a kind and a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

# Seconds, before anything of a kind was done; for small networks on a few cores.
_GUESSES = {
    "train": 240.0,
    "compress": 60.0,
    "import": 12.0,
    "lower": 4.0,
    "tune": 300.0,
    "compile": 12.0,
    "verify": 2.0,
    "accuracy": 8.0,
    "measure": 4.0,
}
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
        """Of one step: over those of this model, else of this kind, else a guess."""
        if count := self._count[kind, subject]:
            return self._seconds[kind, subject] / count
        same = [key for key in self._count if key[0] == kind]
        if count := sum(self._count[key] for key in same):
            return sum(self._seconds[key] for key in same) / count
        return _GUESSES[kind]


def words(seconds: float) -> str:
    """A time for the eyes."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
