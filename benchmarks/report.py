"""What a run leaves behind: one JSON file and a Markdown table of the same figures."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.stats import geomeans
from dlas_mlir.compiler.cache import write_atomically
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import cpu_features, cpu_model


def environment() -> dict[str, object]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpu_features": cpu_features(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def write_text(path: Path, text: str) -> None:
    """All of `text` or nothing. Raises DlasError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlasError(f"{path}: cannot be written: {error.strerror}") from None
    write_atomically(path, text)


@dataclass(frozen=True)
class Extra:
    """What one script adds: entries of the JSON document, and a section of the page."""

    entries: dict[str, object] = field(default_factory=dict)
    section: str = ""


def _cell(record: dict | None, best: float) -> str:
    if record is None:
        return ""
    if "median_ms" not in record:
        return "failed"
    text = f"{record['median_ms']:.3f} ±{record['iqr_ms'] / 2:.3f}"
    if "percent_of_peak" in record:
        text += f" ({record['percent_of_peak']:.0f} %)"
    if record["median_ms"] == best:
        text = f"**{text}**"
    return f"~ {text}" if record["disturbed"] else text


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def table(records: list[dict], threads: int) -> str:
    """Rows are workloads, columns runtimes, cells median ± half the quartile range in ms, fastest bold.

    The last rows are geometric means: of times, of ratios to the best peer, of speed-ups over stock IREE.
    """
    at = [r for r in records if r["threads"] == threads]
    runtimes = list(dict.fromkeys(r["runtime"] for r in at))
    lines = [_row("workload", runtimes), "|---|" + "---|" * len(runtimes)]
    for spec in dict.fromkeys(r["spec"] for r in at):
        row = {r["runtime"]: r for r in at if r["spec"] == spec}
        best = min((r["median_ms"] for r in row.values() if "median_ms" in r), default=0.0)
        name = next(iter(row.values()))["workload"]
        lines.append(_row(name, (_cell(row.get(runtime), best) for runtime in runtimes)))
    means = {row["runtime"]: row for row in geomeans(at)}
    rows = [means[runtime] for runtime in runtimes]
    lines += [
        _row("geomean (of workloads)", (f"{_number(r['median_ms'], 3)} ({r['workloads']})" for r in rows)),
        _row("ratio to the best peer", (_number(r["ratio"]) for r in rows)),
        _row("worst ratio", (_number(r["worst_ratio"]) for r in rows)),
    ]
    if any(r["over_stock"] for r in rows):
        lines.append(_row("times faster than stock", (_number(r["over_stock"]) for r in rows)))
    return "\n".join(lines)


def failures(records: list[dict]) -> str:
    """The section that says what failed; empty when nothing did."""
    lines = [
        f"- {r['workload']}, {r['runtime']}, threads {r['threads']}: {r['error']}" for r in records if "error" in r
    ]
    return "\n".join(["## Failed", "", *lines]) if lines else ""


def markdown(document: dict, section: str = "") -> str:
    """The whole page: where it was measured, one table for each number of threads, and what failed."""
    records, where = document["records"], document["environment"]
    versions = {name: version for r in records for name, version in r.get("versions", {}).items()}
    parts = [
        f"# {document['title']}",
        f"{where['date']}, {where['cpu']}, {where['cpus']} CPUs. "
        + "; ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        + f". {document['notes']}",
    ]
    for threads in sorted({r["threads"] for r in records}):
        parts += [f"## {threads} thread{'s' if threads > 1 else ''}", table(records, threads)]
    return "\n\n".join([*parts, *filter(None, (section, failures(records)))]) + "\n"


def write(title: str, notes: str, records: list[dict], protocol: dict, stem: Path, extra: Extra = Extra()) -> None:
    """Write `stem`.json and `stem`.md. Raises DlasError."""
    document = {
        "title": title,
        "notes": notes,
        "environment": environment(),
        "protocol": protocol,
        "records": records,
        "geomeans": geomeans(records),
        **extra.entries,
    }
    write_text(stem.with_name(stem.name + ".json"), json.dumps(document, indent=1) + "\n")
    write_text(stem.with_name(stem.name + ".md"), markdown(document, extra.section))
