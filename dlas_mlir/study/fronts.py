"""Pareto fronts: the points that no other is better than in one goal and at least as good as in all others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from dlas_mlir.study.results import Results


def front(costs: np.ndarray) -> np.ndarray:
    """Which rows of `costs` [n, goals], all to be small, are on the front; equal rows are on it together, and a row
    with a NaN never. O(n log n) for two goals, and nearly so for three."""
    known = ~np.isnan(costs).any(1)
    found = np.zeros(len(costs), bool)
    rows = np.flatnonzero(known)
    if not len(rows) or not costs.shape[1]:
        found[rows] = True
        return found
    distinct, which = np.unique(costs[rows], axis=0, return_inverse=True)
    goals = distinct.shape[1]
    kept = _of_two(distinct) if goals <= 2 else _of_three(distinct) if goals == 3 else _of_many(distinct)
    found[rows] = kept[which.reshape(-1)]
    return found


def front_of(results: Results) -> np.ndarray:
    """Which points are on the front of their device and data set: accuracy, time, size, as far as they are known."""
    found = np.zeros(len(results), bool)
    where = results.groups(["device", "dataset"])
    goals = np.stack([results.metric("median_ms"), -results.metric("accuracy"), results.metric("weight_bytes")], 1)
    for group in np.unique(where[results.timed]):
        rows = np.flatnonzero((where == group) & results.timed)
        known = goals[rows][:, ~np.isnan(goals[rows]).all(0)]
        found[rows] = front(known)
    return found


def _of_two(ordered: np.ndarray) -> np.ndarray:
    """Of distinct rows in order: those whose last goal is below that of all before."""
    last = ordered[:, -1] if ordered.shape[1] == 2 else np.arange(len(ordered), dtype=float)
    before = np.concatenate([[np.inf], np.minimum.accumulate(last)[:-1]])
    return last < before


def _of_three(ordered: np.ndarray) -> np.ndarray:
    """The same with a staircase of the last two goals: sorted by the second, the third falls."""
    kept = np.zeros(len(ordered), bool)
    second: list[float] = []
    third: list[float] = []
    for row, (_, y, z) in enumerate(ordered.tolist()):
        place = bisect_right(second, y)
        if place and third[place - 1] <= z:
            continue
        kept[row] = True
        begin = bisect_left(second, y)
        end = begin
        while end < len(second) and third[end] >= z:
            end += 1
        second[begin:end], third[begin:end] = [y], [z]
    return kept


def _of_many(ordered: np.ndarray) -> np.ndarray:
    """The same for more goals: in order of their sums none is dominated by one that comes later."""
    kept = np.zeros(len(ordered), bool)
    best = np.empty((0, ordered.shape[1]))
    spread = np.ptp(ordered, axis=0)
    scaled = (ordered - ordered.min(0)) / np.where(spread > 0, spread, 1)
    for row in np.lexsort([*ordered.T[::-1], scaled.sum(1)]):
        if not ((best <= ordered[row]).all(1)).any():
            kept[row] = True
            best = np.vstack([best, ordered[row]])
    return kept
