"""The report of two studies beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlas_mlir.study.analysis import Analysis, milliseconds, percent
from dlas_mlir.study.comparison import LESS, MORE, Comparison
from dlas_mlir.study.contrasts import VERDICTS
from dlas_mlir.study.findings import find
from dlas_mlir.study.report.blocks import Block, Facts, Figure, Heading, Table, Text
from dlas_mlir.study.report.columns import codes, column

_MOST_ROWS, _MOST_POINTS = 40, 20_000


def sections(comparison: Comparison) -> list[Block]:
    """All of them, in order. A is the first study, B the second."""
    return [
        *_overview(comparison),
        Heading("Times", "times"),
        *_times(comparison),
        Heading("Accuracy", "accuracy"),
        *_accuracy(comparison),
        Heading("States", "states"),
        *_states(comparison),
        Heading("Findings", "findings"),
        *_findings(comparison),
        Heading("Provenance", "provenance"),
        *_provenance(comparison),
    ]


def payload(comparison: Comparison) -> dict[str, Any]:
    """What the figure is drawn from: times in both studies, the verdict, and what each point is."""
    rows = np.flatnonzero(comparison.timed)
    if len(rows) > _MOST_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(np.int64)]
    before, after = comparison.before.results, comparison.after.results
    return {
        "comparison": {
            "x": column(before.metric("median_ms")[comparison.first[rows]].astype(np.float32)),
            "y": column(after.metric("median_ms")[comparison.second[rows]].astype(np.float32)),
            "verdict": codes(comparison.verdict[rows] + 1),
            "verdicts": [VERDICTS[code] for code in sorted(VERDICTS)],
            "codes": {axis: codes(values[comparison.first[rows]]) for axis, values in before.codes.items()},
        },
        "axes": {axis: [str(level) for level in levels] for axis, levels in before.levels.items()},
        "varied": before.varied,
    }


def _overview(comparison: Comparison) -> Iterator[Block]:
    before, after = comparison.before.results, comparison.after.results
    both, mean, counts = len(comparison.first), comparison.mean, comparison.counts
    yield Heading("Overview", "overview")
    yield Text(f"A is {before.name} ({before.source}), B is {after.name} ({after.source}).")
    yield Facts(
        [
            ("in both", f"{both:,}"),
            ("only in A", f"{len(before) - both:,}"),
            ("only in B", f"{len(after) - both:,}"),
            ("timed in both", f"{int(comparison.timed.sum()):,}"),
            *((f"{name} in B", f"{counts[name]:,}") for name in ("faster", "tie", "slower", "untestable")),
            ("B / A, geometric mean", "-" if mean is None else f"{mean:.3f}"),
        ]
    )
    yield Text(
        "The two were not timed in turns with each other, so what the machine did meanwhile is in the difference: the "
        "variance between process starts is taken whole. All points are one family."
    )


def _times(comparison: Comparison) -> Iterator[Block]:
    yield Figure("comparison", "Times in B over times in A; below the line B is faster")
    changed = comparison.changed()
    if not len(changed):
        yield Text("No time differs beyond the noise.")
        return
    before, after = comparison.before.results.metric("median_ms"), comparison.after.results.metric("median_ms")
    shown = changed[:_MOST_ROWS]
    ratios = comparison.before.ratios(comparison.effects.at(shown))
    rows = [
        (
            comparison.before.label(int(comparison.first[i])),
            milliseconds(float(before[comparison.first[i]])),
            milliseconds(float(after[comparison.second[i]])),
            ratio,
            VERDICTS[int(comparison.verdict[i])],
        )
        for i, ratio in zip(shown, ratios, strict=True)
    ]
    caption = f"The largest differences: {len(rows)} of {len(changed):,}"
    yield Table(caption, ("point", "A", "B", "B / A [95 %]", "B is"), rows, frozenset({1, 2, 3}))


def _accuracy(comparison: Comparison) -> Iterator[Block]:
    before, after = comparison.before.results, comparison.after.results
    differ = [i for i, said in enumerate(comparison.accuracy) if said in (MORE, LESS)]
    tested = sum(said != "untestable" for said in comparison.accuracy)
    yield Text(f"{len(differ):,} of {tested:,} that are known image by image differ beyond chance (McNemar, Holm).")
    rows = []
    for i in differ[:_MOST_ROWS]:
        values = [
            percent(float(results.metric("accuracy")[rows_[i]]))
            for results, rows_ in ((before, comparison.first), (after, comparison.second))
        ]
        rows.append((comparison.before.label(int(comparison.first[i])), *values, f"{comparison.accuracy[i]} accurate"))
    yield Table("", ("point", "A", "B", "B is"), rows, frozenset({1, 2}))


def _states(comparison: Comparison) -> Iterator[Block]:
    counts = comparison.states()
    rows = [(one, other, f"{count:,}") for (one, other), count in counts.most_common() if one != other]
    if not rows:
        yield Text("Every point is in the same state in both.")
        return
    before, after = comparison.before.results, comparison.after.results
    examples = []
    for one, other, count in rows[:_MOST_ROWS]:
        same = (before.state[comparison.first] == one) & (after.state[comparison.second] == other)
        place = int(np.flatnonzero(same)[0])
        row = int(comparison.second[place])
        reason = after.reasons[int(after.reason[row])] or before.reasons[int(before.reason[comparison.first[place]])]
        examples.append((one, other, count, comparison.after.label(row), reason))
    columns = ("in A", "in B", "points", "for example", "reason")
    yield Table("Points whose state differs", columns, examples, frozenset({2}))


def _findings(comparison: Comparison) -> Iterator[Block]:
    one, other = ({finding.key: finding for finding in find(each)} for each in (comparison.before, comparison.after))
    rows = []
    for key, finding in one.items():
        verdicts = [finding.verdict, other[key].verdict]
        rows.append((finding.question, *verdicts, "" if verdicts[0] == verdicts[1] else "differs"))
    yield Table("", ("question", "A", "B", ""), rows)


def _provenance(comparison: Comparison) -> Iterator[Block]:
    parts: list[Analysis] = [comparison.before, comparison.after]
    found = [each.results.provenance for each in parts]
    rows = [(key, *(each.get(key, "-") for each in found)) for key in dict.fromkeys([*found[0], *found[1]])]
    yield Table("", ("what", "A", "B"), [("results", *(each.results.source for each in parts)), *rows])
