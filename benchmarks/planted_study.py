"""Studies with known truth: times and accuracies that are made up, with the noise of a machine, for tests of what is
concluded from them, and of how long that takes for many points."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dlas_mlir.study.axes import AXES
from dlas_mlir.study.results import Device, Hits, Level, Results, Turns
from dlas_mlir.study.values import Point

# The true milliseconds of a point; None: it fails.
Truth = Callable[[Mapping[str, Level]], float | None]


class Timer(Protocol):
    """Where times come from."""

    def sample(self, source: np.random.Generator, true: np.ndarray, rounds: int, starts: int) -> np.ndarray:
        """Milliseconds [members, starts, rounds of a start] of a block with these true times."""
        ...


@dataclass(frozen=True)
class Machine:
    """Standard deviations of logarithms of times: of a round, of a process start, of what all share in a round, and
    how often a start is slower by how much."""

    round: float = 0.01
    start: float = 0.005
    drift: float = 0.02
    odd_starts: float = 0.0
    odd_by: float = 0.0

    def sample(self, source: np.random.Generator, true: np.ndarray, rounds: int, starts: int) -> np.ndarray:
        """Milliseconds [members, starts, rounds of a start] of a block with these true times."""
        each = rounds // starts
        shared = source.normal(0, self.drift, (1, starts, each))
        of_start = source.normal(0, self.start, (len(true), starts, 1))
        of_start += self.odd_by * (source.random((len(true), starts, 1)) < self.odd_starts)
        noise = source.normal(0, self.round, (len(true), starts, each))
        return true[:, None, None] * np.exp(shared + of_start + noise)


# What is compared in one block.
COMPARE = ("compression", "primitive", "format", "schedule", "element")
_BLOCK = 8


def study(
    axes: Mapping[str, Sequence[Level]],
    truth: Truth,
    *,
    machine: Timer | None = None,
    rounds: int = 10,
    starts: int = 2,
    seed: int = 0,
    metrics: Callable[[Mapping[str, Level]], Mapping[str, float]] = lambda point: {},
    accuracy: Callable[[Mapping[str, Level]], float] | None = None,
    images: int = 2000,
    compare: Sequence[str] = COMPARE,
) -> Results:
    """The grid of `axes` (what is left out has its default), measured in blocks of points that differ only on the axes
    of `compare`. `accuracy` is the true share of right images, of which `images` are drawn."""
    source = np.random.default_rng(seed)
    levels = _levels(axes)
    grid = list(itertools.product(*(range(len(values)) for values in levels.values())))
    indices = np.array(grid, np.int32).reshape(-1, len(levels))
    codes = {name: indices[:, place] for place, name in enumerate(levels)}
    points = [{name: levels[name][code] for name, code in zip(levels, row, strict=True)} for row in grid]
    times = [truth(point) for point in points]
    right = np.array([time is not None for time in times])
    true = np.array([np.nan if time is None else time for time in times])
    turns, base, median = _measure(points, true, compare, machine or Machine(), rounds, starts, source)
    columns = {"median_ms": median, "low_ms": 0.98 * median, "high_ms": 1.02 * median}
    found = [metrics(point) for point in points]
    for name in {key: None for each in found for key in each}:
        columns[name] = np.array([each.get(name, np.nan) for each in found])
    hits = None
    if accuracy is not None:
        hits, correct = _hits(points, accuracy, images, source)
        columns |= {"accuracy": correct / images, "correct": correct, "images": np.full(len(points), float(images))}
        columns = {name: np.where(right, values, np.nan) for name, values in columns.items()}
    return Results(
        name="planted",
        ids=np.array([Point.from_dict(point).id for point in points]),
        levels=levels,
        codes=codes,
        state=np.where(right, "ok", "crash"),
        metrics=columns,
        reason=np.where(right, 0, 1).astype(np.int32),
        reasons=("", "signal 11 in `main`"),
        turns=turns,
        base=base,
        hits=hits,
        devices=tuple(Device(str(name), "made up") for name in levels["device"]),
        description="A study with known truth",
        source="planted.db",
    )


def _levels(axes: Mapping[str, Sequence[Level]]) -> dict[str, tuple[Level, ...]]:
    """Those of every axis: of one that is left out its default."""
    return {axis.name: tuple(axes.get(axis.name, () if axis.default is None else (axis.default,))) for axis in AXES}


def _measure(
    points: Sequence[Mapping[str, Level]],
    true: np.ndarray,
    compare: Sequence[str],
    machine: Timer,
    rounds: int,
    starts: int,
    source: np.random.Generator,
) -> tuple[Turns, np.ndarray, np.ndarray]:
    groups: dict[tuple[Level, ...], list[int]] = {}
    for row, point in enumerate(points):
        if not np.isnan(true[row]):
            groups.setdefault(tuple(level for name, level in point.items() if name not in compare), []).append(row)
    blocks = [block for members in groups.values() for block in _split(members)]
    each = rounds // starts
    parts: list[tuple[np.ndarray, ...]] = []
    median = np.full(len(points), np.nan)
    for number, members in enumerate(blocks):
        times = machine.sample(source, true[members], rounds, starts)
        index = np.indices(times.shape)
        row = np.array(members)[index[0]]
        parts.append((row, np.full_like(row, number), index[1], index[1] * each + index[2], times * 1e6))
        median[members] = np.median(times.reshape(len(members), -1), axis=1)
    names = ("point", "block", "start", "round", "ns")
    joined = [np.concatenate([part[i].ravel() for part in parts]) for i in range(5)] if parts else [()] * 5
    return Turns.of(dict(zip(names, joined, strict=True))), np.array([block[0] for block in blocks], np.int32), median


def _split(members: list[int]) -> list[list[int]]:
    """Blocks of at most eight, each with the same first point."""
    base, others = members[0], members[1:]
    size = _BLOCK - 1
    return [[base, *others[i : i + size]] for i in range(0, max(len(others), 1), size)]


def _hits(
    points: Sequence[Mapping[str, Level]],
    accuracy: Callable[[Mapping[str, Level]], float],
    images: int,
    source: np.random.Generator,
) -> tuple[Hits, np.ndarray]:
    """Images have a difficulty of their own, the same for all: what one gets wrong another is likely to."""
    difficulty = source.random(images)
    row, bits, correct, known = np.empty(len(points), np.int32), [], np.empty(len(points)), {}
    for number, point in enumerate(points):
        key = tuple(
            level for name, level in point.items() if name not in ("threads", "schedule", "primitive", "device")
        )
        if key not in known:
            right = difficulty + source.normal(0, 0.003, images) < accuracy(point)
            known[key] = len(bits)
            bits.append(np.packbits(right))
        row[number] = known[key]
        correct[number] = np.unpackbits(bits[known[key]], count=images).sum()
    return Hits(row, bits, [images] * len(bits)), correct
