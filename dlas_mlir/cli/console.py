"""What commands share on the terminal: progress, tables, errors."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.compiler.artifact import Artifact


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors look like all others: `error: ...` and exit code 1."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\n{self.format_usage().strip()}", file=sys.stderr)
        raise SystemExit(1)

    def print_help(self, file: Any = None) -> None:
        """As argparse does, which says nothing when it cannot be written."""
        print(self.format_help(), end="", file=file or sys.stdout, flush=True)


class ShowVersion(argparse.Action):
    """--version: the versions of what is installed, and nothing else is done."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print versions")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from dlas_mlir.cli.entry import versions

        print(versions())
        parser.exit()


@contextmanager
def progress() -> Iterator[Any]:
    """A function that shows what is being done: a spinner on a terminal, else a line each on stderr."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(text)


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], spare: Sequence[str] = ()
) -> None:
    """A table on stdout; a column is its heading and "left" or "right". Nothing is cut off or folded.

    On a terminal that is too narrow, columns are left out in the order of `spare`, and a line below names them; into a
    file or a pipe goes everything.
    """
    from rich.console import Console

    console = Console()
    shown = [name for name, _ in columns]
    left_out = []
    width = _width(console, columns, rows, shown)
    for name in spare if sys.stdout.isatty() else ():
        if width <= console.width:
            break
        shown.remove(name)
        left_out.append(name)
        width = _width(console, columns, rows, shown)
    if title:
        print(title)
    # As wide as it is: what is still too wide, the terminal wraps.
    Console(highlight=False, width=width).print(_table(columns, rows, shown))
    if left_out:
        print(f"not shown, for want of columns: {', '.join(left_out)}")


def _width(
    console: Any, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], shown: Sequence[str]
) -> int:
    """The columns of the terminal that the table takes when nothing is folded."""
    unlimited = console.options.update(width=100_000)
    return console.measure(_table(columns, rows, shown), options=unlimited).maximum


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], shown: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    places = [index for index, (name, _) in enumerate(columns) if name in shown]
    for index in places:
        name, justify = columns[index]
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[index]) for index in places))
    return table


@contextmanager
def in_any_case(write: Callable[[], object]) -> Iterator[None]:
    """Do what is inside, which may find stdout closed or its disk full, or be stopped by Ctrl-C, and then `write`; the
    first error is raised."""
    try:
        yield
    except (OSError, KeyboardInterrupt):
        write()
        raise
    write()


def check_writable(path: Path) -> None:
    """Fail before the work is done, not after it. Raises DlasError."""
    if path.is_dir():
        raise DlasError(f"cannot write {path}: it is a directory")
    if not path.parent.is_dir():
        raise DlasError(f"cannot write {path}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DlasError(f"cannot write {path}: permission denied")


def write_json(path: Path | None, value: Any) -> None:
    """Write what --json asks for; nothing without it. Raises DlasError."""
    from dlas_mlir.compiler.cache import write_atomically

    if path is not None:
        write_atomically(path, json.dumps(value, indent=1) + "\n")


def use_torch_threads(count: int | None) -> None:
    """Let PyTorch compute with `count` threads (None: as many as it likes). Raises DlasError for more than there are
    CPUs: it would start them all."""
    if count is None:
        return
    from dlas_mlir.runtime.devices import resolve

    resolve("local", count)
    import torch

    torch.set_num_threads(count)


def check_machine(preset: str, threads: int, *models: str) -> None:
    """Fail before anything is compiled, where this machine has fewer CPUs than `threads`, or no GPU for `preset`.

    `models` that are all compiled say themselves what device they are for. Raises DlasError, which says how many there
    may be, or what is missing.
    """
    from dlas_mlir.compiler.artifact import SUFFIX
    from dlas_mlir.runtime.devices import resolve

    if models and all(model.endswith(SUFFIX) for model in models):
        return
    from dlas_mlir.compiler.presets import load_preset
    from dlas_mlir.compiler.presets.here import gpu_of

    chosen = load_preset(preset, threads=threads)
    resolve(chosen.device, threads)
    gpu_of(chosen, preset)


def shapes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The values of --input, None when there are none."""
    return tuple(args.input) if args.input else None


def compiled(
    args: argparse.Namespace,
    inputs: tuple[str, ...] | None,
    show: Callable[[str], None],
    *,
    batch: int | None = None,
) -> Artifact:
    """What the arguments of a command name, compiled. Raises DlasError."""
    from dlas_mlir import api

    return api.compile(
        args.model,
        preset=args.preset,
        threads=args.threads,
        inputs=inputs,
        batch=batch,
        weights=args.weights,
        progress=show,
        timeout=args.timeout,
    )
