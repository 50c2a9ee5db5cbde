"""`dlas presets`: the targets, recipes and fragments that can be named."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.compiler.presets import Listed
    from dlas_mlir.compiler.presets.here import Here


def add_parser(subparsers: Any) -> None:
    """Add the command to `dlas`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "presets",
        help="list the presets, TARGET/RECIPE",
        description="List the presets, and whether this machine can run them: the others compile here and run "
        "elsewhere. Behind a recipe stands where schedules come from, as in host/auto:naive: naive, rule (the default) "
        "or tuned. The target host is this machine's CPU, host-gpu its GPU. Your own target files are looked for in "
        "$DLAS_PRESETS and in ~/.config/dlas_mlir/presets, before the ones that are built in.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--show", metavar="TARGET/RECIPE", help="print the whole pipeline of a preset, and its flags")
    what.add_argument("--fragments", action="store_true", help="list the parts that pipelines are made of")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print all presets, all fragments or one preset. Raises DlasError for a file that is wrong; one of many is told
    below the others, and the exit code is 1."""
    from dlas_mlir.compiler.presets import list_presets

    if args.show:
        return _show(args.show, args.json)
    if args.fragments:
        return _fragments(args.json)
    wrong: list[DlasError] = []
    presets = list_presets(wrong)
    _list(presets, args.json)
    sys.stdout.flush()
    for error in wrong:
        print(f"error: {error}", file=sys.stderr)
    return 1 if wrong else 0


def _list(presets: list[Listed], as_json: bool) -> None:
    from dlas_mlir.compiler.presets.here import here

    if as_json:
        print(json.dumps([{**dataclasses.asdict(one), **dataclasses.asdict(here(one))} for one in presets], indent=2))
        return
    width = max((len(preset.name) for preset in presets), default=0)
    for (target, file), same in groupby(presets, lambda preset: (preset.target, preset.file)):
        group = list(same)
        print(f"{target} ({file})\n  {_told(here(group[0]))}")
        for preset in group:
            print(f"  {preset.name:<{width}}  {preset.description}")
    print(_of_gpu())


def _told(found: Here) -> str:
    """Whether a target runs on this machine, in a line."""
    if not found.runs:
        return f"- cannot run here: {found.reason}"
    return f"+ runs here, on {found.on}" + (f" ({found.reason})" if found.reason else "")


def _of_gpu() -> str:
    """What the target host-gpu is on this machine."""
    from dlas_mlir.compiler.presets import host_gpu

    try:
        name, gpu = host_gpu.find()
    except DlasError as error:
        return f"host-gpu: {error}"
    return f"host-gpu is {name} with the figures of {gpu}"


def _show(name: str, as_json: bool) -> int:
    """The preset as the passes and iree-compile get it."""
    from dlas_mlir.compiler.presets import load_preset
    from dlas_mlir.opt.pipeline import parse_pipeline

    preset = load_preset(name)
    passes = [str(element) for element in parse_pipeline(preset.pipeline).elements]
    flags = list(preset.iree_flags)
    if as_json:
        facts = {"name": preset.name, "target": preset.target_name, "device": preset.device}
        found = {"figures": preset.target.figures(), "pipeline": preset.pipeline, "passes": passes, "iree_flags": flags}
        print(json.dumps({**facts, **found}, indent=2))
        return 0
    print(f"// {preset.name}: {preset.description}; target {preset.target_name}, device {preset.device}")
    print("builtin.module(\n  " + ",\n  ".join(passes) + "\n)" if passes else "builtin.module()")
    print("// iree-compile " + " ".join(flags))
    return 0


def _fragments(as_json: bool) -> int:
    from dlas_mlir.compiler.presets import list_fragments

    fragments = list_fragments()
    if as_json:
        print(json.dumps([dataclasses.asdict(fragment) for fragment in fragments], indent=2))
        return 0
    for fragment in fragments:
        print(f"@{fragment.name}: {fragment.description} ({fragment.pipeline.name}:{fragment.pipeline.line})")
        for line in fragment.pipeline.text.strip().splitlines():
            print(f"    {line}")
    return 0
