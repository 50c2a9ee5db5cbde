"""`dlas train`: a model of the zoo on a dataset, to a checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.arguments import positive_float, positive_int
from dlas_mlir.cli.console import check_writable, use_torch_threads
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.compression.train import Epoch, Report


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train a model to a checkpoint",
        description="Train a model of the zoo on a dataset. An interrupted training loses at most an epoch: its "
        "state is beside the output, and --resume goes on from it.",
    )
    parser.add_argument("model", metavar="MODEL", help="a zoo name")
    arguments.add_dataset(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument(
        "--recipe",
        choices=["mnist5k", "digits", "cifar"],
        help="what the options below have for defaults: mnist5k, digits (minutes) or cifar (the study's 200 epochs); "
        "default: the one for the dataset",
    )
    parser.add_argument("--epochs", type=positive_int, metavar="N")
    parser.add_argument("--lr", type=positive_float, metavar="X", help="the highest learning rate of the cycle")
    parser.add_argument("--batch", type=positive_int, metavar="N", help="images in a batch")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=["f32", "bf16"],
        help="of the computation; weights are f32 (default: bf16 where the CPU has it)",
    )
    arguments.add_torch_threads(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, and print the accuracy. Raises DlasError."""
    if args.output.suffix != ".safetensors":
        raise DlasError(f"cannot write {args.output}: a checkpoint's name ends in .safetensors")
    check_writable(args.output)

    from dlas_mlir import datasets
    from dlas_mlir.compression import train

    dataset = datasets.load(arguments.dataset(args), args.data)
    recipe = args.recipe or train.recipe_of(dataset.name)
    given = {key: getattr(args, key) for key in ("epochs", "lr", "batch") if getattr(args, key) is not None}
    precision = args.precision or train.fastest_precision()
    settings = replace(train.RECIPES[recipe], seed=args.seed, precision=precision, **given)
    use_torch_threads(args.threads)
    try:
        with _reporting(settings.epochs) as report:
            accuracy = train.train(args.model, dataset, settings, args.output, resume=args.resume, report=report)
    except KeyboardInterrupt:
        if train.part_file(args.output).exists():
            print("interrupted: the same command with --resume goes on after the last whole epoch", file=sys.stderr)
        raise
    print(args.output)
    print(f"{args.model} on {dataset.name}: {accuracy}", file=sys.stderr)
    return 0


@contextmanager
def _reporting(epochs: int) -> Iterator[Report]:
    """A bar for the epoch on a terminal; a line for each epoch, on stderr, everywhere."""
    from dlas_mlir.compression.train import Report

    if not sys.stderr.isatty():
        yield Report(epoch=lambda epoch: print(_line(epoch), file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, highlight=False), transient=True) as bars:
        task = bars.add_task("", total=None)

        def step(epoch: int, done: int, total: int) -> None:
            bars.update(task, description=f"epoch {epoch} of {epochs}", completed=done, total=total)

        yield Report(step=step, epoch=lambda epoch: bars.console.print(_line(epoch)))


def _line(epoch: Epoch) -> str:
    accuracy = f"{epoch.accuracy.top1:.2%}"
    return f"epoch {epoch.number} of {epoch.of}: loss {epoch.loss:.4f}, test {accuracy}, {epoch.seconds:.1f} s"
