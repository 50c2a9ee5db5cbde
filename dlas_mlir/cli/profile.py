"""`dlas profile`: where the time of a model goes."""

from __future__ import annotations

import argparse
from typing import Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.arguments import positive_float
from dlas_mlir.cli.console import (
    check_machine,
    check_writable,
    compiled,
    in_any_case,
    print_table,
    progress,
    shapes,
    write_json,
)

_COLUMNS = [
    ("layer", "left"),
    ("primitive", "left"),
    ("ms", "right"),
    ("share %", "right"),
    ("GFLOP/s", "right"),
    ("% of peak", "right"),
    ("dispatches", "right"),
]
_OF_GPUS = [*_COLUMNS[:-1], ("GB/s", "right"), ("% of bandwidth", "right"), _COLUMNS[-1]]


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser("profile", help="show the time of each layer")
    arguments.add_model(parser, compiled=True)
    arguments.add_preset(parser)
    arguments.add_threads(parser)
    arguments.add_db(parser)
    parser.add_argument("--seconds", type=positive_float, default=1.0, metavar="S", help="how long to measure")
    parser.add_argument("--sort", choices=["order", "time"], default="order", help="as executed, or slowest first")
    parser.add_argument("--dispatches", action="store_true", help="also show the dispatches of each layer")
    parser.add_argument("--schedules", action="store_true", help="also show how the loops of each layer are run")
    arguments.add_json(parser)
    arguments.add_shapes(parser)
    arguments.add_batch(parser)
    arguments.add_timeout(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table and write JSON. Raises DlasError."""
    from dlas_mlir import api

    arguments.use_db(args)
    if args.json:
        check_writable(args.json)
    check_machine(args.preset, args.threads, args.model)
    with progress() as show:
        artifact = compiled(args, shapes(args), show, batch=args.batch)
        result = api.profile(artifact, threads=args.threads, seconds=args.seconds, progress=show, timeout=args.timeout)
    if args.sort == "time":
        result["layers"].sort(key=lambda row: -row["ms"])
    title = (
        f"{result['model']} for {result['preset']}, threads {result['threads']}: {result['call_ms']:.3f} ms a call, "
        f"{result['dispatches_ms']:.3f} ms of it in dispatches"
    )

    columns = _COLUMNS
    if "ms_by" in result:
        title, columns = _title_of_gpu(result), _OF_GPUS

    with in_any_case(lambda: write_json(args.json, result)):
        cells = [_fitted(cells, columns) for row in result["layers"] for cells in _cells(row, args)]
        print_table(title, columns, cells, ("dispatches", "GFLOP/s", "GB/s", "share %"))
    return 0


def _title_of_gpu(result: dict[str, Any]) -> str:
    """The device, and the times of a call, each by its name."""
    from dlas_mlir.runtime.gpus import FUNCTION_ONLY

    times = [("a call that is waited for", "call_ms"), ("one of many on their way", "queued_ms")]
    times += [("the device's own", "device_ms"), ("the sum of its kernels", "dispatches_ms")]
    parts = [f"{result[key]:.3f} ms {name}" for name, key in times if result[key] is not None]
    title = (
        f"{result['model']} for {result['preset']} on {result['device_name']}: {', '.join(parts)}; {result['ms_by']}"
    )
    if result["peaks_by"]:
        title += f"; peaks: {result['peaks_by']}"
    return title + (f"; {FUNCTION_ONLY}" if result["function_only"] else "")


def _fitted(cells: list[str], columns: list[Any]) -> list[str]:
    """Cells of a row, which may say less than there are columns for."""
    return [*cells, *[""] * (len(columns) - len(cells))]


def _cells(row: dict[str, Any], args: argparse.Namespace) -> list[list[str]]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    cells = [
        [
            " + ".join([*row["producers"], row["layer"]]),
            row["primitive"],
            f"{row['ms']:.4f}",
            f"{row['share']:.1f}",
            number(row["gflops"]),
            number(row["percent_of_peak"]),
            *([number(row["gbs"]), number(row["percent_of_bandwidth"])] if "gbs" in row else []),
            str(len(row["dispatches"])),
        ]
    ]
    if args.schedules and row["schedule"]:
        cells += [[f"  {line}"] for line in schedule_lines(row["schedule"])]
    if args.dispatches:
        cells += [[f"  {one['name']}", "", f"{one['ms']:.4f}"] for one in row["dispatches"]]
    return cells


def schedule_lines(schedule: dict[str, Any]) -> list[str]:
    """A schedule in few words: `oh 7 | oh kb ow k cb r s c | ow 14, kb 2, k 16 of 16 lanes`."""

    def sizes(of: dict[str, int]) -> str:
        return ", ".join(f"{loop} {size}" for loop, size in of.items()) or "all"

    kind = schedule.get("kind", "cpu")
    if kind == "gpu":
        more = f", split {schedule['split']}" * (schedule["split"] > 1) + ", halo" * schedule["halo"]
        return [
            f"{schedule['instruction']}; tile {sizes(schedule['tile'])}; warp {sizes(schedule['warp'])}",
            f"stages {schedule['stages']}{more}",
        ]
    if kind == "simt":
        return [
            f"{schedule['threads']} threads; order {' '.join(schedule['order'])}",
            f"tile {sizes(schedule['tile'])}; {schedule['lanes']} lanes of {schedule['vector']}",
        ]
    return [
        f"workgroup {sizes(schedule['distribute'])}; order {' '.join(schedule['order'])}",
        f"tile {sizes(schedule['tile'])}; {schedule['lanes']} lanes of {schedule['vector']}",
    ]
