"""`dlas bench`: models x presets x threads, checked and timed in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.arguments import positive_float, positive_int
from dlas_mlir.cli.console import check_writable, in_any_case, print_table, progress, shapes

# A column for each cell of `_cells`. Where there is compression, some make room for what tells of it.
_COLUMNS = {
    "model": "left",
    "weights": "left",
    "preset": "left",
    "threads": "right",
    "median ms": "right",
    "IQR ms": "right",
    "inputs/s": "right",
    "speed-up": "right",
    "expected": "right",
    "actual": "right",
    "queued ms": "right",
    "device ms": "right",
    "kernels": "right",
    "GFLOP/s": "right",
    "% of peak": "right",
    "% of bandwidth": "right",
    "error vs PyTorch": "left",
    "M params": "right",
    "non-zero": "right",
    "MB": "right",
    "eff. MMACs": "right",
    "layers by primitive": "left",
}
_OF_COMPRESSION = ("weights", "expected", "actual", "M params", "non-zero", "MB", "eff. MMACs")
_OF_GPUS = ("queued ms", "device ms", "kernels", "% of bandwidth")
_OF_ALL = ("IQR ms", "speed-up", "GFLOP/s", "% of peak")
# What a narrow terminal goes without first.
_SPARE = (
    "layers by primitive",
    "IQR ms",
    "GFLOP/s",
    "kernels",
    "M params",
    "eff. MMACs",
    "weights",
    "MB",
    "% of peak",
    "speed-up",
)


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="check and time models x presets x threads",
        description="Compare every model's output with PyTorch's, then time all presets and threads of a model "
        "in turns. What fails is reported, the others still run, and the exit code is 1.",
    )
    arguments.add_models(parser)
    arguments.add_presets(parser)
    arguments.add_db(parser)
    parser.add_argument("--threads", nargs="+", type=positive_int, default=[1], metavar="N")
    parser.add_argument(
        "--dense",
        action="store_true",
        help="with --weights: also time the uncompressed float32 model (TARGET/auto), which `actual` is over",
    )
    arguments.add_json(parser)
    parser.add_argument(
        "--json-layout",
        choices=["rows", "google-benchmark"],
        default="rows",
        help="a list of objects, or the same list in google-benchmark's report (default: %(default)s)",
    )
    arguments.add_store(parser)
    parser.add_argument("--streams", type=positive_int, default=1, metavar="N", help="callers at the same time")
    arguments.add_batch(parser)
    parser.add_argument("--rounds", type=positive_int, default=6, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--max-rounds",
        type=positive_int,
        default=20,
        metavar="N",
        help="for those that cannot yet be told from the fastest (default: %(default)s)",
    )
    parser.add_argument(
        "--starts",
        type=positive_int,
        default=2,
        metavar="N",
        help="processes that share the rounds (default: %(default)s)",
    )
    parser.add_argument(
        "--min-time", type=positive_float, default=0.2, metavar="S", help="seconds a round (default: %(default)s)"
    )
    parser.add_argument("--tolerance", type=positive_float, metavar="X", help="limit of the relative error")
    arguments.add_shapes(parser)
    arguments.add_timeout(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table, write JSON and records. Raises DlasError."""
    from contextlib import ExitStack

    arguments.use_db(args)
    from dlas_mlir.benchmark.bench import Request, bench
    from dlas_mlir.benchmark.speedup import add_actual
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.measure import rows as flat
    from dlas_mlir.measure.rounds import Protocol
    from dlas_mlir.measure.store import Store

    if args.json:
        check_writable(args.json)
    request = Request(
        models=tuple(args.models),
        presets=tuple(args.presets),
        threads=tuple(args.threads),
        streams=args.streams,
        batch=args.batch,
        inputs=shapes(args),
        weights=args.weights,
        dense=args.dense,
        timeout=args.timeout,
    )
    protocol = Protocol(
        rounds=args.rounds,
        max_rounds=max(args.rounds, args.max_rounds),
        starts=args.starts,
        min_seconds=args.min_time,
        tolerance=args.tolerance,
    )
    with ExitStack() as stack:
        keep = stack.enter_context(Store(args.store)).add if args.store else lambda _: None
        show = stack.enter_context(progress())
        records = bench(request, protocol, progress=show, keep=keep)
    rows = [flat.row(record) for record in records]
    add_actual(rows)

    def write() -> None:
        if args.json:
            report = rows if args.json_layout == "rows" else flat.google_benchmark(rows)
            write_atomically(args.json, json.dumps(report, indent=1) + "\n")

    # Hours of measuring are lost neither with the disk of the one nor with that of the other.
    with in_any_case(write):
        _print(rows)
    return 1 if any("error" in row for row in rows) else 0


def _print(rows: list[dict[str, Any]]) -> None:
    cpu = rows[0]["cpu"]
    batch, streams = rows[0]["batch"], rows[0]["streams"]  # the same for all
    peaks = {row["threads"] * streams: row["peak_gflops"] for row in rows if row.get("peak_gflops")}
    measured = ", ".join(f"{peak:.0f} GFLOP/s with {threads}" for threads, peak in sorted(peaks.items()))
    title = f"{cpu}" + (f"; measured peak by threads: {measured}" if measured else "")
    if batch > 1:
        title += f"; {batch} inputs a call"
    if streams > 1:
        title += f"; {streams} callers at the same time, each with its threads"
    noise = max((row["noise"] for row in rows if row["noise"] is not None), default=None)
    if noise is not None:
        title += f"; two starts of the same differ by {noise:.1%}"
    if any(row.get("disturbed") for row in rows):
        title += "; ~ marks times that other processes disturbed"
    compressed = any(row.get("dense") is False for row in rows)
    if compressed:
        title += "; speed-ups are over the dense fp32 model: what MACs and peak let expect, and the actual one"
    elif len({row["preset"] for row in rows}) > 1:
        title += "; speed-up is over the first preset"
    on_gpus = [row["gpu"] for row in rows if row.get("gpu")]
    title += "".join(f"; {text}" for text in dict.fromkeys(text for gpu in on_gpus for text in _notes(gpu)))
    hidden = _OF_ALL if compressed else _OF_COMPRESSION
    hidden += () if on_gpus else _OF_GPUS
    single = ("inputs/s",) if batch == streams == 1 else ()
    shown = [name for name in _COLUMNS if name not in (*hidden, *single)]
    first: dict[tuple[str, int], float] = {}
    cells = []
    for row in rows:
        if row["median_ms"]:
            first.setdefault((row["model"], row["threads"]), row["median_ms"])
        found = _cells(row, first.get((row["model"], row["threads"])))
        cells.append([found[name] for name in shown])
    spare = [name for name in _SPARE if name in shown]
    print_table(title, [(name, _COLUMNS[name]) for name in shown], cells, spare)
    for model, reason in {row["model"]: row["unchecked"] for row in rows if row.get("unchecked")}.items():
        print(f"note: {model} is not checked: {reason}")
    sys.stdout.flush()
    for message in reasons(rows):
        print(message, file=sys.stderr)


def _notes(gpu: dict[str, Any]) -> list[str]:
    """What is to be known of the times on a GPU: the title tells it once."""
    from dlas_mlir.runtime.gpus import FUNCTION_ONLY

    notes = [f"{gpu['name']}: median ms is a call that is waited for"]
    if gpu["queued_ms"] is not None:
        notes.append(f"queued ms one of {gpu['in_flight']} on their way")
    notes.append(f"device ms {gpu['device_ms_by']}" if gpu["device_ms"] else f"no device ms: {gpu['device_ms_by']}")
    if gpu["peaks_by"]:
        notes.append(f"peaks: {gpu['peaks_by']}")
    return [*notes, FUNCTION_ONLY] if gpu["function_only"] else notes


def reasons(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why rows have failed, the shortest reason first; one that several have in common is told once."""
    failed: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "error" in row:
            failed.setdefault(row["error"], []).append(row)
    of_model = Counter(row["model"] for row in rows)
    lines = []
    for why, those in sorted(failed.items(), key=lambda item: len(item[0])):
        counts = Counter(row["model"] for row in those)
        names = [row["model"] if counts[row["model"]] == of_model[row["model"]] else row["name"] for row in those]
        lines.append(f"error: {', '.join(dict.fromkeys(names))}: {why}")
    return lines


def _cells(row: dict[str, Any], baseline: float | None) -> dict[str, str]:
    def number(key: str, digits: int, unit: float = 1, end: str = "", of: dict[str, Any] = row) -> str:
        return "-" if of.get(key) is None else f"{of[key] / unit:,.{digits}f}{end}"

    gpu = row.get("gpu") or {}
    if row["verified"]:
        checked = f"{row['max_rel_error']:.0e}"
    else:
        checked = "WRONG" if row["max_rel_error"] is not None else "failed" if "error" in row else "not checked"
    parameters = row.get("parameters")
    return {
        "model": row["model"],
        "weights": row["weights"] or "-",
        "preset": row["preset"],
        "threads": str(row["threads"]),
        "median ms": ("~ " if row.get("disturbed") else "") + number("median_ms", 3),
        "IQR ms": number("iqr_ms", 3),
        "inputs/s": number("throughput", 1),
        "speed-up": f"{baseline / row['median_ms']:.2f}x" if baseline and row["median_ms"] else "-",
        "expected": number("expected_speedup", 2, end="x"),
        "actual": number("actual_speedup", 2, end="x"),
        "queued ms": number("queued_ms", 3, of=gpu),
        "device ms": number("device_ms", 3, of=gpu),
        "kernels": number("launches", 0, of=gpu),
        "GFLOP/s": number("gflops", 1),
        "% of peak": number("percent_of_peak", 1),
        "% of bandwidth": number("percent_of_bandwidth", 1, of=gpu),
        "error vs PyTorch": checked,
        "M params": number("parameters", 2, 1e6),
        "non-zero": f"{row['nonzeros'] / parameters:.1%}" if parameters else "-",
        "MB": number("weight_bytes", 2, 1e6),
        "eff. MMACs": number("effective_macs", 1, 1e6),
        "layers by primitive": ", ".join(f"{name} {count}" for name, count in row["primitives"].items()),
    }
