"""Which way of computing the convolutions is the fastest, in each cell of all other axes; and where that changes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from dlas_mlir.study.contrasts import FASTER, SLOWER, UNTESTABLE, Clock, Effects
from dlas_mlir.study.results import Level

# What is chosen: how to compute, on weights kept how.
CHOICE = ("primitive", "format")


@dataclass(frozen=True)
class Duels:
    """All pairs of choices in all cells, decided as one family.

    `table` [cells, choices] are the rows of points, -1 for none; `example` is one point of each cell. Duel n is of the
    choices `a[n]` and `b[n]` in cell `cell[n]`; `verdict` says how `a` is beside `b`. `beaten` [cells, choices] says
    what is shown to be slower than another choice.
    """

    names: list[str]
    levels: list[tuple[Level, ...]]
    table: np.ndarray
    example: np.ndarray
    cell: np.ndarray
    a: np.ndarray
    b: np.ndarray
    effects: Effects
    verdict: np.ndarray
    beaten: np.ndarray

    @staticmethod
    def of(clock: Clock) -> Duels:
        """The duels of a study."""
        results = clock.results
        table, example, levels = results.table(CHOICE, results.timed)
        parts = []
        for a, b in itertools.combinations(range(len(levels)), 2):
            both = np.flatnonzero((table[:, a] >= 0) & (table[:, b] >= 0))
            parts.append((both, np.full(len(both), a), np.full(len(both), b)))
        none = np.empty(0, np.int64)
        cell, first, second = (np.concatenate([none, *(part[i] for part in parts)]) for i in range(3))
        effects = clock.paired(table[cell, first], table[cell, second])
        verdict = effects.verdicts()
        beaten = np.zeros(table.shape, bool)
        beaten[cell[verdict == FASTER], second[verdict == FASTER]] = True
        beaten[cell[verdict == SLOWER], first[verdict == SLOWER]] = True
        names = [_name(choice, results.varied) for choice in levels]
        return Duels(names, levels, table, example, cell, first, second, effects, verdict, beaten)

    def fastest(self, median: np.ndarray) -> np.ndarray:
        """The choice of the least median in each cell [cells]."""
        times = np.where(self.table >= 0, median[self.table], np.inf)
        return times.argmin(1) if times.size else np.empty(0, np.int64)


def _name(choice: tuple[Level, ...], varied: list[str]) -> str:
    primitive, kept = choice
    return f"{primitive}, {kept}" if "format" in varied else str(primitive)


@dataclass(frozen=True)
class Flip:
    """In the cell of one context `a` beats `b`, in the cell of the other `b` beats `a`; each by number of a duel."""

    a: int
    b: int
    won: int
    lost: int


@dataclass(frozen=True)
class Flips:
    """What changes with the levels of one axis, in how many pairs of choices that could be compared on two levels or
    more (`tested`), of how many that stood on two levels or more at all (`asked`)."""

    found: list[Flip]
    tested: int
    asked: int


def flips(clock: Clock, duels: Duels, context: str) -> Flips:
    """Where the fastest choice changes with the level of the axis `context` and nothing else: both duels decided, and
    neither winner beaten by a third."""
    results = clock.results
    others = [axis for axis in results.levels if axis not in (*CHOICE, context)]
    if not len(duels.cell):
        return Flips([], 0, 0)
    outer = results.groups(others)[duels.example][duels.cell]
    pair = duels.a * len(duels.names) + duels.b
    group = np.unique(outer * len(duels.names) ** 2 + pair, return_inverse=True)[1]
    asked = int((np.bincount(group) > 1).sum())
    testable = duels.verdict != UNTESTABLE
    tested = int((np.bincount(group[testable]) > 1).sum())
    won = (duels.verdict == FASTER) & ~duels.beaten[duels.cell, duels.a]
    lost = (duels.verdict == SLOWER) & ~duels.beaten[duels.cell, duels.b]
    size = int(group.max()) + 1
    both = np.flatnonzero(
        (np.bincount(group[won], minlength=size) > 0) & (np.bincount(group[lost], minlength=size) > 0)
    )
    sure = np.abs(duels.effects.log)
    found = []
    for members in _members(group, both):
        clearest = [members[mask[members]][np.argmax(sure[members[mask[members]]])] for mask in (won, lost)]
        found.append(Flip(int(duels.a[members[0]]), int(duels.b[members[0]]), int(clearest[0]), int(clearest[1])))
    found.sort(key=lambda flip: -min(sure[flip.won], sure[flip.lost]))
    return Flips(found, tested, asked)


def _members(group: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """The places at which each of the `wanted` numbers stands in `group`."""
    order = np.argsort(group, kind="stable")
    begin, end = (np.searchsorted(group[order], wanted, side) for side in ("left", "right"))
    return [order[i:j] for i, j in zip(begin, end, strict=True)]
