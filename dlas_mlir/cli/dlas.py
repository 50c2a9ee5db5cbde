"""The `dlas` command: its subcommands are one module each, and import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dlas_mlir.cli import bench, compile, presets, profile, run
from dlas_mlir.cli.console import Parser
from dlas_mlir.errors import DlasError


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; `args.run(args)` runs the chosen one."""
    parser = Parser(prog="dlas", description="Compile, run and time neural networks with MLIR and IREE.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in (compile, run, bench, profile, presets):
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what the user can mend is `error: ...` and exit code 1."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args)
    except DlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
