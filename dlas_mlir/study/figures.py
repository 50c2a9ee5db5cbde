"""The figures of one point, from what its steps and its block came to."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlas_mlir.measure import stats
from dlas_mlir.measure.turn import Turn
from dlas_mlir.study.rows import Metric

_OF_ARTIFACTS = ("weight_bytes", "parameters", "macs", "effective_macs", "expected_speedup", "compile_seconds")


def figures_of(turns: Sequence[Turn], steps: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """Metrics of a point, of its times where it has `turns`; `steps` are the results of its steps by kind."""
    return [*(_times(turns) if turns else ()), *_accuracy(steps.get("accuracy")), *_artifact(steps["compile"])]


def _times(turns: Sequence[Turn]) -> Iterator[Metric]:
    rounds = np.array([[statistics.median(turn.ns) / 1e6 for turn in turns]])
    low, high = stats.median_intervals(rounds, np.array([turn.start for turn in turns]))
    median, low, high = float(np.median(rounds)), float(np.ravel(low)[0]), float(np.ravel(high)[0])
    yield Metric(name="median_ms", value=median, low=low, high=high)
    yield Metric(name="low_ms", value=low)
    yield Metric(name="high_ms", value=high)


def _accuracy(found: Mapping[str, Any] | None) -> Iterator[Metric]:
    if found is None:
        return
    correct, images = found["correct"], found["images"]
    low, high = stats.wilson(correct, images)
    yield Metric(name="accuracy", value=correct / images, low=low, high=high)
    yield Metric(name="correct", value=correct)
    yield Metric(name="images", value=images)


def _artifact(compiled: Mapping[str, Any]) -> Iterator[Metric]:
    for name in _OF_ARTIFACTS:
        if compiled[name] is not None:
            yield Metric(name=name, value=compiled[name])
