"""Schedules that differ from one another in one decision: what a search over schedules walks along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import AnyTarget
from dlas_mlir.codegen.workload import Workload


@dataclass(frozen=True)
class Move:
    """A schedule, and which decision was changed to come to it."""

    kind: Kind
    schedule: AnySchedule


def moves(workload: Workload, schedule: AnySchedule, target: AnyTarget) -> Iterator[Move]:
    """The legal schedules that differ from `schedule` in one decision, each once: those of its backend that are near
    (`moves.py` in its folder says what the decisions are)."""
    backend = backends.backend_of(workload, schedule)
    seen = {schedule}
    for kind, found in backend.near(workload, schedule, target):
        if found not in seen and backend.problem(workload, found, target) is None:
            seen.add(found)
            yield Move(kind, found)
