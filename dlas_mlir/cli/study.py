"""`dlas study`: points over the six layers of the stack, planned, run, kept and reported."""

from __future__ import annotations

import argparse
from typing import Any

from dlas_mlir.cli import study_look, study_report, study_run, study_worker


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "study",
        help="vary what is chosen over the whole stack, and say what is true",
        description="Plan, run and look at studies: points over datasets, models, compression, primitives, schedules "
        "and devices, described by a TOML file (docs/studies.md).",
    )
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for part in (study_run, study_look, study_report, study_worker):
        part.add_parsers(commands)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one of the actions. Raises DlasError."""
    return args.act(args)
