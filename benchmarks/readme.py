"""Put the figures of an end-to-end run into README.md, between its results markers.

python -m benchmarks.readme results/end-to-end.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.common import ROOT
from dlas_mlir.compiler.cache import write_atomically
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.stats import geomean

BEGIN, END = "<!-- results:begin", "<!-- results:end -->"
OURS = "host/auto"
COMMAND = "python -m benchmarks.end_to_end && python -m benchmarks.readme"


def table(document: dict, threads: int) -> str:
    """Rows are models: our time, that of the best peer, their ratio, and the speed-up over stock IREE.

    Raises DlasError when the run has no figures for `threads`.
    """
    records = [r for r in document["records"] if r["threads"] == threads and "median_ms" in r]
    ours = [r for r in records if r["runtime"] == OURS and "ratio" in r]
    if not ours:
        raise DlasError(f"the run has no figures of {OURS} beside other runtimes for {threads} threads")
    with_stock = any("over_stock" in r for r in ours)
    heads = ["model", f"{OURS}, ms", "best other, ms", "ratio"] + ["times faster than stock IREE"] * with_stock
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for record in ours:
        best = record["median_ms"] / record["ratio"]
        mark = "~ " if record.get("disturbed") else ""
        cells = [record["workload"], f"{mark}{record['median_ms']:.2f}", f"{best:.2f} ({record['best_peer']})"]
        cells += [f"{record['ratio']:.2f}"]
        cells += [f"{record['over_stock']:.1f}" if "over_stock" in record else ""] * with_stock
        lines.append(f"| {' | '.join(cells)} |")
    means = ["geometric mean", "", "", f"{geomean(r['ratio'] for r in ours):.2f}"]
    if with_stock:
        means.append(f"{geomean(r['over_stock'] for r in ours if 'over_stock' in r):.1f}")
    lines.append(f"| {' | '.join(means)} |")
    return "\n".join(lines)


def summary(document: dict, threads: int) -> str:
    """The ratios to the best peer on so many threads: their mean, the worst, and how many are above 1."""
    ratios = {
        r["workload"]: r["ratio"]
        for r in document["records"]
        if r["threads"] == threads and r["runtime"] == OURS and "ratio" in r
    }
    if not ratios:
        raise DlasError(f"the run has no figures of {OURS} beside other runtimes for {threads} threads")
    worst = max(ratios, key=lambda name: ratios[name])
    behind = sum(ratio > 1 for ratio in ratios.values())
    return (
        f"{threads} threads: geometric mean of the ratios {geomean(ratios.values()):.2f}, worst {ratios[worst]:.2f} "
        f"({worst}), above 1 on {behind} of {len(ratios)} models."
    )


def block(document: dict) -> str:
    """The text between the markers, and they: a table for the least number of threads of the run, a line for more."""
    where, threads = document["environment"], sorted({r["threads"] for r in document["records"]})
    runtimes = list(dict.fromkeys(r["runtime"] for r in document["records"]))
    others = ", ".join(name for name in runtimes if name != OURS)
    command = f"python -m benchmarks.end_to_end --models ... --runtimes {' '.join(runtimes)}"
    parts = [
        f"Batch 1, fp32, median of one call on {where['cpu']} with {where['cpus']} CPUs, {where['date'][:10]}, beside "
        f"{others}; made by `{command}`. All outputs are checked against PyTorch's first; ~ marks times that other "
        "processes disturbed."
    ]
    count = threads[0]
    parts += [f"{count} thread{'s' if count > 1 else ''}:", table(document, count)]
    parts += [*(summary(document, more) for more in threads[1:])]
    parts += ["All times, and compressed models: [docs/results.md](docs/results.md)."]
    return f"{BEGIN} ({COMMAND}) -->\n" + "\n\n".join(parts) + f"\n{END}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/end-to-end.json"))
    results, path = parser.parse_args().results, ROOT / "README.md"
    try:
        text, document = path.read_text(), json.loads(results.read_text())
        start, end = text.find(BEGIN), text.find(END)
        if min(start, end) < 0:
            raise DlasError(f"{path}: there is no block from `{BEGIN}` to `{END}`")
        write_atomically(path, text[:start] + block(document) + text[end + len(END) :])
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (ValueError, KeyError) as error:
        print(f"error: {results} does not hold the results of a run: {error!r}", file=sys.stderr)
        return 1
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
