"""`dlas records` on a data base of tuned schedules: list, show, export, schedules, import, merge, prune."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli.console import check_writable, print_table
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.measure.choices import Choice, Choices
    from dlas_mlir.measure.trials import Trials, Winner

_COLUMNS = [
    ("workload", "left"),
    ("model", "left"),
    ("target", "left"),
    ("threads", "right"),
    ("time / rule's", "right"),
    ("95 % interval", "left"),
    ("tried", "right"),
    ("state", "left"),
    ("date", "left"),
]


_CHOICES = [
    ("model", "left"),
    ("target", "left"),
    ("threads", "right"),
    ("time / recipe's", "right"),
    ("primitives of layers", "left"),
    ("state", "left"),
    ("date", "left"),
]


def run(args: argparse.Namespace) -> int:
    """Do `args.action` on the data base `args.db`. Raises DlasError."""
    from dlas_mlir.measure.choices import Choices

    if args.action in ("import", "merge"):
        from dlas_mlir.tuning.tune import open_trials

        with open_trials(args.db) as trials:
            return _take(trials, args)
    with Choices(args.db, create=args.action == "prune") as trials:
        if args.action == "list":
            _list(list(trials.winners()), trials.choices(), args.json)
        elif args.action == "show":
            _show(trials, args.number)
        elif args.action == "prune":
            _prune(trials)
        else:
            check_writable(args.output)
            _export(trials, args)
    return 0


def _state(winner: Winner | Choice) -> str:
    """What may be said of a record without making its kernels."""
    from dlas_mlir.compiler import tuned

    differences = tuned.environment().differences(winner.environment)
    return ", ".join(differences) if differences else "of what is installed here"


def _list(winners: list[Winner], choices: list[Choice], as_json: bool) -> None:
    if as_json:
        found = {"winners": [asdict(one) for one in winners], "choices": [asdict(one) for one in choices]}
        print(json.dumps(found, indent=1))
        return
    cells = [
        [
            winner.place.workload[:16],
            winner.model,
            winner.place.target_name,
            str(winner.place.threads),
            f"{winner.ratio:.3f}" if winner.schedule else "the rule's",
            f"{winner.low:.3f} to {winner.high:.3f}" if winner.schedule else "",
            str(winner.trials),
            _state(winner),
            winner.date,
        ]
        for winner in winners
    ]
    title = f"{len(winners)} workloads were tuned; {sum(winner.schedule is not None for winner in winners)} gained"
    print_table(title, _COLUMNS, cells, ("date", "95 % interval", "tried", "state"))
    if choices:
        _list_choices(choices)


def _list_choices(choices: list[Choice]) -> None:
    cells = [
        [
            one.model,
            one.place.target_name,
            str(one.place.threads),
            f"{one.ratio:.3f}" if one.primitives else "the recipe's",
            ", ".join(f"{name} {count}" for name, count in Counter(one.primitives.values()).most_common()),
            _state(one),
            one.date,
        ]
        for one in choices
    ]
    print_table(f"{len(choices)} choices of primitives", _CHOICES, cells, ("date", "state"))


def _show(trials: Trials, prefix: str) -> None:
    """All that is known of the workload whose key begins with `prefix`."""
    known = list(trials.known("exact LIKE ? || '%'", (prefix,))) if prefix else []
    if len(known) != 1:
        found = "several" if known else "no"
        raise DlasError(f"{trials.path}: {found} workloads have a key that begins with `{prefix}`")
    key = known[0].exact
    tried = [trial for trial in trials.trials() if trial.place.workload == key]
    whole = {
        "workload": json.loads(known[0].text),
        "winners": [asdict(winner) for winner in trials.winners("workload = ?", (key,))],
        "trials": [asdict(trial) for trial in sorted(tried, key=lambda trial: trial.ratio or float("inf"))],
        "states": Counter(trial.status for trial in tried),
    }
    print(json.dumps(whole, indent=1))


def _export(trials: Trials, args: argparse.Namespace) -> None:
    from dlas_mlir.codegen.chosen import print_chosen
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.measure.winners_file import print_winners

    winners = list(trials.winners())
    if args.action == "schedules":
        chosen = {w.place.workload: w.schedule for w in winners if w.schedule and w.place.threads == args.threads}
        write_atomically(args.output, print_chosen(chosen))
        return
    if args.format != "jsonl":
        raise DlasError(f"tuned schedules are written as JSON lines, not as {args.format}")
    write_atomically(args.output, print_winners(w for w in winners if w.schedule or not args.won))


def _take(trials: Choices, args: argparse.Namespace) -> int:
    """Take over what files hold."""
    from dlas_mlir.measure.choices import Choices
    from dlas_mlir.measure.winners_file import read_winners

    for file in args.files:
        if args.action == "import":
            winners = read_winners(file)
            for winner in winners:
                trials.win(winner)
            targets = Counter(winner.place.target_name for winner in winners)
            print(f"{file}: {len(winners)} records ({', '.join(f'{n} of {name}' for name, n in targets.items())})")
            continue
        with Choices(file, create=False) as other:
            counts = trials.merge(other)
        print(f"{file}: {_told(counts)}")
    return 0


def _prune(trials: Trials) -> None:
    from dlas_mlir.compiler import tuned

    counts = trials.prune(tuned.environment().versions)
    print(f"removed {_told(counts)} of other versions than are installed")


def _told(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['winners']} winners, {counts['trials']} trials and {counts.get('choices', 0)} choices of primitives"
    )


def add_file(parser: argparse.ArgumentParser) -> None:
    """--db, which says that tuned schedules are meant."""
    parser.add_argument("--db", type=Path, metavar="FILE", help="a data base of dlas tune, instead of a store")


def add_parsers(commands: Any) -> None:
    """The actions that only such a data base has."""
    from dlas_mlir.cli.arguments import positive_int

    schedules = commands.add_parser(
        "schedules", help="the schedules that won, as dlas-attach-schedules{schedule=tuned records=FILE} takes them"
    )
    schedules.add_argument("--threads", type=positive_int, default=1, metavar="N", help="default: 1")
    schedules.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    take = commands.add_parser("import", help="take winners from JSON lines that `export --db` wrote")
    merge = commands.add_parser("merge", help="take winners, trials and choices from other data bases of dlas tune")
    for command in (take, merge):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    prune = commands.add_parser("prune", help="remove what was measured with other versions of IREE")
    for command in (schedules, take, merge, prune):
        command.add_argument("--db", type=Path, metavar="FILE", help="default: $DLAS_DB, else the user's own")
