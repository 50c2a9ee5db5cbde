"""`dlas evaluate`: the accuracy of a compiled model, beside PyTorch's of the same weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.arguments import positive_int
from dlas_mlir.cli.console import check_machine, check_writable, print_table, progress, use_torch_threads, write_json

if TYPE_CHECKING:
    from dlas_mlir.compression.accuracy import Accuracy, Evaluation

_COLUMNS = [("", "left"), ("top-1", "right"), ("correct", "right"), ("images", "right"), ("95 % interval", "right")]


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="the accuracy of a compiled model, beside PyTorch's",
        description="Compile a model and run the artifact over the test images of a dataset, one at a time; "
        "PyTorch runs the same weights over the same images, with as many threads.",
    )
    arguments.add_model(parser)
    arguments.add_preset(parser)
    arguments.add_weights(parser)
    arguments.add_dataset(parser)
    arguments.add_threads(parser)
    parser.add_argument("--limit", type=positive_int, metavar="N", help="take only N images, the classes in turn")
    arguments.add_json(parser)
    arguments.add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table and write JSON. Raises DlasError."""
    from contextlib import ExitStack

    if args.json:
        check_writable(args.json)
    # Threads of PyTorch that wait for a core that others hold do so by spinning, for many times the work.
    use_torch_threads(args.threads)
    check_machine(args.preset, args.threads)

    from dlas_mlir import datasets
    from dlas_mlir.benchmark.description import evaluation_record
    from dlas_mlir.compiler.driver import compile_model
    from dlas_mlir.compression.accuracy import evaluate
    from dlas_mlir.measure.store import Store

    dataset = datasets.load(arguments.dataset(args), args.data)
    with ExitStack() as stack:
        keep = stack.enter_context(Store(args.store)).add if args.store else lambda _: None
        show = stack.enter_context(progress())
        found = evaluate(
            args.model,
            args.preset,
            dataset,
            weights=args.weights,
            threads=args.threads,
            limit=args.limit,
            progress=show,
        )
        if args.store:
            artifact = compile_model(args.model, args.preset, threads=args.threads, weights=args.weights)  # cached
            keep(evaluation_record(found, artifact, args.weights, args.threads))
    write_json(args.json, found.as_row())
    _print(found)
    return 0


def _print(found: Evaluation) -> None:
    rows = [_cells(found.preset, found.artifact)]
    if found.pytorch is not None:
        rows.append(_cells("PyTorch", found.pytorch))
    print_table(f"{found.model} on {found.dataset}", _COLUMNS, rows)
    share = found.nonzeros / max(1, found.parameters)
    print(
        f"{found.parameters / 1e6:,.2f} M parameters, {share:.1%} of them not zero; "
        f"{found.weight_bytes / 1e6:,.2f} MB of weights; {found.macs / 1e6:,.1f} M multiply-accumulates, "
        f"{found.effective_macs / 1e6:,.1f} M without zeros"
    )
    if found.agreement is None:
        print("there is no PyTorch model to compare with")
    else:
        print(f"the same class for {found.agreement:.2%} of the images")


def _cells(name: str, accuracy: Accuracy) -> list[str]:
    interval = f"{accuracy.low:.2%} to {accuracy.high:.2%}"
    return [name, f"{accuracy.top1:.2%}", str(accuracy.correct), str(accuracy.n), interval]
