"""All that is known of one point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.study.derived import figures
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.rows import PointRow
from dlas_mlir.study.spec_file import spec_of_store
from dlas_mlir.study.store import StudyStore


@dataclass(frozen=True)
class StepOf:
    """A step of a point, and how it ended; `waiting` where it has not."""

    kind: str
    key: str
    state: str
    reason: str
    seconds: float
    tries: int


@dataclass(frozen=True)
class About:
    """A point with its figures and steps."""

    row: PointRow
    metrics: Mapping[str, float]
    steps: Sequence[StepOf]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        row = self.row
        head = {"id": row.id, "state": row.state if row.there else "left", "reason": row.reason}
        levels = {"levels": row.point.as_dict(), "metrics": dict(self.metrics)}
        return {**head, **levels, "steps": [asdict(step) for step in self.steps]}


def find(store: StudyStore, text: str) -> PointRow:
    """The point whose id begins with `text`. Raises DlasError for none, and for several."""
    found = list(store.points("id LIKE ?", (f"{text}%",))) if text.isalnum() else []
    if len(found) != 1:
        many = f"there are {len(found)} points" if found else "there is no point"
        raise DlasError(f"{store.path}: {many} whose id begins with `{text}`; `dlas study export` lists all ids")
    return found[0]


def about(store: StudyStore, text: str) -> About:
    """The point whose id begins with `text`. Raises DlasError."""
    row = find(store, text)
    plan = Plan.empty(spec_of_store(store))
    steps = []
    if plan.judge(row.point) is None and row.there:
        plan.add([row.point])
        chain = plan.chain(row.id)
        ended = {step.key: step for step in store.steps(step.key for step in chain.work)}
        for step in chain.work:
            one = ended.get(step.key)
            tries = sum(1 for _ in store.attempts(step.key))
            state = (one.state, one.reason, one.seconds) if one else ("waiting", "", 0.0)
            steps.append(StepOf(step.kind, step.key, *state, tries))
    return About(row, figures(store).get(row.id, {}), steps)
