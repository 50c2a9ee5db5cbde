"""Put the figures of an end-to-end run into README.md, between its results markers.

python -m benchmarks.readme results/end-to-end.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.stats import geomean
from dlas_mlir.compiler.cache import write_atomically
from dlas_mlir.errors import DlasError

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
    lines = [
        f"| model | {OURS}, ms | best other, ms | ratio | times faster than stock IREE |",
        "|---|---|---|---|---|",
    ]
    for record in ours:
        best = record["median_ms"] / record["ratio"]
        stock = f"{record['over_stock']:.1f}" if "over_stock" in record else ""
        cells = f"{record['median_ms']:.2f} | {best:.2f} ({record['best_peer']}) | {record['ratio']:.2f} | {stock}"
        lines.append(f"| {record['workload']} | {cells} |")
    stock_mean = geomean(r["over_stock"] for r in ours if "over_stock" in r)
    faster = f"{stock_mean:.1f}" if stock_mean else ""
    lines.append(f"| geometric mean | | | {geomean(r['ratio'] for r in ours):.2f} | {faster} |")
    return "\n".join(lines)


def block(document: dict) -> str:
    """The text between the markers, and they."""
    where, threads = document["environment"], sorted({r["threads"] for r in document["records"]})
    parts = [
        f"Batch 1, fp32, median of one call on {where['cpu']} with {where['cpus']} CPUs, {where['date'][:10]}, made by "
        f"`{COMMAND}`. All outputs are checked against PyTorch's first."
    ]
    for count in threads:
        parts += [f"{count} thread{'s' if count > 1 else ''}:", table(document, count)]
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
