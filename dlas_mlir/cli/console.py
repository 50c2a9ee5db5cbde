"""What commands share on the terminal: progress, tables, errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from dlas_mlir.errors import DlasError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors look like all others: `error: ...` and exit code 1."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\n{self.format_usage().strip()}", file=sys.stderr)
        raise SystemExit(1)


@contextmanager
def progress() -> Iterator[Any]:
    """A function that shows what is being done: a spinner on a terminal, else a line each on stderr."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(text)


def print_table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; a column is its heading and "left" or "right". Nothing is cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)


def positive_int(text: str) -> int:
    """An argument that is a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found `{text}`")
    return value


def positive_float(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found `{text}`")
    return value


def check_writable(path: Path) -> None:
    """Fail before the work is done, not after it. Raises DlasError."""
    if path.is_dir():
        raise DlasError(f"cannot write {path}: it is a directory")
    if not path.parent.is_dir():
        raise DlasError(f"cannot write {path}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DlasError(f"cannot write {path}: permission denied")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """--weights and --input, which say what the model is."""
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a state_dict: .safetensors, or torch's")
    parser.add_argument(
        "--input",
        action="append",
        metavar="SHAPE",
        help="the shape of an input, such as 1x3x224x224xf32 (once for each input)",
    )


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """--dataset and --data, which say where images come from."""
    from dlas_mlir.datasets import NAMES

    parser.add_argument("--dataset", choices=NAMES, default="digits", help="default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the files of cifar10 or imagenet are")


def use_torch_threads(count: int | None) -> None:
    """Let PyTorch compute with `count` threads (None: as many as it likes). Raises DlasError for more than there are
    CPUs: it would start them all."""
    if count is None:
        return
    from dlas_mlir.runtime.devices import resolve

    resolve("local", count)
    import torch

    torch.set_num_threads(count)


def shapes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The values of --input, None when there are none."""
    return tuple(args.input) if args.input else None
