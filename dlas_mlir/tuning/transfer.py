"""Transfer-tuning: a few schedules that other models' kernels were found to be fast with, tried on those of one model.

As in Gibson and Cano, "Transfer-Tuning" (PACT 2022), kernels of one class share schedules, from the one model that
promises most or from all of them mixed. Unlike there, a schedule is fitted to the loops that it is tried on, only the
few that promise most are tried, and a source promises what its schedules have gained, where the model's time goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.fitting import Source
from dlas_mlir.codegen.refit import refits
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.codegen.target import AnyTarget, CpuTarget
from dlas_mlir.codegen.workload import Access, Workload
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Trials, Winner
from dlas_mlir.tuning.report import Transferred
from dlas_mlir.tuning.task import Task

# What a schedule that beat nothing promises, where the rule's is not among what is tried.
_UNKNOWN_GAIN = 0.02
# A source promises less by this exponent for each extent that is twice or half as much, and by this factor for other
# accesses (another stride).
_BY_DOUBLING = 0.35
_OTHER_ACCESS = 0.5

Method = Literal["fitted", "as-is"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Where schedules come from: `sources` are models of the data base, or files of other data bases, all models in
    them. `pool` mixes them, else the one that promises most is taken. At most `candidates` are tried for each workload.

    `method` is `fitted`, or `as-is` for that of the paper: all schedules of kernels with the same operations, as they
    are, whatever does not fit is left out.
    """

    sources: tuple[str, ...]
    pool: bool = False
    candidates: int = 5
    method: Method = "fitted"


@dataclass(frozen=True)
class Foreign:
    """The schedule that a kernel of another model was found to be fastest with. `gain` is the part of the rule's time
    that it saves, 0 for the rule's own."""

    model: str
    source: Source
    gain: float

    @property
    def name(self) -> str:
        """As trials and winners say where they came from."""
        return f"{self.model} {self.source.workload.exact[:16]}"


@dataclass
class TransferSearch:
    """Proposes what was transferred, best promise first; is told what it came to, as `Search` is. `start` is what there
    is anyway."""

    start: AnySchedule
    start_ratio: float | None
    candidates: Sequence[AnySchedule]
    results: dict[AnySchedule, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results[self.start] = self.start_ratio
        # Where nobody knows how fast the start is, it is tried too.
        first = [self.start] if self.start_ratio is None else []
        self._left = [*first, *(one for one in self.candidates if one != self.start)]

    def ranked(self) -> list[tuple[AnySchedule, float]]:
        """All that ran right, the fastest first."""
        found = [(schedule, ratio) for schedule, ratio in self.results.items() if ratio is not None]
        return sorted(found, key=lambda item: item[1])

    def propose(self) -> AnySchedule | None:
        """The next; None where none is left."""
        return self._left.pop(0) if self._left else None

    def tell(self, schedule: AnySchedule, ratio: float | None) -> None:
        """`schedule` takes `ratio` times the rule's time; None: it did not come to a time."""
        self.results[schedule] = ratio

    def known(self, schedule: AnySchedule, ratio: float | None) -> None:
        """What was measured before; it is not proposed again."""
        self.tell(schedule, ratio)
        self._left = [one for one in self._left if one != schedule]


# The sources.


def foreign_schedules(transfer: Transfer, model: str, preset: Preset, trials: Trials) -> dict[str, list[Foreign]]:
    """What each source model knows for the target of `preset`, by its name. Raises DlasError for a source that is
    unknown, or that has nothing for this target."""
    found: dict[str, list[Foreign]] = {}
    for source in transfer.sources:
        if source not in trials.models() and Path(source).is_file():
            with Trials(source, create=False) as other:
                here = {name: _of_model(other, name, preset) for name in other.models() if name != model}
                _check_file(other, here, model, preset)
        else:
            here = {source: _of_named(trials, source, model, preset)}
        for name, schedules in here.items():
            found.setdefault(name, []).extend(schedules)
    return {name: schedules for name, schedules in found.items() if schedules}


def _check_file(other: Trials, found: Mapping[str, list[Foreign]], model: str, preset: Preset) -> None:
    if not found:
        raise DlasError(f"{other.path}: no model but {model} was tuned there; `dlas tune OTHER --db {other.path}` does")
    if not any(found.values()):
        raise DlasError(f"{other.path}: nothing was tuned there for {preset.target_name}")


def _of_named(trials: Trials, source: str, model: str, preset: Preset) -> list[Foreign]:
    if source == model:
        raise DlasError(f"{model}: its schedules are its own already; transfer them from another model")
    known = [name for name in trials.models() if name != model]
    if source not in known:
        there = f"there are {', '.join(known)}" if known else "it has no other model"
        raise DlasError(f"{trials.path}: no model `{source}` was tuned there, and there is no such file; {there}")
    found = _of_model(trials, source, preset)
    if not found:
        raise DlasError(
            f"{trials.path}: {source} was not tuned there for {preset.target_name}; `dlas tune {source}` does"
        )
    return found


def _of_model(trials: Trials, model: str, preset: Preset) -> list[Foreign]:
    """The latest winner of each workload, of as many threads if there is one."""
    mine = trials.tried_by(model)
    threads = preset.target.threads if isinstance(preset.target, CpuTarget) else 1
    best: dict[str, Winner] = {}
    for winner in trials.winners("target_name = ?", (preset.target_name,)):
        key = winner.place.workload
        if key in mine and not (key in best and best[key].place.threads == threads != winner.place.threads):
            best[key] = winner
    workloads = {known.exact: known.text for known in trials.known() if known.exact in best}
    found = []
    for key, winner in best.items():
        if key in workloads:
            with suppress(ScheduleError, LookupError):
                found.append(_foreign(model, Workload.from_json(workloads[key]), winner, preset))
    return found


def _foreign(model: str, workload: Workload, winner: Winner, preset: Preset) -> Foreign:
    if winner.schedule is not None:
        schedule = backends.read_schedule(winner.schedule, workload, preset.target)
        return Foreign(model, Source(workload, schedule, winner.place.threads), max(0.0, 1 - winner.ratio))
    # The rule's schedule there is what its target has it do.
    rule = backends.backend_for(workload, preset.target).rule(workload, preset.target)
    threads = preset.target.threads if isinstance(preset.target, CpuTarget) else 1
    return Foreign(model, Source(workload, rule, threads), 0.0)


# Which source, and which schedules.


def similarity(one: Workload, other: Workload) -> float:
    """1 for the same loops, less the further their extents are apart by ratio; and for another stride."""
    apart = math.fsum(abs(math.log2(one.extents[loop] / other.extents[loop])) for loop in one.names)
    return math.exp(-_BY_DOUBLING * apart) * (1.0 if _indices(one) == _indices(other) else _OTHER_ACCESS)


def _indices(workload: Workload) -> list[tuple[str, ...]]:
    return [item.index for item in workload.root.inputs if isinstance(item, Access)]


def score(tasks: Iterable[Task], foreign: Sequence[Foreign]) -> float:
    """What a source promises: the part of the model's time that it would save if each kernel gained what the source's
    most similar kernels of the family did, the less the less similar they are."""
    return sum(task.share * max((_promise(task, one, 0.0) for one in foreign), default=0.0) for task in tasks)


def covered(tasks: Iterable[Task], foreign: Sequence[Foreign]) -> float:
    """The part of the model's time in kernels of which the source has some of the family."""
    families = {one.source.workload.family for one in foreign}
    return sum(task.share for task in tasks if task.workload.family in families)


def paper_score(tasks: Iterable[Task], foreign: Sequence[Foreign]) -> float:
    """The paper's: over classes, the part of the model's time times the root of the number of the source's kernels."""
    counts: dict[str, int] = {}
    for one in foreign:
        counts[operations(one.source.workload)] = counts.get(operations(one.source.workload), 0) + 1
    return sum(task.share * math.sqrt(counts.get(operations(task.workload), 0)) for task in tasks)


def operations(workload: Workload) -> str:
    """The paper's class: the operations that are fused, without shapes. Loops by name tell one convolution from a
    depthwise one or a product of matrices."""
    stages = ["+".join(step.op.removeprefix("arith.") for step in stage.body) for stage in workload.stages]
    return f"{' '.join(workload.names)}: {'; '.join(stages)}"


def _promise(task: Task, one: Foreign, unknown: float) -> float:
    if one.source.workload.family != task.workload.family:
        return 0.0
    return max(one.gain, unknown) * similarity(one.source.workload, task.workload)


def candidates(
    task: Task, foreign: Sequence[Foreign], target: AnyTarget, transfer: Transfer, *, seed: bool
) -> dict[AnySchedule, str]:
    """The schedules to try, each with where it comes from; the best promise first.

    With `seed` the rule's schedule is there anyway, and what it could not be beaten by says nothing. Schedules are
    ranked by promise, over what they are estimated to cost beside the rule's.
    """
    if transfer.method == "as-is":
        return dict(_as_they_are(task, foreign, target))
    cost = backends.backend_for(task.workload, target).cost
    usual = cost(task.workload, task.rule, target)
    ranked: list[tuple[float, AnySchedule, str]] = []
    for one in foreign:
        promise = _promise(task, one, 0.0 if seed else _UNKNOWN_GAIN)
        if promise <= 0:
            continue
        for number, schedule in enumerate(refits(one.source, task.workload, target)):
            more = max(1.0, cost(task.workload, schedule, target) / usual) if usual > 0 else 1.0
            ranked.append((promise / more / 2**number, schedule, one.name))
    ranked.sort(key=lambda entry: -entry[0])
    found: dict[AnySchedule, str] = {}
    for _, schedule, name in ranked:
        if len(found) < transfer.candidates and not (seed and schedule == task.rule):
            found.setdefault(schedule, name)
    return found


def _as_they_are(task: Task, foreign: Sequence[Foreign], target: AnyTarget) -> Iterator[tuple[AnySchedule, str]]:
    """Those that happen to fit."""
    wanted, problem = operations(task.workload), backends.backend_for(task.workload, target).problem
    for one in foreign:
        if operations(one.source.workload) != wanted:
            continue
        with suppress(ScheduleError):
            schedule = backends.read_schedule(one.source.schedule.to_value(), task.workload, target)
            if problem(task.workload, schedule, target) is None:
                yield schedule, one.name


def check_families(foreign: Mapping[str, list[Foreign]], tasks: Mapping[str, Task]) -> None:
    """Raise DlasError where no source has a kernel of a family of the tasks."""
    kernels = {one.source.workload.exact: one.source.workload.family for known in foreign.values() for one in known}
    if not {task.workload.family for task in tasks.values()} & set(kernels.values()):
        raise DlasError(
            f"{', '.join(foreign)}: none of the {len(kernels)} kernels tuned there is of a family with one of this "
            f"model's {len(tasks)}, so there is nothing to transfer"
        )


def prepare(
    transfer: Transfer,
    foreign: Mapping[str, list[Foreign]],
    tasks: Mapping[str, Task],
    target: AnyTarget,
    *,
    seed: bool,
    say: Callable[[str], None],
) -> Transferred:
    """Choose the source and replace the search of each task by one over what comes from there."""
    scores = {name: _score(transfer, tasks.values(), known) for name, known in foreign.items()}
    chosen = list(foreign) if transfer.pool else [max(foreign, key=lambda name: scores[name])]
    known = [one for name in chosen for one in foreign[name]]
    count = 0
    for task in tasks.values():
        found = candidates(task, known, target, transfer, seed=seed)
        start = task.rule if seed else task.search.start
        task.search = TransferSearch(start, 1.0 if start == task.rule else None, list(found))
        task.sources = found
        count += len(found)
    say(f"transfer {count} schedules to {len(tasks)} kernels, from {', '.join(chosen)}")
    part = 100 * covered(tasks.values(), known)
    plain = {name: first for name, (first, _) in scores.items()}
    return Transferred(tuple(chosen), plain, count, part)


def _score(transfer: Transfer, tasks: Iterable[Task], known: Sequence[Foreign]) -> tuple[float, float]:
    """Of equal ones that which covers more is taken."""
    if transfer.method == "as-is":
        return paper_score(tasks, known), 0.0
    return score(tasks, known), covered(tasks, known)
