"""The columns of a study, out of its store."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlas_mlir.study.axes import NAMES
from dlas_mlir.study.derived import figures
from dlas_mlir.study.results import Device, Hits, Level, Results, Turns
from dlas_mlir.study.rows import PointRow
from dlas_mlir.study.store import StudyStore
from dlas_mlir.toml import tomllib

# A limit on what accuracy may be lost, as a specification's goals have it.
_LOSS = re.compile(r"\s*accuracy_loss\s*<=?\s*([0-9.eE+-]+)\s*")


def read_results(store: StudyStore, source: str) -> Results:
    """All that `store` has; `source` is what the commands call the study. Raises DlasError.

    A point that has left the specification is kept in the state `left`, and nothing is concluded from it.
    """
    rows = list(store.points())
    place = {row.id: number for number, row in enumerate(rows)}
    facts = store.facts()
    told = tomllib.loads(str(facts.get("spec", "")))
    levels, codes = _axes(rows)
    reasons = {reason: code for code, reason in enumerate(dict.fromkeys(["", *(row.reason for row in rows)]))}
    turns, base = _turns(store, rows, place)
    found = figures(store)
    names = dict.fromkeys(name for metrics in found.values() for name in metrics)
    return Results(
        name=str(facts.get("name", "")),
        ids=np.array([row.id for row in rows], dtype="U16"),
        levels=levels,
        codes=codes,
        state=np.array([row.state if row.there else "left" for row in rows], dtype="U16"),
        metrics={
            name: np.array([found.get(row.id, {}).get(name, np.nan) for row in rows], float)
            for name in ("median_ms", *names)
        },
        reason=np.array([reasons[row.reason] for row in rows], np.int32),
        reasons=tuple(reasons),
        turns=turns,
        base=base,
        hits=_hits(store, place),
        devices=_devices(store.devices()),
        description=str(told.get("study", {}).get("description", "")),
        spec=str(facts.get("spec", "")),
        source=source,
        goals=_limits(told),
        provenance={key: str(value) for key, value in _flat(facts.get("provenance", {})).items()},
    )


def _axes(rows: list[PointRow]) -> tuple[dict[str, tuple[Level, ...]], dict[str, np.ndarray]]:
    """The levels of each axis in the order in which points have them, and those of the points."""
    levels: dict[str, tuple[Level, ...]] = {}
    codes: dict[str, np.ndarray] = {}
    for number, name in enumerate(NAMES):
        values = [row.point.levels[number] for row in rows]
        known = {level: code for code, level in enumerate(dict.fromkeys(values))}
        levels[name] = tuple(known)
        codes[name] = np.array([known[value] for value in values], np.int32)
    return levels, codes


def _turns(store: StudyStore, rows: list[PointRow], place: Mapping[str, int]) -> tuple[Turns, np.ndarray]:
    """What was timed for the points as they are now, and what each block compares with: blocks of other versions or
    settings are left out, and so are their members' turns in blocks that are not theirs but for the first's."""
    current = {row.block for row in rows if row.block}
    of = {row.id: row.block for row in rows}
    heads = {block.key: block.points[0] for block in store.blocks() if block.key in current}
    number = {key: code for code, key in enumerate(heads)}
    columns: dict[str, list[float]] = {name: [] for name in ("point", "block", "start", "round", "ns")}
    for block, point, turns in store.turns():
        if block not in heads or point not in place or (block != of[point] and point != heads[block]):
            continue
        for order, turn in enumerate(turns):
            values = (place[point], number[block], turn.start, turn.round or order, statistics.median(turn.ns))
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    base = np.array([place.get(head, -1) for head in heads.values()], np.int32)
    return Turns.of(columns), base


def _hits(store: StudyStore, place: Mapping[str, int]) -> Hits | None:
    found = store.hits()
    if not found:
        return None
    row = np.full(len(place), -1, np.int32)
    bits, images = [], []
    for name, hits in found.items():
        if name in place and 8 * len(hits.bits) >= hits.images:
            row[place[name]] = len(bits)
            bits.append(np.frombuffer(hits.bits, np.uint8))
            images.append(hits.images)
    return Hits(row, bits, images)


def _devices(found: Mapping[str, Mapping[str, Any]]) -> tuple[Device, ...]:
    """In the words of the specification, where it has some, and with what each said of itself."""
    keys = ("description", "gpu", "cpu", "target", "where", "only")
    return tuple(
        Device(
            name, ", ".join(str(facts[key]) for key in keys if facts.get(key) and not (key == "cpu" and "gpu" in facts))
        )
        for name, facts in found.items()
    )


def _limits(spec: Mapping[str, Any]) -> dict[str, float]:
    """The limit on the loss of accuracy among the goals of a specification, if there is one."""
    limits = spec.get("goals", {}).get("limits", [])
    matched = [_LOSS.fullmatch(str(limit)) for limit in limits]
    found = [float(match[1]) for match in matched if match]
    return {"accuracy_loss": min(found)} if found else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key} ") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
