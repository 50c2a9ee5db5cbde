"""The `dlas` command: its subcommands are one module each, and import what they need when they run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from dlas_mlir.cli import bench, compile, compress, evaluate, models, presets, profile, records, run, train
from dlas_mlir.cli.console import Parser
from dlas_mlir.errors import DlasError


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; `args.run(args)` runs the chosen one."""
    parser = Parser(prog="dlas", description="Compile, run and time neural networks with MLIR and IREE.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in (compile, run, bench, records, profile, train, compress, evaluate, models, presets):
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what is wrong is `error: ...` and exit code 1, never a traceback."""
    # Told to stop, it goes as after Ctrl-C: its children ended, its temporary files removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    args = build_parser().parse_args(arguments)
    try:
        code = args.run(args)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except DlasError as error:
        # Errors in a pipeline's text know how to show the place.
        report = getattr(error, "report", None)
        print(report() if report else f"error: {error}", file=sys.stderr)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("DLAS_TRACEBACK"):
            traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        print(f"error: dlas broke: {message} (a bug; DLAS_TRACEBACK=1 shows where)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
