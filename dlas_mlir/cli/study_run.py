"""`dlas study plan` and `dlas study run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments, study_worker
from dlas_mlir.cli.console import print_table, progress, write_json
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.study.expression import Expression
    from dlas_mlir.study.overview import Overview
    from dlas_mlir.study.run import Summary
    from dlas_mlir.study.spec import Spec

_SPEC = "a TOML file, or the name of one that comes with the package"
_COLUMNS = [("step", "left"), ("models", "right"), ("count", "right"), ("time", "right")]


def add_parsers(commands: Any) -> None:
    """Add both to `dlas study`."""
    plan: argparse.ArgumentParser = commands.add_parser(
        "plan",
        help="what a study would do",
        description="List the points of a study, those that are left out with the reason, the steps that they share, "
        "and the time and disk that it will take. Nothing is run.",
    )
    _add_spec(plan)
    plan.add_argument("--points", action="store_true", help="list every point")
    plan.add_argument("--left-out", action="store_true", help="list every cell that is left out, with the reason")
    arguments.add_json(plan)
    plan.set_defaults(act=run_plan)
    run: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a study, or go on with it",
        description="Run what is left of a study: what is done already is not done again, not even after kill -9. "
        "The first Ctrl-C ends it when what runs has ended, the second at once.",
    )
    _add_spec(run)
    run.add_argument("--limit", type=arguments.positive_int, metavar="N", help="measure at most N points")
    run.add_argument(
        "--retry",
        nargs="+",
        choices=["failed", "stale"],
        default=[],
        help="measure again: points that have failed, or that were measured with other versions or settings",
    )
    run.add_argument("--budget", type=arguments.duration, metavar="TIME", help="begin nothing after, such as 10m or 2h")
    run.add_argument("--fail-fast", action="store_true", help="stop when a point fails")
    run.add_argument("--jobs", type=arguments.positive_int, metavar="N", help="steps at a time (default: CPUs)")
    study_worker.add_run_options(run)
    run.set_defaults(act=run_run)


def _add_spec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help=_SPEC)
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the study is kept (default: study-NAME, in this directory)"
    )
    parser.add_argument(
        "--filter", metavar="EXPRESSION", help="only these points, such as \"threads == 1 and model in ('a', 'b')\""
    )


def _spec(args: argparse.Namespace) -> Spec:
    from dlas_mlir.study.spec_file import find_spec, read_spec

    return read_spec(find_spec(args.spec))


def _filter(args: argparse.Namespace, spec: Spec) -> Expression | None:
    from dlas_mlir.study.expression import parse

    if args.filter is None:
        return None
    try:
        return parse(args.filter, spec.columns())
    except DlasError as error:
        raise DlasError(f"--filter: {error}") from None


def run_plan(args: argparse.Namespace) -> int:
    """Print the plan. Raises DlasError."""
    from dlas_mlir.study.overview import overview
    from dlas_mlir.study.run import folder_of

    spec = _spec(args)
    found = overview(spec, folder_of(spec, args.folder), _filter(args, spec))
    write_json(args.json, found.as_json())
    _print_plan(found, points=args.points, left_out=args.left_out)
    return 0


def _print_plan(found: Overview, *, points: bool, left_out: bool) -> None:
    from dlas_mlir.study.estimate import words

    print(f"{found.spec.name}: {found.spec.description}" if found.spec.description else found.spec.name)
    axes = [
        f"  {name:<12}{', '.join(map(str, levels[:12]))}{' ..' if len(levels) > 12 else ''}"
        for name, levels in found.spec.axes.items()
    ]
    print("\n".join(axes))
    if found.spec.search == "grid":
        print(f"{found.spec.size:,} cells, {found.wanted:,} points to be measured, {found.done:,} of them done")
    else:
        print(f"{found.spec.trials:,} points of {found.spec.size:,} cells, by {found.spec.search}")
    for (state, reason), count in found.left_out.items():
        print(f"  {count:,} {state}: {reason}")
    if found.steps:
        rows = [[kind, str(models), f"{count:,}", words(seconds)] for kind, models, count, seconds in found.steps]
        print_table("", _COLUMNS, rows)
    print(
        f"some {words(found.seconds)} with {found.lanes} steps at a time; {found.blocks:,} blocks of measurements; "
        f"some {found.disk / 1e6:,.0f} MB on disk"
    )
    if points:
        for name, point in found.points:
            print(name, *point.levels)
    if left_out:
        for name, point, state, reason in found.cells:
            print(name, *point.levels, f"{state}: {reason}")


def run_run(args: argparse.Namespace) -> int:
    """Run, and say what it came to. Raises DlasError."""
    from dlas_mlir.runtime.devices import usable_cpus
    from dlas_mlir.study.executors import executor_for
    from dlas_mlir.study.run import Options, folder_of, run

    spec = _spec(args)
    options = Options(
        where=_filter(args, spec),
        limit=args.limit,
        retry=frozenset(args.retry),
        budget=args.budget,
        fail_fast=args.fail_fast,
    )
    folder = folder_of(spec, args.folder)
    lanes = args.jobs or max(1, len(usable_cpus()))
    remote = study_worker.remote_of(args)
    with progress() as show:
        # What single steps say is for the eyes; into a log goes what has ended.
        detail = show if sys.stderr.isatty() else lambda _: None
        summary = run(spec, folder, executor_for(spec, lanes, detail, remote), options, lanes=lanes, say=show)
    _print_summary(summary, folder)
    if summary.stopped == "interrupted":
        return 130
    return 1 if summary.failed else 0


def _print_summary(summary: Summary, folder: Path) -> None:
    done = ", ".join(f"{count:,} {state}" for state, count in summary.run.items()) or "nothing to do"
    print(f"this run: {done}")
    print("all points: " + ", ".join(f"{count:,} {state}" for state, count in summary.states.items()))
    if summary.stopped:
        print(f"stopped early: {summary.stopped}; the same command goes on")
    print(folder, file=sys.stderr)
