"""What a run leaves behind: one JSON file and a Markdown table of the same figures."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.stats import geomeans
from dlas_mlir.errors import DlasError


def cpu_model() -> str:
    """The CPU's name and what tells models of the same name apart."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = {m[1]: m[2] for m in re.finditer(r"^(model name|cpu family|model)\s*:\s*(.*)$", text, re.M)}
    name = found.get("model name", platform.machine())
    return f"{name} (family {found.get('cpu family')}, model {found.get('model')})"


def environment() -> dict[str, object]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def write_text(path: Path, text: str) -> None:
    """All of `text` or nothing. Raises DlasError."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = file.name
            file.write(text)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DlasError(f"{path}: cannot be written: {error.strerror}") from None


def _cell(record: dict | None, best: float) -> str:
    if record is None:
        return ""
    if "median_ms" not in record:
        return "failed"
    text = f"{record['median_ms']:.3f} ±{record['iqr_ms'] / 2:.3f}"
    if "percent_of_peak" in record:
        text += f" ({record['percent_of_peak']:.0f} %)"
    return f"**{text}**" if record["median_ms"] == best else text


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value == value else ""


def table(records: list[dict], threads: int) -> str:
    """Rows are workloads, columns runtimes, cells median ± half the quartile range in ms, fastest bold.

    The last rows are geometric means, of the times and of the ratios to the best peer.
    """
    at = [r for r in records if r["threads"] == threads]
    runtimes = list(dict.fromkeys(r["runtime"] for r in at))
    lines = [
        "| workload | " + " | ".join(runtimes) + " |",
        "|---|" + "---|" * len(runtimes),
    ]
    for workload in dict.fromkeys(r["workload"] for r in at):
        row = {r["runtime"]: r for r in at if r["workload"] == workload}
        best = min((r["median_ms"] for r in row.values() if "median_ms" in r), default=0.0)
        lines.append(f"| {workload} | " + " | ".join(_cell(row.get(name), best) for name in runtimes) + " |")
    means = {row["runtime"]: row for row in geomeans(at)}
    count = next(iter(means.values()))["workloads"] if means else 0
    lines.append(
        f"| geomean of {count} | " + " | ".join(f"{means[n]['median_ms']:.3f}" for n in runtimes) + " |"
    )
    lines.append(
        "| ratio to the best peer | " + " | ".join(_ratio(means[n]["ratio"]) for n in runtimes) + " |"
    )
    return "\n".join(lines)


def failures(records: list[dict]) -> str:
    lines = [
        f"- {r['workload']}, {r['runtime']}, {r['threads']} threads: {r['error']}"
        for r in records
        if "error" in r
    ]
    return "\n".join(["", "Failed:", "", *lines]) if lines else ""


def markdown(title: str, document: dict) -> str:
    """The whole page: where it was measured, one table for each number of threads, and what failed."""
    records, where = document["records"], document["environment"]
    versions = {name: version for r in records for name, version in r.get("versions", {}).items()}
    parts = [
        f"# {title}",
        f"{where['date']}, {where['cpu']}, {where['cpus']} CPUs. "
        + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        + f". {document['notes']}",
    ]
    for threads in sorted({r["threads"] for r in records}):
        parts += [f"## {threads} thread{'s' if threads > 1 else ''}", table(records, threads)]
    return "\n\n".join(parts) + "\n" + failures(records) + ("\n" if failures(records) else "")


def write(title: str, notes: str, records: list[dict], protocol: dict, stem: Path) -> dict:
    """Write `stem`.json and `stem`.md; returns what is in the JSON file."""
    document = {
        "title": title,
        "notes": notes,
        "environment": environment(),
        "protocol": protocol,
        "records": records,
        "geomeans": geomeans(records),
    }
    write_text(stem.with_suffix(".json"), json.dumps(document, indent=1, allow_nan=True) + "\n")
    write_text(stem.with_suffix(".md"), markdown(title, document))
    return document
