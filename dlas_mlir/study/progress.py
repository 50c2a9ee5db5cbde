"""How far a study is, from its store alone: whoever runs it need not be asked."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dlas_mlir.study.store import StudyStore
from dlas_mlir.study.values import FAILED


@dataclass(frozen=True)
class Progress:
    """Points by state, what runs now and how long the rest will take, failures by state and reason, and by device how
    far two starts of one and the same artifact differed."""

    name: str
    states: Mapping[str, int]
    running: bool
    now: Sequence[str]
    left_seconds: float | None
    draining: str
    failures: Mapping[tuple[str, str], int]
    noise: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        failures = [{"state": state, "reason": why, "points": n} for (state, why), n in self.failures.items()]
        return {**asdict(self), "failures": failures}


def progress_of(store: StudyStore, *, running: bool) -> Progress:
    """Read it. `running` says whether a run has the folder."""
    facts = store.facts()
    now = facts.get("now", {}) if running else {}
    failures: Counter[tuple[str, str]] = Counter()
    for row in store.points(f"there AND state IN ({', '.join('?' * len(FAILED))})", FAILED):
        failures[row.state, row.reason.splitlines()[0] if row.reason else ""] += 1
    noises: dict[str, list[float]] = {}
    for block in store.blocks():
        if block.noise is not None:
            noises.setdefault(block.device, []).append(block.noise)
    return Progress(
        name=facts.get("name", ""),
        states=store.states(),
        running=running,
        now=now.get("running", []),
        left_seconds=now.get("left_seconds"),
        draining=now.get("draining", ""),
        failures=dict(failures.most_common()),
        noise={device: statistics.median(found) for device, found in noises.items()},
    )
