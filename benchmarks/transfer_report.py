"""The results of benchmarks.transfer: figures of each case, tables in Markdown, a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import write_text

# A search that gains less than this has nothing of which a fraction could be reached.
_LEAST_GAIN = 0.01
WAYS = ("fitted, best score", "fitted, all mixed", "as-is, best score", "as-is, all mixed")
NOTES = """Leaving one model out: each model is given schedules that searches of the others found. *Gain* is the time of
its kernels at the start over that after a full search, each kernel timed in place. A
*fraction* is (start / transferred - 1) / (start / full - 1). *Fitted* is `dlas tune --transfer-from`: at most 5
candidates a layer, fitted to its loops, from the one model with the best score or from all mixed. *As-is* is the method
of the paper: all schedules of the same fused operations, unchanged, what does not fit is left out, with its score. *In
hindsight* is the best single source. *Search* is how many schedules a layer the full search needed to be as fast, over
how many the transfer tried a layer at most (more than that where it never was). From the
rule's schedules, what a search and each way choose is timed once more, in turns with them, {rounds} rounds, and that
counts: the least of many noisy times flatters whoever tries more, and what does not beat the rule's by more than noise
counts as them. From naive schedules, which take several times as long, times count as they were tried."""


def row(full: Mapping[str, Any], brought: Mapping[str, Any]) -> dict[str, Any]:
    """One case: `full` is its search, `brought` what all ways to transfer came to."""
    kernels = {key: one for key, one in brought["kernels"].items() if one["start"] is not None and key in full["tried"]}
    shares = {key: one["share"] for key, one in kernels.items()}
    curve = _curve(shares, {key: one["start"] for key, one in kernels.items()}, full["tried"])
    start = total(shares, {key: one["kept"] for key, one in kernels.items()})
    ends = (start, total(shares, brought["full"]))
    found: dict[str, Any] = {"case": brought["case"], "gain": ends[0] / ends[1], "network": full["network"]}
    found["trials"] = statistics.median_low(len(full["tried"][key]) for key in shares)
    for method in ("fitted", "as-is"):
        ways = [way for way in brought["ways"] if way["method"] == method and way["kept"]]
        single = [_figures(way, shares, ends, curve) for way in ways if way["source"] != "all mixed"]
        mixed = [_figures(way, shares, ends, curve) for way in ways if way["source"] == "all mixed"]
        found[f"{method}, best score"] = max(single, key=lambda one: one["score"])
        found[f"{method}, in hindsight"] = min(single, key=lambda one: one["tried_time"])
        found[f"{method}, all mixed"] = mixed[0]
    return found


def total(shares: Mapping[str, float], ratios: Mapping[str, float]) -> float:
    """The time of all kernels, over that with the rule's schedules."""
    return sum(shares[key] * ratios[key] for key in shares) / sum(shares.values())


def _curve(
    shares: Mapping[str, float], start: Mapping[str, float], tried: Mapping[str, Sequence[float | None]]
) -> list[float]:
    """The time after 0, 1, 2 ... schedules of each kernel."""
    best, found = dict(start), [total(shares, start)]
    for number in range(max((len(tried[key]) for key in shares), default=0)):
        for key in shares:
            ratio = tried[key][number] if number < len(tried[key]) else None
            if ratio is not None:
                best[key] = min(best[key], ratio)
        found.append(total(shares, best))
    return found


def _figures(
    way: Mapping[str, Any], shares: Mapping[str, float], ends: tuple[float, float], curve: Sequence[float]
) -> dict[str, Any]:
    """`ends` are the times at the start and after the full search, timed once more; `curve` is that of the search as it
    was tried."""
    start, best = ends
    ratios = {key: ratio for key in shares if (ratio := way["ratios"][key]) is not None}
    time, tried_time = total(shares, way["kept"]), total({key: shares[key] for key in ratios}, ratios)
    gain = start / best - 1
    as_fast = next((number for number, other in enumerate(curve) if other <= tried_time), None)
    return {
        "source": way["source"],
        "score": way["score"],
        "time": time,
        "tried_time": tried_time,
        "candidates": way["most"],
        "tried": way["total"],
        "fraction": (start / time - 1) / gain if gain > _LEAST_GAIN else None,
        # None: the full search never was as fast.
        "as_fast_after": as_fast,
        "search": (len(curve) - 1 if as_fast is None else as_fast) / way["most"] if way["most"] else None,
    }


def write(document: Mapping[str, Any], docs: Path, say: Callable[[str], None]) -> None:
    """The page and, with matplotlib, the plot. Raises DlasError."""
    page = ["# Transfer-tuning: results\n", NOTES.format(rounds=document["rounds"]) + "\n"]
    where = document["environment"]
    page.append(f"Measured on {where['cpu']} with {where['cpus']} CPUs, {where['date'][:10]}.\n")
    groups = dict.fromkeys((row["case"]["start"], row["case"]["threads"]) for row in document["rows"])
    plotted = plot(document["rows"], list(groups), docs / "transfer-results.svg", say)
    if plotted:
        page.append("![Fractions of the full gain by model](transfer-results.svg)\n")
    for start, threads in groups:
        rows = [row for row in document["rows"] if (row["case"]["start"], row["case"]["threads"]) == (start, threads)]
        trials = " or ".join(str(number) for number in sorted({row["trials"] for row in rows}))
        page.append(f"## From {start} schedules, threads {threads}\n\nFull searches of {trials} schedules a layer.\n")
        page.append(f"{_table(rows)}\n")
    write_text(docs / "transfer-results.md", "\n".join(page))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = ["model", "gain"]
    for method in ("fitted", "as-is"):
        heads += [f"{method}: source", "fraction", "search", "in hindsight", "all mixed", "search"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["case"]["model"], f"{row['gain']:.2f}"]
        for method in ("fitted", "as-is"):
            chosen, best = row[f"{method}, best score"], row[f"{method}, in hindsight"]
            mixed = row[f"{method}, all mixed"]
            cells += [chosen["source"], _percent(chosen), _search(chosen)]
            cells += [f"{_percent(best)} ({best['source']})", _percent(mixed), _search(mixed)]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("| mean, median | |" + "".join(_means(rows, method) for method in ("fitted", "as-is")))
    return "\n".join(lines)


def _percent(figures: Mapping[str, Any]) -> str:
    return "-" if figures["fraction"] is None else f"{100 * figures['fraction']:.0f} %"


def _search(figures: Mapping[str, Any]) -> str:
    if figures["search"] is None:
        return "-"
    return f"{'> ' if figures['as_fast_after'] is None else ''}{figures['search']:.1f}"


def _means(rows: Sequence[Mapping[str, Any]], method: str) -> str:
    cells = []
    for way in ("best score", "in hindsight", "all mixed"):
        found = [row[f"{method}, {way}"] for row in rows]
        fractions = [one["fraction"] for one in found if one["fraction"] is not None]
        searches = [one["search"] for one in found if one["search"] is not None]
        cells.append(f"{100 * statistics.mean(fractions):.0f} %" if fractions else "-")
        if way != "in hindsight":
            cells.append(f"{statistics.median(searches):.1f}" if searches else "-")
    return f" | {' | '.join(cells)} |"


def plot(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[tuple[str, int]], file: Path, say: Callable[[str], None]
) -> bool:
    """Bars of the fractions by model, a panel for each group; False where matplotlib is not installed."""
    try:
        import matplotlib  # pyright: ignore[reportMissingImports]
    except ImportError:
        say("no plot is made: pip install -e '.[plots]' brings matplotlib")
        return False
    matplotlib.use("svg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "transfer"
    from matplotlib import pyplot  # pyright: ignore[reportMissingImports]

    figure, panels = pyplot.subplots(len(groups), 1, figsize=(10, 3.2 * len(groups)), squeeze=False)
    for axis, group in zip(panels[:, 0], groups, strict=True):
        mine = [row for row in rows if (row["case"]["start"], row["case"]["threads"]) == group]
        for number, way in enumerate(WAYS):
            places = [place + 0.2 * (number - 1.5) for place in range(len(mine))]
            axis.bar(places, [100 * (row[way]["fraction"] or 0) for row in mine], 0.2, label=way)
        axis.set_xticks(range(len(mine)), [row["case"]["model"] for row in mine], rotation=20, ha="right")
        axis.set_ylabel("% of the full gain")
        axis.set_title(f"from {group[0]} schedules, threads {group[1]}")
        axis.axhline(100, color="0.7", linewidth=0.8)
    panels[0, 0].legend(fontsize="small")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    return True
