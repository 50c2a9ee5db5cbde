"""`dlas records`: what `dlas bench --store` and `dlas tune --db` have kept: list, show, export, compare; of tuned
schedules import, merge and prune too."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import records_db
from dlas_mlir.cli.console import check_writable, print_table
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.measure.compare import Pair
    from dlas_mlir.measure.store import Stored


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "records", help="list, show, export and compare what was measured", description=__doc__
    )
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = commands.add_parser("list", help="a line for each record")
    show = commands.add_parser("show", help="one record, whole")
    show.add_argument(
        "number", metavar="NUMBER", help="of a record; of a data base the first digits of a workload's key"
    )
    export = commands.add_parser("export", help="all records as a file")
    export.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: %(default)s")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    export.add_argument(
        "--won", action="store_true", help="with --db: leave out the workloads whose rule's schedule was not beaten"
    )
    compare = commands.add_parser(
        "compare",
        help="the second over the first, with intervals",
        description="Compare records of which the model, the weights and the hardware are the same. Each of A and B is "
        "a record's number, a preset, a run (as `list` shows it), a model, or a store's file. A difference within the "
        "noise, or whose 95 % interval holds 1, is a tie.",
    )
    compare.add_argument("a", metavar="A")
    compare.add_argument("b", metavar="B")
    for command in (listing, show, export, compare):
        command.add_argument(
            "--store", type=Path, metavar="FILE", help="default: records.db", default=Path("records.db")
        )
    for command in (listing, show, export):
        records_db.add_file(command)
    records_db.add_parsers(commands)
    for command in (listing, compare):
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one of the actions. Raises DlasError."""
    if args.action == "compare":
        return _compare(args)
    if args.action in ("schedules", "import", "merge", "prune") and args.db is None:
        from dlas_mlir.compiler import tuned

        args.db = tuned.database()
    if args.db is not None:
        return records_db.run(args)
    if args.action == "export" and args.won:
        raise DlasError("--won is about tuned schedules: --db names their data base")
    from dlas_mlir.measure.store import Store

    with Store(args.store, create=False) as store:
        if args.action == "show":
            if not args.number.isdigit():
                raise DlasError(f"expected the number of a record, found `{args.number}`")
            print(json.dumps(_whole(store.get(int(args.number))), indent=1))
        elif args.action == "list":
            _list(list(store.records()), args.json)
        else:
            check_writable(args.output)
            _export(list(store.records()), args.format, args.output)
    return 0


def _whole(record: Any) -> dict[str, Any]:
    return {"name": record.name, "key": record.key, "subject": record.subject, **json.loads(record.to_json())}


def _list(found: list[Stored], as_json: bool) -> None:
    from dlas_mlir.measure.rows import row

    rows = [{"id": stored.id, **row(stored.record)} for stored in found]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    columns = [
        ("", "right"),
        ("name", "left"),
        ("median ms", "right"),
        ("top-1", "right"),
        ("verified", "left"),
        ("run", "left"),
    ]
    cells = []
    for one in rows:
        median = "-" if one["median_ms"] is None else f"{one['median_ms']:.3f}"
        top1 = "-" if one["top1"] is None else f"{one['top1']:.2%}"
        state = "failed" if "error" in one else "yes" if one["verified"] else "not checked"
        cells.append([str(one["id"]), one["name"], median, top1, state, one["run"], one["date"]])
    print_table(f"{len(rows)} records", [*columns, ("date", "left")], cells)


def _export(found: list[Stored], kind: str, output: Path) -> None:
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.measure.rows import row
    from dlas_mlir.measure.tables import write_table

    if kind == "jsonl":
        write_atomically(output, "".join(f"{stored.record.to_json().decode()}\n" for stored in found))
        return
    rows = [{"id": stored.id, **row(stored.record)} for stored in found]
    # What is no number or text becomes JSON.
    flat = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in one.items()} for one in rows]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    columns = {key: [one.get(key) for one in flat] for key in keys}
    write_atomically(output, lambda path: write_table(columns, path, kind))


def _compare(args: argparse.Namespace) -> int:
    from dlas_mlir.measure.compare import pairs, summary

    found = pairs(_selected(args.a, args.store), _selected(args.b, args.store))
    facts = summary(found)
    if args.json:
        print(json.dumps({"pairs": [_plain(pair) for pair in found], **facts}, indent=1))
        return 0
    columns = [("", "left"), (f"A: {args.a}, ms", "right"), (f"B: {args.b}, ms", "right")]
    columns += [("B / A", "right"), ("95 % interval", "left"), ("B is", "left")]
    cells = []
    for pair in found:
        c = pair.comparison
        times = [f"{pair.before_ms:.3f}", f"{pair.after_ms:.3f}", f"{c.ratio:.3f}"]
        cells.append([pair.name, *times, f"{c.low:.3f} to {c.high:.3f}", c.verdict])
    mean = f"geometric mean of B / A: {facts['geomean']:.3f} (n = {facts['n']})"
    counts = ", ".join(f"{facts[name]} {name}" for name in ("faster", "slower", "tie"))
    print_table(f"{mean}; {counts}", columns, cells)
    return 0


def _plain(pair: Pair) -> dict[str, Any]:
    comparison = asdict(pair.comparison) | {"verdict": pair.comparison.verdict}
    return {key: value for key, value in asdict(pair).items() if key != "comparison"} | comparison


def _selected(text: str, store: Path) -> list[Stored]:
    from dlas_mlir.measure.compare import select
    from dlas_mlir.measure.store import Store

    if Path(text).is_file():
        with Store(text, create=False) as other:
            return list(other.records())
    with Store(store, create=False) as own:
        return select(own, text)
