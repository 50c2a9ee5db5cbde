"""`dlas tune --primitives`: choose the primitive of each layer by measurement."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli.console import print_table, shapes
from dlas_mlir.cli.tune_models import Outcomes

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


def run(args: argparse.Namespace, outcomes: Outcomes) -> int:
    """Choose for each model, print what was timed and what was chosen, and write JSON. Raises DlasError."""
    from dlas_mlir.tuning.primitives import tune_primitives

    def search(model: str, show: Any) -> PrimitivesReport:
        return tune_primitives(
            model,
            args.preset,
            threads=args.threads,
            db=args.db,
            inputs=shapes(args),
            weights=args.weights,
            batch=args.batch,
            jobs=args.jobs or 0,
            timeout=args.timeout,
            say=show,
        )

    return outcomes.tune("primitives", args.models, search, _tell)


def _tell(report: PrimitivesReport) -> int:
    """Print a report; the exit code, 1 where the machine was too noisy for anything to be faster."""
    _print(report)
    return int(_undecided(report))


def _undecided(report: PrimitivesReport) -> bool:
    return report.ratio == 1 and report.noise > _NOISY


def _print(report: PrimitivesReport) -> None:
    summary = f"{report.model} for {report.preset}, threads {report.threads}: "
    if report.ratio == 1:
        summary += f"{report.chosen} stays, nothing is faster"
        if _undecided(report):
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
