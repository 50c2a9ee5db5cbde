"""`dlas study status`, `show`, `export` and `gc`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_writable, print_table, write_json
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.study.progress import Progress
    from dlas_mlir.study.store import StudyStore

_EVERY_SECONDS = 2.0
_FORMATS = ("parquet", "csv", "jsonl")


def add_parsers(commands: Any) -> None:
    """Add them to `dlas study`."""
    status: argparse.ArgumentParser = commands.add_parser(
        "status",
        help="how far a study is",
        description="Count the points by state, say what runs, what failed and why, and how long the rest will take.",
    )
    arguments.add_study(status)
    status.add_argument("--watch", action="store_true", help="show it until the run ends, or Ctrl-C")
    arguments.add_json(status)
    status.set_defaults(act=run_status)
    show: argparse.ArgumentParser = commands.add_parser(
        "show",
        help="one point: all that is known of it, and the commands that do it by hand",
        description="Print the levels, figures, steps and tries of a point, and commands that reproduce it by hand.",
    )
    arguments.add_study(show)
    show.add_argument("point", metavar="POINT", help="the first digits of its id")
    arguments.add_json(show)
    show.set_defaults(act=run_show)
    export: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="a study as a table: Parquet, CSV or JSON lines",
        description="Write a row for each point, with its levels, state and figures, or for each turn that was timed.",
    )
    arguments.add_study(export)
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".parquet, .csv or .jsonl")
    export.add_argument("--table", choices=["points", "turns"], default="points", help="default: %(default)s")
    export.set_defaults(act=run_export)
    gc: argparse.ArgumentParser = commands.add_parser(
        "gc",
        help="remove what a study does not need any more",
        description="Remove files and results of steps that no point of the study needs as it is now: of other "
        "versions or settings, and of points that have left it.",
    )
    arguments.add_study(gc)
    gc.add_argument("--left", action="store_true", help="forget the points that have left the study, too")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.set_defaults(act=run_gc)


def run_status(args: argparse.Namespace) -> int:
    """Print it once, or until the run ends. Raises DlasError."""
    from dlas_mlir.study.progress import progress_of
    from dlas_mlir.study.run import is_running, open_store

    with open_store(args.folder) as store:
        if args.watch and sys.stdout.isatty():
            _watch(args.folder, store)
            return 0
        while True:
            found = progress_of(store, running=is_running(args.folder))
            write_json(args.json, found.as_json())
            _print_status(found)
            if not args.watch or not found.running:
                return 0
            time.sleep(_EVERY_SECONDS)


def _watch(folder: Path, store: StudyStore) -> None:
    from rich.live import Live

    from dlas_mlir.study.progress import progress_of
    from dlas_mlir.study.run import is_running

    with Live(auto_refresh=False) as live:
        while True:
            found = progress_of(store, running=is_running(folder))
            live.update("\n".join(_lines(found)), refresh=True)
            if not found.running:
                return
            time.sleep(_EVERY_SECONDS)


def _print_status(found: Progress) -> None:
    print("\n".join(_lines(found)))


def _lines(found: Progress) -> list[str]:
    from dlas_mlir.study.estimate import words

    lines = [f"{found.name}: " + ", ".join(f"{count:,} {state}" for state, count in found.states.items())]
    if found.running:
        left = "" if found.left_seconds is None else f"; some {words(found.left_seconds)} left"
        lines.append(f"a run is at work{left}{f'; stopping: {found.draining}' if found.draining else ''}")
        lines += [f"  {title}{f' ({count} times)' if count > 1 else ''}" for title, count in Counter(found.now).items()]
    else:
        lines.append("no run is at work")
    for device, noise in found.noise.items():
        lines.append(f"{device}: two starts of the same artifact differ by {noise:.1%}")
    for (state, reason), count in found.failures.items():
        lines.append(f"  {count:,} {state}: {reason}")
    return lines


def run_show(args: argparse.Namespace) -> int:
    """Print a point. Raises DlasError."""
    from dlas_mlir.study.about import about
    from dlas_mlir.study.by_hand import commands
    from dlas_mlir.study.run import open_store

    with open_store(args.folder) as store:
        found = about(store, args.point)
        by_hand = commands(store, found.row, args.folder)
    write_json(args.json, {**found.as_json(), "commands": by_hand})
    print(f"{found.row.id}: {found.row.state}{f': {found.row.reason}' if found.row.reason else ''}")
    for name, level in found.row.point.as_dict().items():
        print(f"  {name:<12}{level}")
    for name, value in found.metrics.items():
        print(f"  {name:<18}{value:g}")
    if found.steps:
        columns = [("step", "left"), ("state", "left"), ("seconds", "right"), ("tries", "right"), ("key", "left")]
        rows = [[s.kind, s.state, f"{s.seconds:.1f}", str(s.tries), s.key[:16]] for s in found.steps]
        print_table("", columns, rows)
    print("by hand:")
    for command in by_hand:
        print(f"  {command}")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write the table. Raises DlasError."""
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.measure.tables import write_table
    from dlas_mlir.study.run import open_store
    from dlas_mlir.study.tables import point_columns, turn_columns

    kind = args.output.suffix.removeprefix(".")
    if kind not in _FORMATS:
        raise DlasError(f"cannot write {args.output}: expected a name that ends in .{', .'.join(_FORMATS)}")
    check_writable(args.output)
    with open_store(args.folder) as store:
        columns: Mapping[str, Sequence[Any]] = point_columns(store) if args.table == "points" else turn_columns(store)
    write_atomically(args.output, lambda path: write_table(columns, path, kind))
    print(f"{len(next(iter(columns.values()))):,} rows", file=sys.stderr)
    return 0


def run_gc(args: argparse.Namespace) -> int:
    """Remove, and say what. Raises DlasError."""
    from dlas_mlir.study.collect import collect

    found = collect(args.folder, left=args.left, dry_run=args.dry_run)
    what = "would be removed" if args.dry_run else "removed"
    print(
        f"{found.files:,} files ({found.bytes / 1e6:,.0f} MB), {found.steps:,} results of steps and {found.points:,} "
        f"points {what}"
    )
    return 0
