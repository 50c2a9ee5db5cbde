"""Which points a study that does not take the whole grid measures: drawn at random, or proposed by Optuna."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dlas_mlir.errors import DlasError
from dlas_mlir.study.axes import NAMES, Level
from dlas_mlir.study.derived import figures
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.store import StudyStore
from dlas_mlir.study.values import Point

if TYPE_CHECKING:
    import optuna

# Points that are proposed at a time: they are measured in as few blocks as can be.
_BATCH = 6
# Draws in a row that come to nothing new, after which there seems to be nothing more.
_PATIENCE = 10_000
OPTUNA = "optuna.db"


class Searching(Protocol):
    """Proposes points. What it has asked for is measured, and then told."""

    def ask(self) -> list[Point]:
        """The next points; none when the search is over."""
        ...

    def tell(self, store: StudyStore) -> None:
        """Look at what became of them."""
        ...


def searching(plan: Plan, store: StudyStore, folder: Path) -> Searching:
    """The search that the specification names. Raises DlasError where Optuna is missing."""
    if plan.spec.search == "random":
        return RandomSearch(plan)
    return OptunaSearch(plan, folder)


class RandomSearch:
    """Draws points that make sense, each once; the same ones for the same seed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._asked = False

    def ask(self) -> list[Point]:
        """All of them."""
        if self._asked:
            return []
        self._asked = True
        spec, source = self._plan.spec, random.Random(self._plan.spec.seed)
        found: dict[str, Point] = {}
        misses = 0
        seen: set[int] = set()
        while len(found) < spec.trials and len(seen) < spec.size and misses < _PATIENCE:
            number = source.randrange(spec.size)
            misses += 1
            if number in seen:
                continue
            seen.add(number)
            point = point_at(spec, number)
            if self._plan.judge(point) is None:
                found[point.id] = point
                misses = 0
        return list(found.values())

    def tell(self, store: StudyStore) -> None:
        """Chance learns nothing."""


def point_at(spec: Spec, number: int) -> Point:
    """The point of a grid with this number, in its order."""
    levels: list[Level] = []
    for name in reversed(NAMES):
        number, place = divmod(number, len(spec.axes[name]))
        levels.append(spec.axes[name][place])
    return Point(*reversed(levels))  # pyright: ignore[reportArgumentType]


class OptunaSearch:
    """Proposes points by Optuna's samplers, whose storage lies in the study's folder, for its dashboard too.

    What was under way when a run ended is asked for again. A point that is proposed a second time is told from the
    store; a cell that makes no sense counts as failed.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise DlasError("the searches tpe and nsga2 need Optuna: pip install 'dlas-mlir[study]'") from None
        self._plan, spec = plan, plan.spec
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        goals = spec.goals
        self._limits = goals.limits
        self._study = optuna.create_study(
            storage=f"sqlite:///{folder.absolute() / OPTUNA}",
            study_name=spec.name,
            sampler=_sampler(spec),
            directions=[*(["maximize"] * len(goals.maximise)), *(["minimize"] * len(goals.minimise))],  # pyright: ignore[reportArgumentType]
            load_if_exists=True,
        )
        self._flying: dict[int, tuple[optuna.Trial, Point]] = {}

    def ask(self) -> list[Point]:
        """Some points that are not measured yet."""
        from optuna.trial import Trial, TrialState

        found: list[Point] = []
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in self._flying and len(trial.params) == len(NAMES):
                point = Point(**trial.params)
                self._flying[trial.number] = (Trial(self._study, trial._trial_id), point)
                found.append(point)
        while len(found) < _BATCH and self._count() < self._plan.spec.trials:
            trial = self._study.ask()
            point = Point(**{name: trial.suggest_categorical(name, self._plan.spec.axes[name]) for name in NAMES})  # pyright: ignore[reportArgumentType]
            if (verdict := self._plan.judge(point)) is not None:
                trial.set_user_attr("reason", f"{verdict.state}: {verdict.reason}")
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            self._flying[trial.number] = (trial, point)
            found.append(point)
        return found

    def _count(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def tell(self, store: StudyStore) -> None:
        """Tell what was measured; what was not, as when a run is stopped, stays open."""
        from optuna.trial import TrialState

        known = figures(store)
        states = {row.id: row for row in store.points()}
        for number, (trial, point) in list(self._flying.items()):
            row = states.get(point.id)
            if row is None or row.state in ("planned", "running"):
                continue
            found = known.get(point.id, {})
            values = [found.get(name) for name in (*self._plan.spec.goals.maximise, *self._plan.spec.goals.minimise)]
            if row.state == "ok" and all(value is not None for value in values):
                for limit in self._limits:
                    trial.set_constraint(limit.text, 0.0 if limit.test(found) else 1.0)
                self._study.tell(number, values)  # pyright: ignore[reportArgumentType]
            else:
                self._study.tell(number, state=TrialState.FAIL)
            del self._flying[number]


def _sampler(spec: Spec) -> Any:
    from optuna.samplers import NSGAIISampler, TPESampler

    if spec.search == "tpe":
        return TPESampler(seed=spec.seed, multivariate=True)
    return NSGAIISampler(seed=spec.seed)
