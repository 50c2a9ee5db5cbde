"""What the figures of a report are drawn from, as a value of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlas_mlir.measure.stats import wilson
from dlas_mlir.study.analysis import SUBJECT, Analysis
from dlas_mlir.study.contrasts import UNTESTABLE
from dlas_mlir.study.duels import CHOICE
from dlas_mlir.study.report.columns import codes, column
from dlas_mlir.study.results import Results
from dlas_mlir.study.techniques import technique_of, uncompressed

# Lines of the slope chart, points between devices, lines of the parallel coordinates.
_SLOPES, _BETWEEN, _PARALLEL = 2000, 5000, 2000
SCHEDULES = ("naive", "rule", "transferred", "tuned")
METRICS = ("median_ms", "accuracy", "weight_bytes")


def payload(analysis: Analysis) -> dict[str, Any]:
    """All figures. Points are numbered by their place among those that were timed."""
    results = analysis.results
    rows = np.flatnonzero(results.timed)
    place = np.full(len(results), -1, np.int64)
    place[rows] = np.arange(len(rows))
    fronts = analysis.front
    return {
        "source": results.source,
        "axes": {axis: [str(level) for level in levels] for axis, levels in results.levels.items()},
        "varied": [axis for axis in results.levels if len(np.unique(results.codes[axis][rows])) > 1],
        "codes": {axis: codes(values[rows]) for axis, values in results.codes.items()},
        "ids": column(_bytes_of(results.ids[rows])),
        "metrics": {name: column(results.metric(name)[rows].astype(np.float32)) for name in METRICS},
        "front": column(fronts[rows].astype(np.uint8)),
        "technique": _techniques(results, rows),
        "heat": _heat(analysis, place),
        "levels": _over_levels(analysis),
        "bars": _bars(analysis),
        "slopes": _slopes(analysis),
        "between": _between(analysis, place),
        "parallel": codes(_parallel(fronts[rows])),
    }


def _bytes_of(ids: np.ndarray) -> np.ndarray:
    """Identifiers of 16 hex digits as bytes."""
    return np.frombuffer(bytes.fromhex("".join(ids.tolist())), np.uint8) if len(ids) else np.empty(0, np.uint8)


def _techniques(results: Results, rows: np.ndarray) -> dict[str, Any]:
    """The name of each point's technique."""
    pairs = results.codes["compression"][rows].astype(np.int64) * len(results.levels["element"])
    distinct, which = np.unique(pairs + results.codes["element"][rows], return_inverse=True)
    found = []
    for pair in distinct:
        compression, element = divmod(int(pair), len(results.levels["element"]))
        technique = technique_of(
            str(results.levels["compression"][compression]), str(results.levels["element"][element])
        )
        found.append(technique.name if technique else "none")
    names = sorted(set(found), key=lambda name: (name != "none", name))
    order = np.array([names.index(name) for name in found], np.int64)
    return {"names": names, "codes": codes(order[which] if len(rows) else which)}


def _heat(analysis: Analysis, place: np.ndarray) -> dict[str, Any]:
    """Of each cell the fastest choice, what could be as fast (a bit for each choice), and what it is ahead by."""
    duels, median = analysis.duels, analysis.results.metric("median_ms")
    fastest = duels.fastest(median)
    times = np.where(duels.table >= 0, median[duels.table], np.inf) if duels.table.size else np.empty((0, 1))
    ordered = np.sort(times, axis=1)
    second = ordered[:, 1] / ordered[:, 0] if ordered.shape[1] > 1 else np.full(len(times), np.inf)
    tied = (duels.table >= 0) & ~duels.beaten
    # Beyond as many bits as a page's numbers have, nothing is said of ties.
    bits = (tied[:, :31] * (1 << np.arange(min(tied.shape[1], 31)))).sum(1) if tied.size else np.empty(0, np.int64)
    unknown = np.zeros(len(duels.table), bool)
    unknown[duels.cell[duels.verdict == UNTESTABLE]] = True
    return {
        "choice": list(CHOICE),
        "names": duels.names,
        "point": codes(place[duels.example]),
        "fastest": codes(fastest),
        "tied": column(bits.astype(np.uint32)),
        "ahead": column(np.where(np.isfinite(second), second, 0).astype(np.float32)),
        "time": column((ordered[:, 0] if len(ordered) else np.empty(0)).astype(np.float32)),
        "unknown": column(unknown.astype(np.uint8)),
    }


def _over_levels(analysis: Analysis) -> list[dict[str, Any]]:
    """Of each model in each setting, and each technique with levels: accuracy and the least time at each level."""
    results = analysis.results
    setting, median = results.groups(SUBJECT), results.metric("median_ms")
    kept = results.timed
    key = setting * len(results.levels["compression"]) + results.codes["compression"]
    key = (key * len(results.levels["element"]) + results.codes["element"]) * 2 + results.has("format", "sparse")
    order = np.lexsort((median, key))
    order = order[kept[order]]
    _, first = np.unique(key[order], return_index=True)
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    plain = uncompressed(results)
    bases = {int(setting[row]): row for row in order[first][::-1] if plain[row]}
    for row in order[first].tolist():
        point = results.point(row)
        technique = technique_of(str(point["compression"]), str(point["element"]))
        if technique is None or technique.amount is None:
            continue
        where = tuple(str(point[axis]) for axis in SUBJECT)
        name = technique.name + (", sparse" if point["format"] == "sparse" else "")
        line = lines.setdefault(
            (*where, name),
            {"where": where, "name": name, "points": [], "base": _measured(results, bases.get(int(setting[row])))},
        )
        line["points"].append({"amount": technique.amount, **_measured(results, row)})
    for line in lines.values():
        line["points"].sort(key=lambda each: each["amount"])
    return list(lines.values())


def _measured(results: Results, row: int | None) -> dict[str, Any]:
    """Time and accuracy with their intervals; null for what is not known."""
    if row is None:
        return {}
    found = {name: _number(results.metric(name)[row]) for name in ("median_ms", "low_ms", "high_ms", "accuracy")}
    correct, images = (_number(results.metric(name)[row]) for name in ("correct", "images"))
    if correct is not None and images:
        found["low"], found["high"] = wilson(round(correct), round(images))
    return found


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _bars(analysis: Analysis) -> list[dict[str, Any]]:
    found = []
    for each in analysis.means:
        bars = [
            {
                "name": mean.name,
                "actual": _number(mean.actual),
                "expected": mean.expected and _number(mean.expected),
                "n": mean.n,
            }
            for mean in each.means
        ]
        found.append({"device": each.device, "models": each.models, "left": each.left_out, "bars": bars})
    return found


def _slopes(analysis: Analysis) -> dict[str, Any]:
    """Times with each schedule, of all that was timed with two or more."""
    results = analysis.results
    table, example, names = results.table(("schedule",), results.timed)
    order = [i for name in SCHEDULES for i, level in enumerate(names) if level[0] == name]
    several = np.flatnonzero((table >= 0).sum(1) > 1) if table.size else np.empty(0, np.int64)
    chosen = several[_spread(len(several), _SLOPES)]
    median = results.metric("median_ms")
    lines = [
        {
            "label": analysis.label(int(example[cell]), ("schedule", "device")),
            "device": str(results.level("device", int(example[cell]))),
            "primitive": str(results.level("primitive", int(example[cell]))),
            "times": [_number(float(median[table[cell, i]])) if table[cell, i] >= 0 else None for i in order],
        }
        for cell in chosen
    ]
    return {"levels": [str(names[i][0]) for i in order], "lines": lines, "of": len(several)}


def _between(analysis: Analysis, place: np.ndarray) -> dict[str, Any]:
    """Speed-ups on one device and on another."""
    speedups = analysis.speedups
    effects, one, other = analysis.between_devices
    verdict = effects.verdicts()
    known = np.flatnonzero(np.isfinite(effects.log))
    chosen = known[_spread(len(known), _BETWEEN)]
    actual = speedups.actual
    return {
        "first": codes(place[speedups.point[one[chosen]]]),
        "second": codes(place[speedups.point[other[chosen]]]),
        "x": column(actual[one[chosen]].astype(np.float32)),
        "y": column(actual[other[chosen]].astype(np.float32)),
        "differs": column(((verdict[chosen] != 0) & (verdict[chosen] != UNTESTABLE)).astype(np.uint8)),
        "of": len(known),
    }


def _parallel(on_front: np.ndarray) -> np.ndarray:
    """The front, and as many others, spread over all."""
    ahead, others = np.flatnonzero(on_front)[:_PARALLEL], np.flatnonzero(~on_front)
    return np.sort(np.concatenate([ahead, others[_spread(len(others), _PARALLEL - len(ahead))]]))


def _spread(count: int, most: int) -> np.ndarray | Sequence[int]:
    """At most so many numbers below `count`, evenly."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)
