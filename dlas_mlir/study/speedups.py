"""What compression brings: the time of the uncompressed model in f32 over that of a compressed one, and what the
arithmetic lets expect."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlas_mlir.study.contrasts import Clock, Effects
from dlas_mlir.study.results import Results
from dlas_mlir.study.techniques import BASE_ELEMENT, Technique, technique_of, uncompressed

# The axes on which a compressed point and its base may differ.
_CHANGED = ("compression", "element", "format")


@dataclass(frozen=True)
class Speedups:
    """Of each compressed point (`point`) that has a base, which is the same on all other axes: uncompressed, in f32,
    dense (`base`).

    `effects` are of its time over the base's, so that what is below 1 is faster; `expected` is the expected speed-up,
    NaN where it is not known. `level` says of which of `levels` each is: a technique, its amount, and how weights are
    kept.
    """

    point: np.ndarray
    base: np.ndarray
    effects: Effects
    expected: np.ndarray
    level: np.ndarray
    levels: list[tuple[Technique, str]]

    @staticmethod
    def of(clock: Clock) -> Speedups:
        """The speed-ups of a study."""
        results = clock.results
        plain = results.timed & uncompressed(results) & results.has("format", "dense")
        bases = np.flatnonzero(plain)
        others = results.groups([axis for axis in results.levels if axis not in _CHANGED])
        of_group = np.full(int(others.max()) + 1 if len(others) else 0, -1, np.int64)
        of_group[others[bases]] = bases
        points = np.flatnonzero(results.timed & ~uncompressed(results) & (of_group[others] >= 0))
        base = of_group[others[points]]
        level, levels = _levels(results, points)
        return Speedups(points, base, clock.paired(points, base), _expected(results, points, base), level, levels)

    @property
    def actual(self) -> np.ndarray:
        """How many times faster each is than its base."""
        return np.exp(-self.effects.log)

    def names(self) -> list[str]:
        """A name for each level."""
        formats = {kept for _, kept in self.levels}
        return [f"{technique}, {kept}" if len(formats) > 1 else str(technique) for technique, kept in self.levels]


def _levels(results: Results, points: np.ndarray) -> tuple[np.ndarray, list[tuple[Technique, str]]]:
    """The level of each point, and all levels in order: by technique, by amount."""
    codes = np.stack([results.codes[axis][points] for axis in _CHANGED])
    distinct, which = np.unique(codes, axis=1, return_inverse=True)
    found = []
    for compression, element, kept in distinct.T:
        name, kind = str(results.levels["compression"][compression]), str(results.levels["element"][element])
        technique = technique_of(name, kind)
        assert technique is not None, "points that are not compressed have no speed-up"
        found.append((technique, str(results.levels["format"][kept])))
    order = sorted(range(len(found)), key=lambda i: (found[i][0].name, found[i][1], found[i][0].amount or 0))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place[which.reshape(-1)], [found[i] for i in order]


def _expected(results: Results, points: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What was computed for the target, or, in f32, the share of multiply-accumulates that are left."""
    told = results.metric("expected_speedup")[points]
    with np.errstate(invalid="ignore", divide="ignore"):
        macs = results.metric("macs")[base] / results.metric("effective_macs")[points]
    plain = results.has("element", BASE_ELEMENT)[points]
    return np.where(np.isnan(told), np.where(plain, macs, np.nan), told)


@dataclass(frozen=True)
class Mean:
    """The geometric means of a level's expected and actual speed-ups over `n` cells."""

    name: str
    actual: float
    expected: float | None
    n: int


@dataclass(frozen=True)
class Means:
    """Levels beside each other on one device, all over the same cells: `of` tells which models these are of. Levels
    that share no cell with the others are `left_out`."""

    device: str
    means: list[Mean]
    models: list[str]
    left_out: list[str]


def means(results: Results, speedups: Speedups) -> list[Means]:
    """A comparison for each device. A geometric mean says something beside another only over the same cells."""
    found = []
    axes = [axis for axis in results.levels if axis not in (*_CHANGED, "device")]
    cells, names = results.groups(axes)[speedups.point], speedups.names()
    device = results.codes["device"][speedups.point]
    for number, name in enumerate(results.levels["device"]):
        on = np.flatnonzero((device == number) & np.isfinite(speedups.effects.log))
        by_level = {int(level): on[speedups.level[on] == level] for level in np.unique(speedups.level[on])}
        common, left = shared_by({level: set(cells[rows].tolist()) for level, rows in by_level.items()})
        if not common:
            continue
        listed = []
        for level, rows in by_level.items():
            if level in left:
                continue
            chosen = rows[np.isin(cells[rows], list(common))]
            expected = speedups.expected[chosen]
            told = float(np.exp(np.log(expected).mean())) if np.isfinite(expected).all() else None
            actual = float(np.exp(-speedups.effects.log[chosen].mean()))
            listed.append(Mean(names[level], actual, told, len(chosen)))
        kept = on[np.isin(cells[on], list(common))]
        models = sorted({str(results.level("model", row)) for row in speedups.point[kept]})
        found.append(Means(str(name), listed, models, [names[level] for level in left]))
    return found


def shared_by(cells: dict[int, set[int]]) -> tuple[set[int], list[int]]:
    """The cells that all have, and who had to be left out for there to be any: those with the fewest, first."""
    kept, left = dict(cells), []
    while kept:
        common = set.intersection(*kept.values())
        if common:
            return common, left
        fewest = min(kept, key=lambda level: len(kept[level]))
        left.append(fewest)
        del kept[fewest]
    return set(), left


def between_devices(clock: Clock, speedups: Speedups) -> tuple[Effects, np.ndarray, np.ndarray]:
    """Speed-ups on one device over those of the same on another: effects, and which two speed-ups each is of."""
    results = clock.results
    cells = results.groups([axis for axis in results.levels if axis != "device"])[speedups.point]
    order = np.lexsort((results.codes["device"][speedups.point], cells))
    first, second = [], []
    for members in _runs(cells[order]):
        rows = order[members]
        first += [rows[i] for i in range(len(rows)) for _ in range(i + 1, len(rows))]
        second += [rows[j] for i in range(len(rows)) for j in range(i + 1, len(rows))]
    one, other = np.array(first, np.int64), np.array(second, np.int64)
    return speedups.effects.at(one).over(speedups.effects.at(other)), one, other


def _runs(values: np.ndarray) -> Sequence[slice]:
    """The stretches of equal values that are longer than one."""
    if not len(values):
        return []
    edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    return [slice(i, j) for i, j in itertools.pairwise(edges) if j - i > 1]
