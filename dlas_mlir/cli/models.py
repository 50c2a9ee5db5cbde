"""`dlas models`: the models of the zoo."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_writable, in_any_case, print_table
from dlas_mlir.models import ZooModel, registry

_COLUMNS = [
    ("model", "left"),
    ("input", "left"),
    ("parameters", "right"),
    ("MMACs", "right"),
    ("description", "left"),
]


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list the models of the zoo",
        description="List the models of the zoo, with their parameters and the multiply-accumulates of one "
        "inference. A model of your own is named package.module:factory, or is a .pt2, .onnx, .mlir or .mlirbc file.",
    )
    arguments.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table, and write it as JSON. Raises DlasError for a file that cannot be written."""
    if args.json:
        check_writable(args.json)

    def write() -> None:
        if args.json:
            from dlas_mlir.compiler.cache import write_atomically

            write_atomically(args.json, json.dumps([_facts(model) for model in registry()], indent=2) + "\n")

    rows = [
        [model.name, model.input_spec, f"{model.parameters:,}", f"{model.macs / 1e6:,.1f}", model.description]
        for model in registry()
    ]
    with in_any_case(write):
        print_table("", _COLUMNS, rows, ("description",))
    return 0


def _facts(model: ZooModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "input": model.input_spec,
        "parameters": model.parameters,
        "macs": model.macs,
        "description": model.description,
    }
