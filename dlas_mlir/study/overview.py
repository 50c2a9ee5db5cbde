"""What `dlas study plan` tells: what there is to do, and what that will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir import models
from dlas_mlir.runtime.devices import usable_cpus
from dlas_mlir.study.estimate import Estimate
from dlas_mlir.study.expression import Expression, holds
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.run import STORE, open_store
from dlas_mlir.study.search import RandomSearch
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.values import OPEN, Point

# Of weights, and of the samples of a point, on disk.
_BYTES, _OF_POINT = 4, 20_000
_MODEL_BYTES = 40_000_000  # of a model that is not of the zoo


@dataclass(frozen=True)
class Overview:
    """A plan in figures: `steps` are kind, models, count and seconds; `left_out` counts by state and reason."""

    spec: Spec
    points: Sequence[tuple[str, Point]]
    cells: Sequence[tuple[str, Point, str, str]]
    left_out: Mapping[tuple[str, str], int]
    steps: Sequence[tuple[str, int, int, float]]
    done: int
    blocks: int
    seconds: float
    disk: int
    lanes: int

    @property
    def wanted(self) -> int:
        """Points that are to be measured, done or not."""
        return len(self.points)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "name": self.spec.name,
            "cells": self.spec.size,
            "points": [{"id": name, **point.as_dict()} for name, point in self.points],
            "left_out": [
                {"id": name, **point.as_dict(), "state": state, "reason": reason}
                for name, point, state, reason in self.cells
            ],
            "steps": [
                {"kind": kind, "models": count, "count": n, "seconds": seconds}
                for kind, count, n, seconds in self.steps
            ],
            "done": self.done,
            "blocks": self.blocks,
            "seconds": self.seconds,
            "disk_bytes": self.disk,
        }


def overview(spec: Spec, folder: Path, where: Expression | None = None) -> Overview:
    """Plan a study, as far as it is not done in `folder` yet. Raises DlasError."""
    plan = Plan.of(spec)
    if spec.search == "random":
        plan.add(RandomSearch(plan).ask())
    shown = [name for name in plan.ids if where is None or holds(where, plan.by_id[name].as_dict())]
    wanted = [name for name in shown if name not in plan.verdicts]
    cells = [
        (name, plan.by_id[name], plan.verdicts[name].state, plan.verdicts[name].reason)
        for name in shown
        if name in plan.verdicts
    ]
    done_points, done_steps = _done(folder)
    todo = [name for name in wanted if name not in done_points]
    steps = plan.steps(todo, done_steps.__contains__)
    lanes = max(1, len(usable_cpus()))
    estimate = Estimate(steps, lanes)
    return Overview(
        spec=spec,
        points=[(name, plan.by_id[name]) for name in wanted],
        cells=cells,
        left_out=Counter((state, reason) for _, _, state, reason in cells),
        steps=_by_kind(steps, estimate),
        done=len(wanted) - len(todo),
        blocks=sum(1 for _ in plan.blocks(todo)),
        seconds=estimate.seconds(),
        disk=_disk(steps),
        lanes=lanes,
    )


def _done(folder: Path) -> tuple[set[str], set[str]]:
    """The points and the steps that a run would not do again."""
    if not (folder / STORE).is_file():
        return set(), set()
    with open_store(folder) as store:
        points = {row.id for row in store.points() if row.state not in OPEN}
        return points, {row.key for row in store.steps()}


def _by_kind(steps: Mapping[tuple[str, str], int], estimate: Estimate) -> list[tuple[str, int, int, float]]:
    found: dict[str, tuple[int, int, float]] = {}
    for (kind, subject), count in steps.items():
        subjects, total, seconds = found.get(kind, (0, 0, 0.0))
        found[kind] = (subjects + 1, total + count, seconds + count * estimate.mean(kind, subject))
    return [(kind, *values) for kind, values in found.items()]


def _disk(steps: Mapping[tuple[str, str], int]) -> int:
    """Bytes of checkpoints, artifacts (with their right outputs) and samples."""
    total = 0
    for (kind, subject), count in steps.items():
        entry = models.find(subject)
        size = entry.parameters * _BYTES if entry is not None else _MODEL_BYTES
        # The cache holds each artifact too, and each imported model.
        copies = {"train": 1, "compress": 1, "import": 1, "lower": 1, "compile": 2}.get(kind, 0)
        total += count * (copies * size if copies else _OF_POINT * (kind == "measure"))
    return total
