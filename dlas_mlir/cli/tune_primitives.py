"""`dlas tune --primitives`: choose the primitive of each layer by measurement."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from dlas_mlir.cli.console import in_any_case, print_table, progress, shapes
from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.tuning.primitives import PrimitivesReport

# From here on the noise explains why nothing is faster.
_NOISY = 0.05

_TIMED = [
    ("primitives", "left"),
    ("predicted, ms", "right"),
    ("measured, ms", "right"),
    ("off by", "right"),
    ("time / rule's", "right"),
    ("95 % interval", "left"),
]
_LAYERS = [
    ("layer", "left"),
    ("shape", "left"),
    ("the recipe's", "left"),
    ("chosen", "left"),
    ("why", "left"),
    ("us of each", "left"),
]


def run(args: argparse.Namespace) -> int:
    """Choose for each model, print what was timed and what was chosen, and write JSON. Raises DlasError."""
    from dlas_mlir.compiler.cache import write_atomically
    from dlas_mlir.tuning.primitives import tune_primitives

    reports: list[PrimitivesReport] = []
    errors: list[str] = []

    def write() -> None:
        if args.json:
            write_atomically(args.json, json.dumps([report.to_plain() for report in reports], indent=1) + "\n")

    with in_any_case(write):
        for model in args.models:
            try:
                with progress() as show:
                    report = tune_primitives(
                        model,
                        args.preset,
                        threads=args.threads,
                        db=args.db,
                        inputs=shapes(args),
                        weights=args.weights,
                        jobs=args.jobs or 0,
                        timeout=args.timeout,
                        say=show,
                    )
            except DlasError as error:
                errors.append(f"{model}: {error}")
                continue
            reports.append(report)
            _print(report)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


def _print(report: PrimitivesReport) -> None:
    summary = f"{report.model} for {report.preset}, threads {report.threads}: "
    if report.ratio == 1:
        summary += f"{report.chosen} stays, nothing is faster"
        if report.noise > _NOISY:
            summary += f" by more than the noise ({100 * report.noise:.0f} % between two starts of the same)"
    else:
        summary += f"{report.chosen}, {report.ratio:.3f} of the time with the recipe's own primitives"
    summary += (
        f"; {report.builds} builds in {report.seconds:.0f} s, their outputs compared with those of {report.checked_by}"
    )
    for name, reason in report.failures.items():
        summary += f"\nwithout {name}: {reason.splitlines()[0]}"
    timed = [
        [
            one.name,
            f"{one.predicted_ms:.3f}",
            f"{one.measured_ms:.3f}",
            f"{100 * one.off:+.0f} %",
            f"{one.ratio:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
        ]
        for one in report.timed
    ]
    print_table(summary, _TIMED, timed, ("95 % interval", "off by"))
    layers = [
        [
            one.layer,
            one.shape,
            one.rule,
            one.chosen if one.chosen != one.rule else "the same",
            one.why,
            ", ".join(f"{name} {us:.1f}" for name, us in sorted(one.costs.items(), key=lambda item: item[1])),
        ]
        for one in report.layers
    ]
    print_table("the choice by layer", _LAYERS, layers, ("shape", "the recipe's"))
