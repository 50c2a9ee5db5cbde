"""`dlas study gc`: what a study does not need any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.run import STORE, artifacts_of, claimed, open_store
from dlas_mlir.study.spec_file import spec_of_store
from dlas_mlir.study.store import StudyStore


@dataclass(frozen=True)
class Collected:
    """How much was removed."""

    files: int
    bytes: int
    steps: int
    points: int


def collect(folder: Path, *, left: bool = False, dry_run: bool = False) -> Collected:
    """Remove results of steps that no point needs as the study is now, files that no result names, and with `left`
    points that have left. Raises DlasError, also while a run is at work."""
    with open_store(folder):
        pass  # a folder without a study is told before it is claimed
    with claimed(folder), StudyStore(folder / STORE) as store:
        spec = spec_of_store(store)
        plan = Plan.empty(spec)
        gone = [row.id for row in store.points("NOT there")]
        plan.add(row.point for row in store.points("there"))
        needed = {step.key for name in plan.wanted for step in plan.chain(name).work}
        rows = list(store.steps())
        unneeded = [row.key for row in rows if row.key not in needed]
        named = {name for row in rows if row.key in needed for name in _names(row.result)}
        artifacts = Artifacts(artifacts_of(spec, folder))
        files = {name: size for name, size in artifacts.names().items() if name not in named}
        if not dry_run:
            store.forget(unneeded, gone if left else [])
            for name in files:
                artifacts.remove(name)
    return Collected(len(files), sum(files.values()), len(unneeded), len(gone) if left else 0)


def _names(result: Mapping[str, Any] | None) -> Iterator[str]:
    """The files that the result of a step names."""
    for value in (result or {}).values():
        if isinstance(value, str):
            yield value
