"""`dlas tune`: search for faster schedules of a model's kernels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments, tune_primitives
from dlas_mlir.cli.console import check_machine, check_writable, print_table, shapes
from dlas_mlir.cli.tune_models import INTERRUPTED, Outcomes
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.tuning.report import KernelResult, Report

_COLUMNS = [
    ("layer", "left"),
    ("primitive", "left"),
    ("share %", "right"),
    ("tried", "right"),
    ("time / rule's", "right"),
    ("95 % interval", "left"),
    ("schedule", "left"),
]


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "tune",
        help="search for faster schedules of a model's kernels",
        description="Try schedules of each kernel of MODEL in place, each build of the network with one candidate of "
        "every kernel; what beats the rule's schedule by more than the noise is kept in the data base. Presets "
        "TARGET/RECIPE:tuned take it from there. Ctrl-C ends the search and keeps everything.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help=arguments.MODEL)
    arguments.add_preset(parser)
    arguments.add_threads(parser)
    parser.add_argument(
        "--trials", type=arguments.positive_int, metavar="N", help="schedules of each kernel (default: 64)"
    )
    parser.add_argument(
        "--budget",
        type=arguments.duration,
        metavar="TIME",
        help="for the search of each model, such as 10m; the comparison at the end comes on top",
    )
    arguments.add_db(parser)
    parser.add_argument(
        "--primitives",
        action="store_true",
        help="choose the primitive of each layer by measurement; with --trials or --budget, then search for schedules "
        "of what was chosen",
    )
    parser.add_argument("--layers", default="*", metavar="PATTERN", help="only layers with such a name, as in a shell")
    parser.add_argument("--no-seed", action="store_true", help="start from naive schedules, and use no records")
    parser.add_argument("--resume", action="store_true", help="count what was tried here before against --trials")
    parser.add_argument(
        "--transfer-from",
        action="append",
        metavar="MODEL|DB",
        help="try only what was found for another model of the data base, or for all in another one; of several the "
        "model that promises most",
    )
    parser.add_argument("--pool", action="store_true", help="mix the schedules of all --transfer-from")
    parser.add_argument("--jobs", type=arguments.positive_int, metavar="N", help="compilers at a time (default: CPUs)")
    arguments.add_shapes(parser)
    arguments.add_batch(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is printed, and more, as JSON")
    arguments.add_timeout(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune each model, print a table for each, and write JSON. Raises DlasError."""
    if args.json:
        check_writable(args.json)
    _check_options(args)
    check_machine(args.preset, args.threads)
    outcomes = Outcomes(args.json)
    if not args.primitives:
        return _schedules(args, outcomes)
    code = tune_primitives.run(args, outcomes)
    if code == INTERRUPTED or not _searches(args):
        return code
    return max(code, _schedules(args, outcomes))


def _searches(args: argparse.Namespace) -> bool:
    """Whether there is a search for schedules behind that for primitives."""
    return args.trials is not None or args.budget is not None


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options of a search for schedules where there is none."""
    if args.pool and not args.transfer_from:
        raise DlasError("--pool mixes what --transfer-from names, and there is none")
    given = {"--layers": args.layers != "*", "--no-seed": args.no_seed, "--resume": args.resume}
    given["--transfer-from"] = bool(args.transfer_from)
    if args.primitives and not _searches(args) and (unused := [name for name, there in given.items() if there]):
        raise DlasError(
            f"{', '.join(unused)}: for the search of schedules, which follows --primitives where --trials or --budget "
            "is given"
        )


def _schedules(args: argparse.Namespace, outcomes: Outcomes) -> int:
    from dlas_mlir.tuning.task import Settings
    from dlas_mlir.tuning.transfer import Transfer
    from dlas_mlir.tuning.tune import tune

    transfer = Transfer(sources=tuple(args.transfer_from), pool=args.pool) if args.transfer_from else None
    settings = Settings(
        trials=args.trials or (64 if args.budget is None else sys.maxsize),
        budget=args.budget,
        layers=args.layers,
        seed=not args.no_seed,
        resume=args.resume,
        jobs=args.jobs or 0,
        timeout=args.timeout,
    )

    def search(model: str, show: Any) -> Report:
        return tune(
            model,
            args.preset,
            threads=args.threads,
            settings=settings,
            db=args.db,
            inputs=shapes(args),
            weights=args.weights,
            batch=args.batch,
            transfer=transfer,
            say=show,
        )

    return outcomes.tune("schedules", args.models, search, _tell)


def _tell(report: Report) -> int:
    """Print a report; the exit code."""
    _print(report)
    return INTERRUPTED if report.interrupted else int(report.undecided)


def _print(report: Report) -> None:
    summary = f"{report.model} for {report.preset}, threads {report.threads}: "
    if report.note:
        summary += report.note
    if report.ratio != 1 or not report.note:
        summary += "; " if report.note else ""
        interval = f"95 % interval {report.low:.3f} to {report.high:.3f}"
        summary += f"{report.ratio:.3f} of the time with the rule's schedules ({interval}, {report.verdict})"
    if brought := report.transferred:
        summary += f"; {brought.candidates} schedules from {', '.join(brought.sources)}"
        summary += f", for kernels of {brought.covered:.0f} % of the time"
    summary += f"; {report.builds} builds in {report.seconds:.0f} s"
    if report.failures:
        summary += "; candidates without a time: " + ", ".join(f"{n} {how}" for how, n in report.failures.items())
    print_table(
        summary, _COLUMNS, [_cells(kernel) for kernel in report.kernels], ("95 % interval", "primitive", "tried")
    )


def _cells(kernel: KernelResult) -> list[str]:
    names = [name for name in kernel.layers if name] or ["-"]
    more = f" and {len(kernel.layers) - 1} more" if len(kernel.layers) > 1 else ""
    return [
        names[0] + more,
        kernel.primitive,
        f"{kernel.share:.1f}",
        str(kernel.trials),
        f"{kernel.ratio:.3f}",
        f"{kernel.low:.3f} to {kernel.high:.3f}",
        _schedule(kernel),
    ]


def _schedule(kernel: KernelResult) -> str:
    if kernel.schedule is None:
        return "the rule's"
    return changes(kernel.rule, kernel.schedule) + (f" (from {kernel.source})" if kernel.source else "")


def changes(rule: dict[str, Any], schedule: dict[str, Any]) -> str:
    """What differs from the rule's schedule, in few words."""
    changed = {key: value for key, value in schedule.items() if value != rule.get(key) and key != "producer"}
    dropped = {key: type(value)() for key, value in rule.items() if key not in schedule}
    words = [_in_words(key, value) for key, value in {**changed, **dropped}.items()]
    before, after = rule.get("producer"), schedule.get("producer")
    if before and after and before != after:
        words.append(f"of the producer: {changes(before, after)}")
    return "; ".join(words)


def _in_words(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return key if value else f"no {key}"
    if key == "lanes":
        return f"{value} lanes"
    if isinstance(value, dict):
        return f"{key} {' '.join(f'{name} {size}' for name, size in value.items()) or 'nothing'}"
    if isinstance(value, list):
        return f"{key} {' '.join(value) or 'nothing'}"
    return f"{key} {value}"
