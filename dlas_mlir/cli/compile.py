"""`dlas compile`: a model to a .vmfb."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_writable, progress, shapes


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser("compile", help="compile a model to a .vmfb")
    arguments.add_model(parser)
    arguments.add_preset(parser)
    arguments.add_threads(parser)
    arguments.add_db(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the .vmfb (default: in the cache)")
    parser.add_argument("--mlir", type=Path, metavar="FILE", help="also write the module after the passes")
    arguments.add_shapes(parser)
    arguments.add_batch(parser)
    arguments.add_timeout(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, and print where the artifact is. Raises DlasError."""
    from dlas_mlir.compiler.driver import compile_model

    arguments.use_db(args)
    for path in filter(None, (args.output, args.mlir)):
        check_writable(path)
    with progress() as show:
        artifact = compile_model(
            args.model,
            args.preset,
            threads=args.threads,
            inputs=shapes(args),
            batch=args.batch,
            weights=args.weights,
            output=args.output,
            mlir_out=args.mlir,
            progress=show,
            timeout=args.timeout,
        )
    print(args.output or artifact.vmfb)
    primitives = ", ".join(f"{name} {count}" for name, count in artifact.primitives.items())
    when = "cached" if artifact.cached else f"{sum(artifact.seconds.values()):.1f} s"
    print(f"{artifact.model} for {artifact.preset}: {primitives}; {when}", file=sys.stderr)
    return 0
