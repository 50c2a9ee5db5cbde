"""A study as tables, for other tools."""

from __future__ import annotations

import statistics
from typing import Any

from dlas_mlir.study.axes import METRICS, NAMES
from dlas_mlir.study.derived import figures
from dlas_mlir.study.store import StudyStore


def point_columns(store: StudyStore) -> dict[str, list[Any]]:
    """A row for each point: id, levels, state, reason, figures (None where there is none), block and key."""
    known = figures(store)
    rows = list(store.points())
    columns: dict[str, list[Any]] = {"id": [row.id for row in rows]}
    for place, name in enumerate(NAMES):
        columns[name] = [row.point.levels[place] for row in rows]
    columns["state"] = [row.state if row.there else "left" for row in rows]
    columns["reason"] = [row.reason for row in rows]
    for metric in METRICS:
        columns[metric] = [known.get(row.id, {}).get(metric) for row in rows]
    columns["block"] = [row.block for row in rows]
    columns["key"] = [row.key for row in rows]
    return columns


def turn_columns(store: StudyStore) -> dict[str, list[Any]]:
    """A row for each turn: whose, in which block, of which process start, in which round; its median in nanoseconds
    and all calls."""
    columns: dict[str, list[Any]] = {name: [] for name in ("point", "block", "start", "round", "median_ns", "ns")}
    for block, point, turns in store.turns():
        for number, turn in enumerate(turns):
            row = (point, block, turn.start, number, statistics.median(turn.ns), list(turn.ns))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return columns
