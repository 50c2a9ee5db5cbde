"""The sections of the report of one study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from dlas_mlir.study.analysis import Analysis, milliseconds, percent
from dlas_mlir.study.axes import AXIS, LAYERS
from dlas_mlir.study.findings import Finding
from dlas_mlir.study.findings.correlated import METRICS, TOO_FEW, correlations, settings
from dlas_mlir.study.report.blocks import Answer, Block, Code, Facts, Figure, Heading, Table, Text
from dlas_mlir.study.values import STATES

_MOST_FRONT, _MOST_REASONS, _MOST_CELLS = 20, 30, 60


def sections(analysis: Analysis, findings: list[Finding]) -> list[Block]:
    """All of them, in order."""
    return [
        *_overview(analysis),
        Heading("Findings", "findings"),
        Text(
            "Confirmed: beyond the tie band, beyond chance after Holm's correction, and the same in every process "
            "start. Tie: looked for, and within the noise. Untestable: the data cannot tell."
        ),
        *(Answer(finding) for finding in findings),
        *_front(analysis),
        *_fastest(analysis),
        Heading("Accuracy and time over sparsity", "levels"),
        Text("The least time over primitives and schedules at each level, and the accuracy, with 95 % intervals."),
        Figure("levels", "Time and accuracy over the level of each technique", ("time", "accuracy")),
        *_expected(analysis),
        Heading("Untuned and tuned", "slopes"),
        Text("The same point with one kind of schedule and with another; a line that falls became faster."),
        Figure("slopes", "Time with each kind of schedule over that with the first", below="of"),
        Heading("One device and another", "between"),
        Text("Speed-ups of the same on two devices. Filled: they differ beyond the noise; open: a tie, or untestable."),
        Figure("between", "Speed-ups on one device over those on another"),
        *_correlations(analysis),
        Heading("Parallel coordinates", "parallel"),
        Text("The front and a sample of the others, at most 2,000. Drag along an axis to keep a part of it."),
        Figure("parallel", "Points as lines over all axes and metrics", kind="parallel"),
        *_provenance(analysis),
    ]


def _overview(analysis: Analysis) -> Iterator[Block]:
    results = analysis.results
    yield Heading("Overview", "overview")
    if results.description:
        yield Text(results.description)
    counts = Counter(results.state.tolist())
    failed = sum(counts[state] for state in STATES if state not in ("ok", "planned", "running", "not-applicable"))
    failed -= counts["excluded"] + counts["left"]
    yield Facts(
        [
            ("points", f"{len(results):,}"),
            ("ok", f"{counts['ok']:,}"),
            ("failed", f"{failed:,}"),
            ("not applicable", f"{counts['not-applicable']:,}"),
            ("excluded", f"{counts['excluded']:,}"),
            ("still open", f"{counts['planned'] + counts['running']:,}"),
        ]
    )
    rows = []
    for axis in results.levels:
        used = np.unique(results.codes[axis])
        names = ", ".join(str(results.levels[axis][code]) for code in used[:12])
        more = f", and {len(used) - 12} more" if len(used) > 12 else ""
        rows.append((f"{AXIS[axis].layer} {LAYERS[AXIS[axis].layer]}", axis, str(len(used)), names + more))
    rows.sort()
    yield Table("What varies, by layer of DLAS", ("layer", "axis", "levels", "which"), rows, frozenset({2}))
    yield Table("Devices", ("device", "what it is", "A/A noise", "a tie below"), _devices(analysis), frozenset({2, 3}))
    yield from _failures(analysis)


def _devices(analysis: Analysis) -> list[tuple[str, ...]]:
    results, series = analysis.results, analysis.clock.series
    described = {device.name: device.description for device in results.devices}
    found = []
    for code, name in enumerate(results.levels["device"]):
        noise = percent(float(series.noise[code]))
        found.append((str(name), described.get(str(name), ""), noise, percent(series.band(code), 1)))
    return found


def _failures(analysis: Analysis) -> Iterator[Block]:
    """Every point that is not all right, by state and reason."""
    results = analysis.results
    wrong = np.flatnonzero(results.state != "ok")
    if not len(wrong):
        yield Text("Every point is all right.")
        return
    grouped: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], int] = {}
    for row in wrong.tolist():
        key = str(results.state[row]), results.reasons[int(results.reason[row])]
        grouped[key] += 1
        example.setdefault(key, row)
    order = sorted(grouped, key=lambda key: (STATES.index(key[0]) if key[0] in STATES else 99, -grouped[key]))
    rows = [
        (
            state,
            reason,
            f"{grouped[state, reason]:,}",
            analysis.label(example[state, reason]),
            str(results.ids[example[state, reason]]),
        )
        for state, reason in order[:_MOST_REASONS]
    ]
    more = f" (the first {_MOST_REASONS} of {len(order):,} reasons)" if len(order) > _MOST_REASONS else ""
    columns = ("state", "reason", "points", "for example", "point")
    yield Table(f"What is not all right, and why{more}", columns, rows, frozenset({2}))


def _front(analysis: Analysis) -> Iterator[Block]:
    results = analysis.results
    yield Heading("Pareto front", "front")
    yield Text(
        "No other point of the device and data set is better in one of time, accuracy and size, and at least as good "
        "in the others. The line is the front of the two that are shown. Neighbours on it may be ties."
    )
    yield Figure("front", "Points by time and accuracy; the arrow keys walk along the front", kind="front")
    on_front, time = np.flatnonzero(analysis.front), results.metric("median_ms")
    rows = []
    for row in on_front[np.argsort(time[on_front])][:_MOST_FRONT].tolist():
        size = results.metric("weight_bytes")[row] / 1e6
        figures = (milliseconds(float(time[row])), percent(float(results.metric("accuracy")[row])))
        rows.append((analysis.label(row), *figures, "-" if np.isnan(size) else f"{size:.4g} MB", str(results.ids[row])))
    shown = f"{min(len(on_front), _MOST_FRONT)} of {len(on_front):,}"
    caption = f"The front of time, accuracy and size: {shown}, the fastest first"
    yield Table(caption, ("point", "time", "accuracy", "weights", "id"), rows, frozenset({1, 2, 3}), folded=True)


def _fastest(analysis: Analysis) -> Iterator[Block]:
    yield Heading("The fastest primitive", "heat")
    yield Text("In each cell the primitive of the least time, and how far the next is behind it.")
    yield Figure("heat", "The fastest primitive of each model at each level of compression", kind="heat")
    results, duels = analysis.results, analysis.duels
    if not duels.table.size:
        return
    median = results.metric("median_ms")
    fastest, rows = duels.fastest(median), []
    tied = (duels.table >= 0) & ~duels.beaten
    for cell in range(min(len(duels.table), _MOST_CELLS)):
        best = int(fastest[cell])
        others = [duels.names[i] for i in np.flatnonzero(tied[cell]) if i != best]
        where = analysis.label(int(duels.example[cell]), ("primitive", "format"))
        time = milliseconds(float(median[duels.table[cell, best]]))
        rows.append((where, duels.names[best], time, ", ".join(others) or "none"))
    more = f" (the first {_MOST_CELLS} of {len(duels.table):,} cells)" if len(duels.table) > _MOST_CELLS else ""
    columns = ("where", "fastest", "time", "not shown to be slower")
    yield Table(f"The same as a table{more}", columns, rows, frozenset({2}), folded=True)


def _expected(analysis: Analysis) -> Iterator[Block]:
    yield Heading("Expected and actual speed-up", "bars")
    yield Text("Over the same model, primitive and schedule, uncompressed and dense, in f32.")
    yield Figure("bars", "Expected and actual speed-up of each technique", below="of")
    for each in analysis.means:
        rows = [
            (mean.name, "-" if mean.expected is None else f"{mean.expected:.2f}", f"{mean.actual:.2f}", str(mean.n))
            for mean in each.means
        ]
        left = f" Left out: {', '.join(each.left_out)}." if each.left_out else ""
        caption = f"Geometric means on {each.device} over {', '.join(each.models)}.{left}"
        yield Table(caption, ("technique", "expected", "actual", "n"), rows, frozenset({1, 2, 3}), folded=True)


def _correlations(analysis: Analysis) -> Iterator[Block]:
    yield Heading("Correlations", "correlations")
    found = settings(analysis)
    if not found:
        yield Text(TOO_FEW)
        return
    yield Text("Kendall's tau-b over the uncompressed models, with an interval by drawing models with replacement.")
    for setting in found:
        rows = []
        for (one, other), value in correlations(analysis.results, setting).items():
            tau = "-" if value.tau is None else f"{value.tau:+.2f}"
            interval = "-" if value.tau is None else f"{value.low:+.2f} to {value.high:+.2f}"
            said = "shown" if value.shown else "not shown to be correlated"
            said = "not known of enough models" if value.tau is None else said
            rows.append((f"{METRICS[one]} and {METRICS[other]}", tau, interval, str(value.n), said))
        columns = ("of", "tau-b", "95 % interval", "models", "")
        yield Table(setting.label or setting.device, columns, rows, frozenset({1, 2, 3}))


def _provenance(analysis: Analysis) -> Iterator[Block]:
    results = analysis.results
    yield Heading("Provenance", "provenance")
    yield Table("", ("what", ""), [*results.provenance.items(), ("results", results.source)])
    yield Text(
        f"{len(results.turns):,} turns were timed; blocks of points that take turns with each other: "
        f"{len(np.unique(results.turns.block)):,}. How it is decided what is a difference: docs/studies-statistics.md."
    )
    if results.spec:
        yield Code("The study's file", results.spec)
