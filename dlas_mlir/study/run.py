"""`dlas study run`: a study's folder, what is to be measured in it, and the run until all is done or it is stopped."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dlas_mlir.compiler.cache import versions
from dlas_mlir.errors import DlasError
from dlas_mlir.study.artifacts import Artifacts
from dlas_mlir.study.coordinator import Coordinator
from dlas_mlir.study.executor import Executor
from dlas_mlir.study.expression import Expression, holds
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.rows import PointRow
from dlas_mlir.study.search import Searching, searching
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.store import StudyStore
from dlas_mlir.study.values import FAILED, OPEN

Say = Callable[[str], None]
STORE = "study.db"
_PARTS = ("dlas-mlir", "iree-base-compiler", "iree-base-runtime", "torch-mlir", "torch")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run does of a study: only points for which `where` holds, at most `limit` of them; `retry` has `failed`
    or `stale` for points that are measured again; `budget` are seconds (None: the specification's)."""

    where: Expression | None = None
    limit: int | None = None
    retry: frozenset[str] = frozenset()
    budget: float | None = None
    fail_fast: bool = False


@dataclass(frozen=True)
class Difference:
    """How a specification differs from what the store knows: points that are new, that left, that came back, and that
    were measured with other versions or settings than a run would now."""

    new: int = 0
    left: int = 0
    back: int = 0
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """What a run came to: points by state in the whole study, and in this run; `stopped` is why it ended early."""

    states: Mapping[str, int]
    run: Mapping[str, int] = field(default_factory=dict)
    stopped: str = ""

    @property
    def failed(self) -> int:
        """How many points have failed in this run."""
        return sum(self.run.get(state, 0) for state in FAILED)


def folder_of(spec: Spec, chosen: Path | None) -> Path:
    """Where a study's store, artifacts and report are."""
    return chosen if chosen is not None else Path(f"study-{spec.name}")


def artifacts_of(spec: Spec, folder: Path) -> str:
    """Where the files of a study in `folder` are, as `Artifacts` takes it."""
    return spec.artifacts or str(folder.absolute() / "artifacts")


def open_store(folder: Path) -> StudyStore:
    """The store in the folder of a study that was run. Raises DlasError."""
    return StudyStore(folder / STORE, create=False)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Have the folder for this run alone. Raises DlasError where another one has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DlasError(f"cannot write {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 20).decode() or "?"
            raise DlasError(f"{folder}: another run is at work on it (process {holder})") from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


def is_running(folder: Path) -> bool:
    """Whether a run has the folder now."""
    try:
        file = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(file)


def run(
    spec: Spec,
    folder: Path,
    executor: Callable[[Say], Executor],
    options: Options | None = None,
    *,
    lanes: int = 1,
    say: Say = lambda _: None,
) -> Summary:
    """Run a study, or go on with it: what is committed is not done again. Raises DlasError.

    `executor` makes what runs its jobs, `lanes` of them at a time. The first Ctrl-C ends it once what runs has ended,
    a second one (KeyboardInterrupt) at once.
    """
    options = options or Options()
    with claimed(folder), StudyStore(folder / STORE) as store:
        say(f"plan {spec.name}")
        plan = Plan.of(spec)
        for why in plan.absent.values():
            say(f"left out, not-applicable: {why}")
        _check_same_study(spec, store)
        store.describe({"spec": spec.text, "path": str(spec.path), "name": spec.name, "provenance": provenance()})
        difference = compare(plan, store)
        _tell(difference, options, say)
        if "failed" in options.retry:
            store.forget_failures()
        if "stale" in options.retry:
            store.reset(difference.stale)
        artifacts = artifacts_of(spec, folder)
        Artifacts(artifacts).check()
        _give_weights(spec, artifacts)
        runner = executor(say)
        try:
            coordinator = Coordinator(
                plan,
                store,
                runner,
                artifacts,
                lanes=lanes,
                say=say,
                fail_fast=options.fail_fast,
                deadline=_deadline(spec, options),
            )
            with _draining(coordinator, say):
                _measure(plan, store, coordinator, options, folder)
        finally:
            runner.close()
            store.describe({"now": {"running": [], "left_seconds": None, "time": time.time(), "draining": ""}})
        return Summary(store.states(), dict(coordinator.states), coordinator.draining)


def compare(plan: Plan, store: StudyStore) -> Difference:
    """Bring the points of the store in line with the plan."""
    rows = (
        PointRow(
            id=name,
            point=point,
            state=verdict.state if verdict else "planned",
            reason=verdict.reason if verdict else "",
        )
        for name, point in zip(plan.ids, plan.points, strict=True)
        for verdict in (plan.verdicts.get(name),)
    )
    grid = plan.spec.search == "grid"
    counts = store.plan(rows, whole=grid)
    if not grid:
        plan.add(row.point for row in store.points())
    stale = tuple(
        row.id
        for row in store.points("state = 'ok' AND there")
        if row.id not in plan.verdicts and plan.chain(row.id).key != row.key
    )
    return Difference(**counts, stale=stale)


def _tell(difference: Difference, options: Options, say: Say) -> None:
    if difference.left or difference.back:
        say(
            f"the specification has changed: {difference.new} points are new, {difference.left} have left it (they are "
            f"kept), {difference.back} are back"
        )
    if difference.stale and "stale" not in options.retry:
        say(
            f"{len(difference.stale)} points were measured with other versions or settings; --retry stale measures "
            "them again"
        )


def _check_same_study(spec: Spec, store: StudyStore) -> None:
    name = store.facts().get("name")
    if name is not None and name != spec.name:
        raise DlasError(f"{store.path}: this is the study `{name}`, not `{spec.name}`; --folder names another place")


def _give_weights(spec: Spec, artifacts: str) -> None:
    for source in spec.models.values():
        if source.weights is not None:
            Artifacts(artifacts).put(source.weights)


def _deadline(spec: Spec, options: Options) -> float | None:
    budget = options.budget if options.budget is not None else spec.measurement.budget
    return None if budget is None else time.monotonic() + budget


def _measure(plan: Plan, store: StudyStore, coordinator: Coordinator, options: Options, folder: Path) -> None:
    if plan.spec.search == "grid":
        _run(coordinator, store, todo_of(plan, store, options))
        return
    search: Searching = searching(plan, store, folder)
    left = options.limit
    while not coordinator.draining and left != 0 and (points := search.ask()):
        plan.add(points)
        names = plan.with_heads([point.id for point in points])
        store.plan((PointRow(id=name, point=plan.by_id[name], state="planned") for name in names), whole=False)
        waiting = {row.id for row in store.points("state IN ('planned', 'running')")}
        todo = [name for name in names if name in waiting and holds(options.where, plan.by_id[name].as_dict())]
        todo = todo[:left]
        left = None if left is None else left - len(todo)
        _run(coordinator, store, todo)
        search.tell(store)


def _run(coordinator: Coordinator, store: StudyStore, todo: list[str]) -> None:
    """Measure these points; those that an early end leaves have its reason."""
    coordinator.run(todo)
    if why := coordinator.draining:
        store.end_points(dict.fromkeys(coordinator.left(todo), ("planned", f"not measured yet: {why}")))


def todo_of(plan: Plan, store: StudyStore, options: Options) -> list[str]:
    """The ids of the points that a run measures, in the order of the plan."""
    waiting = {row.id for row in store.points("there") if row.state in OPEN}
    todo = [name for name in plan.wanted if name in waiting and holds(options.where, plan.by_id[name].as_dict())]
    return todo if options.limit is None else todo[: options.limit]


@contextmanager
def _draining(coordinator: Coordinator, say: Say) -> Iterator[None]:
    """The first Ctrl-C ends the run when what runs has ended; the second is a KeyboardInterrupt."""

    def first(number: int, frame: Any) -> None:
        say("stopping when what runs has ended; Ctrl-C again stops at once")
        coordinator.drain("interrupted")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, first)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def provenance() -> dict[str, str]:
    """What made the results, for a report."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **versions(*_PARTS),
    }
