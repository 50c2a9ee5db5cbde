"""`dlas compress`: a model and a recipe to a checkpoint."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_writable, print_table, progress, shapes, use_torch_threads
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.compression.compress import Compressed
    from dlas_mlir.compression.fine_tuning import FineTuner
    from dlas_mlir.compression.step import Step

_COLUMNS = [
    ("", "left"),
    ("parameters", "right"),
    ("non-zeros", "right"),
    ("MB", "right"),
    ("MMACs", "right"),
    ("effective", "right"),
]
_LAYER_COLUMNS = [("layer", "left"), ("weights", "left"), ("type", "left"), *_COLUMNS[1:]]


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compress",
        help="prune, shrink or halve a model by a recipe",
        description="Compress a model by the steps of a recipe (see docs/compression.md), and write a "
        "checkpoint that holds the recipe and is given to other commands with --weights.",
    )
    parser.add_argument("model", metavar="MODEL", help="a zoo name or package.module:factory")
    parser.add_argument("--recipe", type=Path, required=True, metavar="FILE", help="the steps, a TOML file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .safetensors to write")
    arguments.add_shapes(parser)
    arguments.add_dataset(parser)
    arguments.add_torch_threads(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--layers", action="store_true", help="also print every layer")
    arguments.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compress, and print what became of the model. Raises DlasError."""
    if args.output.suffix != ".safetensors":
        raise DlasError(f"cannot write {args.output}: a checkpoint's name ends in .safetensors")
    for path in filter(None, (args.output, args.json)):
        check_writable(path)

    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.compression.compress import compress
    from dlas_mlir.compression.recipe import read_recipe
    from dlas_mlir.compression.step import StepError

    steps = read_recipe(args.recipe)
    use_torch_threads(args.threads)
    notes: list[str] = []
    with progress() as show:
        tuner = _tuner(args, steps, show) if any(step.epochs_needed for step in steps) else None
        images = _calibration(args) if any(step.images_needed for step in steps) else None
        try:
            done = compress(
                args.model,
                steps,
                inputs=shapes(args),
                weights=args.weights,
                tune=tuner,
                calibration=images,
                progress=show,
                report=notes.append,
            )
        except StepError as error:
            raise DlasError(f"{args.recipe}: {error}") from None
        done.save(args.output)
    if tuner is not None:
        tuner.remove_states()
    if args.json:
        write_atomically(args.json, json.dumps(done.as_json(), indent=2) + "\n")
    _print(args.model, done, args.layers)
    for note in notes:
        print(note)
    print(args.output, file=sys.stderr)
    return 0


def _tuner(args: argparse.Namespace, steps: Sequence[Step], show: Callable[[str], None]) -> FineTuner:
    """What fine-tunes, which goes on from the files of an interrupted run if --resume says so."""
    from dlas_mlir import datasets
    from dlas_mlir.compiler.cache import digest, file_digest
    from dlas_mlir.compression.fine_tuning import FineTuner, states
    from dlas_mlir.compression.recipe import as_json

    found = states(args.output)
    if found and not args.resume:
        raise DlasError(f"{found[0]} is of a run that was interrupted: --resume goes on with it; else delete it")
    identity = digest([as_json(step) for step in steps], file_digest(args.weights) if args.weights else None)
    dataset = datasets.load(arguments.dataset(args), args.data)
    return FineTuner(args.model, dataset, args.output, identity[:16], show)


def _calibration(args: argparse.Namespace) -> Callable[[int], Any]:
    from dlas_mlir import datasets

    return datasets.load(arguments.dataset(args), args.data).calibration


def _print(name: str, done: Compressed, layers: bool) -> None:
    rows = [[what, *_figures(cost)] for what, cost in (("before", done.before), ("after", done.after))]
    print_table(name, _COLUMNS, rows)
    if layers:
        print_table(
            "",
            _LAYER_COLUMNS,
            [[row.name, "x".join(map(str, row.shape)), row.element, *_figures(row)] for row in done.after.layers],
        )


def _figures(cost: Any) -> list[str]:
    share = cost.nonzeros / cost.parameters if cost.parameters else 1.0
    return [
        f"{cost.parameters:,}",
        f"{cost.nonzeros:,} ({share:.1%})",
        f"{cost.bytes / 1e6:,.2f}",
        f"{cost.macs / 1e6:,.1f}",
        f"{cost.effective_macs / 1e6:,.1f}",
    ]
