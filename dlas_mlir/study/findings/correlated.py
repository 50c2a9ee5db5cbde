"""Do parameters, accuracy and time of models go together?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from dlas_mlir.study.analysis import Analysis, milliseconds, percent
from dlas_mlir.study.contrasts import FASTER, UNTESTABLE
from dlas_mlir.study.findings.finding import PAPER, Finding, Question, counted
from dlas_mlir.study.results import Results
from dlas_mlir.study.statistics import LEVEL, Correlation, holm, kendall, mcnemar
from dlas_mlir.study.techniques import uncompressed

_QUESTION = Question(
    "size-accuracy-time",
    "Are parameters, accuracy and time of models rank-correlated?",
    "Model size, accuracy and inference time need not be correlated.",
    PAPER,
)
METRICS = {"parameters": "parameters", "accuracy": "accuracy", "median_ms": "time"}
# Of fewer an order says nothing.
LEAST_MODELS = 3
TOO_FEW = f"It takes {LEAST_MODELS} uncompressed models that are timed under the same conditions."


@dataclass(frozen=True)
class Setting:
    """The uncompressed models of one data set on one device, all else equal: rows of points, and how."""

    rows: np.ndarray
    label: str
    device: str


def settings(analysis: Analysis) -> list[Setting]:
    """For each device and data set the setting with the most models."""
    results = analysis.results
    rows = np.flatnonzero(results.timed & uncompressed(results))
    axes = [axis for axis in results.levels if axis != "model"]
    group = results.groups(axes)[rows]
    outer = results.groups(["device", "dataset"])[rows]
    found = []
    for place in np.unique(outer):
        numbers, counts = np.unique(group[outer == place], return_counts=True)
        chosen = rows[group == numbers[counts.argmax()]]
        if len(chosen) >= LEAST_MODELS:
            label = analysis.label(int(chosen[0]), ("model",))
            found.append(Setting(chosen, label, str(results.level("device", int(chosen[0])))))
    return found


def correlations(results: Results, setting: Setting) -> dict[tuple[str, str], Correlation]:
    """Kendall's tau-b of each two of the metrics over the models."""
    columns = {name: results.metric(name)[setting.rows] for name in METRICS}
    return {(one, other): kendall(columns[one], columns[other]) for one, other in itertools.combinations(METRICS, 2)}


def correlated(analysis: Analysis) -> Finding:
    """Are parameters, accuracy and time of models rank-correlated?

    That they need not be is shown by a pair of models of which the larger is the faster, or the less accurate; that
    they are not at all is not shown by an interval that holds 0.
    """
    found = settings(analysis)
    if not found:
        return _QUESTION.untestable(TOO_FEW)
    rows, said = [], []
    for setting in found:
        for (one, other), value in correlations(analysis.results, setting).items():
            said.append(value)
            rows.append((setting.label or setting.device, f"{METRICS[one]} and {METRICS[other]}", *_worded(value)))
    faster, faster_tested = _larger_and_faster(analysis, found)
    worse, worse_tested = _larger_and_worse(analysis, found)
    if not faster_tested and not worse_tested:
        return _QUESTION.untestable("No two models were timed often enough, or tested on the same images.")
    examples = [*faster[:3], *worse[:3]]
    rows = [*(("", text, "", "", "") for text in examples), *rows]
    summary = (
        f"{counted(len(faster), 'pair')} of models, of {faster_tested:,}, of which the larger is the faster, and "
        f"{counted(len(worse), 'pair')}, of {worse_tested:,}, of which the larger is the less accurate; "
        f"{counted(sum(value.shown for value in said), 'rank correlation')} of {len(said)} shown."
    )
    columns = ("where", "what", "Kendall's tau-b", "95 % interval", "")
    return _QUESTION.answered(bool(examples), summary, columns, rows, faster_tested + worse_tested)


def _worded(value: Correlation) -> tuple[str, str, str]:
    if value.tau is None:
        return "-", "-", f"not known of enough models (n = {value.n})"
    interval = f"{value.low:.2f} to {value.high:.2f}"
    return f"{value.tau:.2f}", interval, f"{'shown' if value.shown else 'not shown to be correlated'} (n = {value.n})"


def _larger_and_faster(analysis: Analysis, found: list[Setting]) -> tuple[list[str], int]:
    """Pairs of models of which the larger is shown to be the faster, in words, and how many were tested."""
    results = analysis.results
    size, time = results.metric("parameters"), results.metric("median_ms")
    pairs = np.array([pair for each in found for pair in _by_size(each.rows, size)], np.int64).reshape(-1, 2)
    effects = analysis.clock.apart(pairs[:, 0], pairs[:, 1])
    verdict = effects.verdicts()
    words = []
    for large, small in pairs[verdict == FASTER]:
        names = [
            f"{results.level('model', row)} ({size[row]:,.0f}, {milliseconds(float(time[row]))})"
            for row in (large, small)
        ]
        words.append(f"{names[0]} is larger and faster than {names[1]}")
    return words, int((verdict != UNTESTABLE).sum())


def _larger_and_worse(analysis: Analysis, found: list[Setting]) -> tuple[list[str], int]:
    """Pairs of models of which the larger is shown to be the less accurate, likewise."""
    results = analysis.results
    size, accuracy = results.metric("parameters"), results.metric("accuracy")
    pairs = [pair for each in found for pair in _by_size(each.rows, size)]
    p = np.array([mcnemar(results.right(large), results.right(small)) for large, small in pairs])
    words = []
    for (large, small), value in zip(pairs, holm(p), strict=True):
        if value < LEVEL and accuracy[large] < accuracy[small]:
            names = [
                f"{results.level('model', row)} ({size[row]:,.0f}, {percent(float(accuracy[row]))})"
                for row in (large, small)
            ]
            words.append(f"{names[0]} is larger and less accurate than {names[1]}")
    return words, int((~np.isnan(p)).sum())


def _by_size(rows: np.ndarray, size: np.ndarray) -> list[tuple[int, int]]:
    """All pairs of points of which the first has more parameters."""
    ordered = sorted((int(row) for row in rows if np.isfinite(size[row])), key=lambda row: -size[row])
    return [(one, other) for one, other in itertools.combinations(ordered, 2) if size[one] > size[other]]
