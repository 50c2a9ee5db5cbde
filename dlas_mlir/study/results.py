"""All that a study has found, in columns: what statistics, findings, reports and exports are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dlas_mlir.study.axes import Level


@dataclass(frozen=True)
class Turns:
    """The median of each turn, in nanoseconds: whose (`point`, the row of a point), in which block, of which process
    start, in which round. All arrays are of one length, in the order of point, block, start and round."""

    point: np.ndarray
    block: np.ndarray
    start: np.ndarray
    round: np.ndarray
    ns: np.ndarray

    @staticmethod
    def of(rows: Mapping[str, Sequence[float] | np.ndarray]) -> Turns:
        """From columns in any order."""
        kinds = {"point": np.int32, "block": np.int32, "start": np.int16, "round": np.int16, "ns": np.float64}
        columns = {name: np.asarray(rows[name], kind) for name, kind in kinds.items()}
        order = np.lexsort([columns[name] for name in ("round", "start", "block", "point")])
        return Turns(**{name: column[order] for name, column in columns.items()})

    @staticmethod
    def none() -> Turns:
        """Where nothing was timed."""
        return Turns.of(dict.fromkeys(("point", "block", "start", "round", "ns"), ()))

    def __len__(self) -> int:
        return len(self.ns)


@dataclass(frozen=True)
class Hits:
    """Which test images were classified rightly. `row` is the row of `bits` for each point, -1 for none; a row is
    `np.packbits` of as many booleans as `images` says, in the order of the dataset's test images."""

    row: np.ndarray
    bits: Sequence[np.ndarray]
    images: Sequence[int]

    def of(self, point: int) -> np.ndarray | None:
        """The booleans of one point."""
        row = int(self.row[point])
        return None if row < 0 else np.unpackbits(self.bits[row], count=self.images[row]).astype(bool)


@dataclass(frozen=True)
class Device:
    """A device of the study, and what it is, in words."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Results:
    """The points of a study, one row each.

    `levels` are the names of each axis' levels, `codes` which of them each point has. `state` is each point's as in
    `values.STATES`, `reason` a code into `reasons`. `metrics` are float64, NaN where there is none. `base` is the row
    of the point that each block compares the others with, -1 where it is not known. `spec` is the text of the study's
    file, `goals` what it maximises, minimises and limits.
    """

    name: str
    ids: np.ndarray
    levels: Mapping[str, tuple[Level, ...]]
    codes: Mapping[str, np.ndarray]
    state: np.ndarray
    metrics: Mapping[str, np.ndarray]
    reason: np.ndarray
    reasons: tuple[str, ...] = ("",)
    turns: Turns = field(default_factory=Turns.none)
    base: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    hits: Hits | None = None
    devices: tuple[Device, ...] = ()
    description: str = ""
    spec: str = ""
    source: str = ""
    goals: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def timed(self) -> np.ndarray:
        """Whether each point was measured, and rightly so."""
        return (self.state == "ok") & np.isfinite(self.metric("median_ms"))

    def metric(self, name: str) -> np.ndarray:
        """A metric of all points; NaN where it is not known."""
        found = self.metrics.get(name)
        return np.full(len(self), np.nan) if found is None else found

    def level(self, axis: str, point: int) -> Level:
        """The level of one point on an axis."""
        return self.levels[axis][int(self.codes[axis][point])]

    def right(self, row: int) -> np.ndarray | None:
        """Which test images one point classified rightly, None where that is not known."""
        return None if self.hits is None else self.hits.of(row)

    def point(self, row: int) -> dict[str, Level]:
        """Axis to level of one point."""
        return {axis: self.level(axis, row) for axis in self.levels}

    def has(self, axis: str, *names: Level) -> np.ndarray:
        """Whether each point has one of these levels."""
        wanted = [index for index, level in enumerate(self.levels[axis]) if level in names]
        return np.isin(self.codes[axis], wanted)

    @cached_property
    def varied(self) -> list[str]:
        """The axes on which points differ."""
        return [axis for axis in self.levels if len(np.unique(self.codes[axis])) > 1]

    def rounds(self, row: int) -> list[tuple[int, int, int, float]]:
        """Block, start, round and median in nanoseconds of each turn of a point."""
        first, last = np.searchsorted(self.turns.point, [row, row + 1])
        part = slice(first, last)
        columns = (self.turns.block[part], self.turns.start[part], self.turns.round[part], self.turns.ns[part])
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def groups(self, axes: Sequence[str]) -> np.ndarray:
        """A number for each point: the same for those that are alike on all of `axes`."""
        key = np.zeros(len(self), np.int64)
        for axis in axes:
            key = np.unique(key * len(self.levels[axis]) + self.codes[axis], return_inverse=True)[1]
        return key

    def table(self, choice: Sequence[str], among: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[Level, ...]]]:
        """Points that differ in nothing but `choice`, beside each other.

        Returns the rows of points [cells, choices], -1 where there is none among those that `among` marks; a row of
        one point of each cell, which tells the levels on the other axes; and the levels of each choice.
        """
        rows = np.flatnonzero(among)
        others = [axis for axis in self.levels if axis not in choice]
        if not len(rows):
            return np.empty((0, 0), np.int64), rows, []
        cells, cell = np.unique(self.groups(others)[rows], return_inverse=True)
        combined = np.stack([self.codes[axis][rows] for axis in choice])
        choices, chosen = np.unique(combined, axis=1, return_inverse=True)
        found = np.full((len(cells), choices.shape[1]), -1, np.int64)
        found[cell, chosen.reshape(-1)] = rows
        names = [
            tuple(self.levels[axis][code] for axis, code in zip(choice, column, strict=True)) for column in choices.T
        ]
        return found, found.max(1), names
