"""`dlas presets`: the targets and recipes that can be named."""

from __future__ import annotations

import argparse
import dataclasses
import json
from itertools import groupby
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "presets",
        help="list the presets, TARGET/RECIPE",
        description="List the presets. Your own target files are looked for in $DLAS_PRESETS and in "
        "~/.config/dlas_mlir/presets, before the ones that are built in.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print all presets. Raises DlasError for a target file that is wrong."""
    from dlas_mlir.compiler.presets import list_presets

    presets = list_presets()
    if args.json:
        print(json.dumps([dataclasses.asdict(preset) for preset in presets], indent=2))
        return 0
    width = max((len(preset.name) for preset in presets), default=0)
    for (target, file), group in groupby(presets, lambda preset: (preset.target, preset.file)):
        print(f"{target} ({file})")
        for preset in group:
            print(f"  {preset.name:<{width}}  {preset.description}")
    return 0
