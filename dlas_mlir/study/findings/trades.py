"""What accuracy costs: the fastest of what is as accurate as the original, and the most accurate of what is as fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlas_mlir.study.analysis import SUBJECT, Analysis, milliseconds, percent
from dlas_mlir.study.contrasts import FASTER, UNTESTABLE, joined
from dlas_mlir.study.findings.finding import OURS, Finding, Question, counted, why_not
from dlas_mlir.study.statistics import LEVEL, holm, mcnemar
from dlas_mlir.study.techniques import technique_of, uncompressed

_TIME = Question(
    "time-at-equal-accuracy",
    "Which technique is the fastest at the accuracy of the original?",
    "Compression makes a network faster without making it less accurate.",
    OURS,
)
_ACCURACY = Question(
    "accuracy-at-equal-time",
    "Which technique is the most accurate within half the time of the original?",
    "Techniques differ in what their speed costs.",
    OURS,
)
# Loss of accuracy that is called none, where the study does not say.
_LEAST_LOSS = 0.01
# Of the time of the original.
_BUDGET = 0.5


@dataclass(frozen=True)
class Subject:
    """A model on a data set and a device: its points, and the fastest uncompressed one, in f32."""

    rows: np.ndarray
    base: int
    label: str


def subjects(analysis: Analysis) -> Iterator[Subject]:
    """All that have an uncompressed point with time and accuracy."""
    results = analysis.results
    time, known = results.metric("median_ms"), np.isfinite(results.metric("accuracy")) & results.timed
    group = results.groups(SUBJECT)
    plain = uncompressed(results) & known & results.has("format", "dense")
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        bases = rows[plain[rows]]
        if len(bases):
            base = int(bases[time[bases].argmin()])
            label = analysis.label(base, [axis for axis in results.levels if axis not in SUBJECT])
            yield Subject(rows[known[rows]], base, label)


def time_at_equal_accuracy(analysis: Analysis) -> Finding:
    """Of what loses no accuracy: the fastest, beside the fastest uncompressed one."""
    results = analysis.results
    limit = float(results.goals.get("accuracy_loss", _LEAST_LOSS))
    time, accuracy = results.metric("median_ms"), results.metric("accuracy")
    found, parts, compressed = [], [], ~uncompressed(results)
    for subject in subjects(analysis):
        loss = accuracy[subject.base] - accuracy[subject.rows]
        rows = subject.rows[(loss <= limit) & compressed[subject.rows]]
        if len(rows):
            found.append((subject, rows))
            parts.append(analysis.clock.paired(rows, np.full(len(rows), subject.base)))
    if not parts:
        return _TIME.untestable(f"No compressed point has time and accuracy, and loses at most {percent(limit, 1)}.")
    family = joined(parts)
    verdicts = np.split(family.verdicts(), np.cumsum([len(part) for part in parts])[:-1])
    tested = sum(int((verdict != UNTESTABLE).sum()) for verdict in verdicts)
    if not tested:
        return _TIME.untestable(why_not(family.reason, len(family)))
    rows, gained = [], 0
    for (subject, points), part, verdict in zip(found, parts, verdicts, strict=True):
        best = int(time[points].argmin())
        gained += bool((verdict == FASTER).any())
        row = int(points[best])
        what = "faster" if verdict[best] == FASTER else "tie" if verdict[best] == 0 else "slower"
        what = "untestable" if verdict[best] == UNTESTABLE else what
        (ratio,) = analysis.ratios(part.at(np.array([best])), inverse=True)
        loss = percent(float(accuracy[subject.base] - accuracy[row]))
        rows.append((subject.label, _how(analysis, row), milliseconds(float(time[row])), ratio, what, loss))
    summary = (
        f"For {gained} of {counted(len(found), 'model')} something compressed is faster than the fastest original, and "
        f"loses at most {percent(limit, 1)} of the images."
    )
    columns = ("model", "fastest at equal accuracy", "time", "speed-up over the fastest original", "it is", "loss")
    return _TIME.answered(gained > 0, summary, columns, rows, tested)


def accuracy_at_equal_time(analysis: Analysis) -> Finding:
    """Of what takes at most half the time of the original: which technique is the most accurate?"""
    results = analysis.results
    time, accuracy = results.metric("median_ms"), results.metric("accuracy")
    duels = []
    for subject in subjects(analysis):
        within = subject.rows[time[subject.rows] <= _BUDGET * time[subject.base]]
        best: dict[str, int] = {}
        for row in within[np.argsort(-accuracy[within], kind="stable")].tolist():
            best.setdefault(_technique(analysis, row), row)
        if len(best) > 1:
            first, *others = best.values()
            duels += [(subject, first, other) for other in others]
    if not duels:
        return _ACCURACY.untestable("For no model are two techniques within half the time of the fastest original.")
    p = np.array([mcnemar(results.right(first), results.right(other)) for _, first, other in duels])
    if np.isnan(p).all():
        return _ACCURACY.untestable("It is not known which images were classified rightly.")
    adjusted, rows = holm(p), []
    for place in np.argsort(adjusted, kind="stable"):  # what is not known comes last
        subject, first, other = duels[place]
        names = [f"{_how(analysis, row)} ({percent(float(accuracy[row]))})" for row in (first, other)]
        value = float(adjusted[place])
        what = "untestable" if np.isnan(value) else "more accurate" if value < LEVEL else "tie"
        rows.append((subject.label, *names, "-" if np.isnan(value) else f"{value:.2g}", what))
    shown, tested = int((adjusted < LEVEL).sum()), int((~np.isnan(p)).sum())
    summary = f"{shown:,} of {counted(tested, 'pair')} of techniques differ in accuracy beyond chance, at that time."
    columns = ("model", "most accurate", "other technique", "p (McNemar, Holm)", "the first is")
    return _ACCURACY.answered(shown > 0, summary, columns, rows, tested)


def _technique(analysis: Analysis, row: int) -> str:
    results = analysis.results
    found = technique_of(str(results.level("compression", row)), str(results.level("element", row)))
    return found.name if found else "none"


def _how(analysis: Analysis, row: int) -> str:
    return analysis.label(row, SUBJECT)
