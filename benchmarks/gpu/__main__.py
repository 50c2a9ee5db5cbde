"""`python -m benchmarks.gpu build|run|table`; see `benchmarks/gpu/__init__.py` and docs/gpu.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.gpu import cases, parts, report, running
from dlas_mlir.errors import DlasError


def main() -> int:
    """Run a command; the exit code is 1 where something was wrong."""
    options = _parser().parse_args()
    try:
        return options.start(options)
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _build_parser(commands.add_parser("build", help="compile everything, here, without a GPU"))
    run = commands.add_parser("run", help="check and time a bundle on the GPU of this machine")
    run.set_defaults(start=_run)
    add = run.add_argument
    add("--bundle", type=Path, default=Path(), help="the folder that `build` wrote (default: this one)")
    add("--output", type=Path, default=Path("results"), help="a folder for rows.jsonl, results.json and results.md")
    add("--seconds", type=float, default=340.0, help="for everything (default: %(default)s)")
    add("--parts", nargs="+", default=list(parts.PARTS), choices=list(parts.PARTS), help="default: all, in this order")
    add(
        "--patience", type=float, default=1.0, help="more time for each part and case, on a slow device, by this factor"
    )
    add("--turn", type=float, default=0.1, help="seconds that each time is measured (default: %(default)s)")
    add("--elements", nargs="+", default=list(cases.RECIPES), choices=list(cases.RECIPES), help="default: all types")
    table = commands.add_parser("table", help="the table of rows that were written, of a run that was cut off too")
    table.set_defaults(start=_table)
    table.add_argument("output", type=Path, nargs="+", help="folders; the tables are written into the first")
    one = commands.add_parser("part", help="what `run` starts: one part, its rows on stdout")
    one.set_defaults(start=parts.serve)
    one.add_argument("part")
    one.add_argument("--bundle", type=Path, required=True)
    one.add_argument("--turn", type=float, required=True)
    one.add_argument("--first", type=int, default=0)
    one.add_argument("--step", type=int, default=1)
    one.add_argument("--elements", nargs="+", default=list(cases.RECIPES))
    return parser


def _build_parser(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(start=_build)
    add = parser.add_argument
    add("bundle", type=Path, help="the folder to write; what is in it already is kept")
    add("--target", default="cuda-sm90", help="default: %(default)s")
    add("--elements", nargs="+", default=["f16", "f32", "int8", "bf16", "tf32"], choices=list(cases.RECIPES))
    add("--models", nargs="*", default=list(cases.MODELS))
    add("--layers", nargs="*", help="names such as conv_64x56_64_k3_s1_g1_n1 (default: all)")
    add("--batches", nargs="+", type=int, default=list(cases.BATCHES))
    add("--grid", type=int, help="how many modules of the grid of convolutions (default: all)")
    add("--zoo", nargs="*", help="networks whose numbers are compared, in all types (no names: all of the zoo)")
    add("--candidates", type=int, default=0, help="schedules of each layer beside the rule's (default: none)")
    add("--apart", action="store_true", help="networks in float16 also with each kernel a launch of its own")
    add("--candidates-of", nargs="+", default=["f16"], choices=list(cases.LAYER_ELEMENTS), help="default: f16")
    add("--python", default="3.12", help="of the machine with the GPU, whose runtime is put in; empty: none")


def _build(options: argparse.Namespace) -> int:
    from benchmarks.gpu.build import build

    failed = build(options.bundle, options, lambda text: print(text, flush=True))
    if failed:
        print(f"{failed} cases could not be made: their rows will say why", flush=True)
    return 0


def _run(options: argparse.Namespace) -> int:
    rows = running.run(options)
    print(report.write(rows, options.output))
    return int(any("error" in row for row in rows))


def _table(options: argparse.Namespace) -> int:
    rows = [row for folder in options.output for row in running.read_rows(folder / "rows.jsonl")]
    print(report.write(rows, options.output[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
