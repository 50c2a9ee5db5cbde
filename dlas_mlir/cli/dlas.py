"""The `dlas` command: its subcommands are one module each, and import what they need when they run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlas_mlir.cli.entry import guarded

if TYPE_CHECKING:
    import argparse

_TORCH_COMMANDS = ("train", "compress", "evaluate")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; `args.run(args)` runs the chosen one."""
    from dlas_mlir.cli import (
        bench,
        compile,
        compress,
        evaluate,
        models,
        presets,
        profile,
        records,
        run,
        study,
        train,
        tune,
    )
    from dlas_mlir.cli.console import Parser, ShowVersion

    parser = Parser(prog="dlas", description="Compile, run and time neural networks with MLIR and IREE.")
    parser.add_argument("--version", action=ShowVersion)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in (compile, run, bench, tune, study, records, profile, train, compress, evaluate, models, presets):
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what is wrong is `error: ...` and exit code 1, never a traceback."""
    return guarded("dlas", lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    args = build_parser().parse_args(arguments)
    if arguments is None and args.command in _TORCH_COMMANDS:
        from dlas_mlir.cli.entry import supervised
        from dlas_mlir.process import is_supervised

        # These compute with PyTorch in their own process.
        if not is_supervised():
            return supervised(__spec__.name, sys.argv[1:], f"dlas {args.command} ended")
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
