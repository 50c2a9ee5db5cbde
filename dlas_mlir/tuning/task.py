"""What is to be tuned: the workloads of a network, each with its search."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from dlas_mlir import process
from dlas_mlir.codegen import backends
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.codegen.target import AnyTarget
from dlas_mlir.codegen.workload import Workload
from dlas_mlir.compiler import tuned
from dlas_mlir.compiler.network import Kernel, Network
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.trials import Known, Place, Trials, Winner
from dlas_mlir.tuning.search import FROM_NAIVE, Experience, Search


class Searching(Protocol):
    """What proposes schedules: `search.Search` says what each of these does."""

    start: AnySchedule
    results: dict[AnySchedule, float | None]

    def ranked(self) -> list[tuple[AnySchedule, float]]: ...

    def propose(self) -> AnySchedule | None: ...

    def tell(self, schedule: AnySchedule, ratio: float | None) -> None: ...

    def known(self, schedule: AnySchedule, ratio: float | None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a search may take.

    `trials` is how many schedules are tried for each workload at most, `budget` the seconds for all, before
    the best take turns with the rule's (None: any time).
    `layers` is a pattern as of a shell: kernels of other layers keep the rule's schedule. Without `seed` the search
    starts from the naive schedule and knows neither the rule nor records. `jobs` are compilers at a time, `lot` the
    builds that are timed before the search goes on (0: as many as compile at a time): a larger one asks for the machine
    less often, and what is tried in it learns nothing from the rest of it.
    """

    trials: int = 64
    budget: float | None = None
    layers: str = "*"
    seed: bool = True
    resume: bool = False
    jobs: int = 0
    lot: int = 0
    finalists: int = 3
    rounds: int = 6
    timeout: float | None = process.LIMIT


@dataclass
class Task:
    """One workload of a network, and the search for its schedule. `layers` are those that it does, `share` is its part
    of the time of a call with the rule's schedules, `rule_ns` nanoseconds of a call. `kernels` are the schedules by
    the hash of the kernel that they make, `sources` says of those that were transferred from where. `incumbent` is the
    record that holds here already, of a schedule that beat the rule's, `challenged` that schedule. `before` are times
    over the rule's of schedules that were tried here, where the search is not to know of them until it comes to them.
    """

    workload: Workload
    rule: AnySchedule
    layers: tuple[str, ...]
    primitive: str
    place: Place
    search: Searching
    rule_kernel: str
    kernels: dict[str, AnySchedule] = field(default_factory=dict)
    sources: dict[AnySchedule, str] = field(default_factory=dict)
    before: dict[AnySchedule, float | None] = field(default_factory=dict)
    incumbent: Winner | None = None
    challenged: AnySchedule | None = None
    rule_ns: float = 0.0
    share: float = 0.0
    tried: int = 0
    earlier: int = 0

    @property
    def key(self) -> str:
        """The exact key of the workload."""
        return self.workload.exact

    @property
    def best_ratio(self) -> float:
        """The best time so far over the rule's."""
        ranked = self.search.ranked()
        return ranked[0][1] if ranked else 1.0


def tasks_of(
    model: str, network: Network, preset: Preset, threads: int, settings: Settings, trials: Trials
) -> dict[str, Task]:
    """A task for each workload of the layers that are asked for, by exact key. Raises DlasError where there is none."""
    if not network.kernels:
        raise DlasError(f"{model}: no kernel of ours is in it, so there is nothing to tune")
    by_key: dict[str, list[Kernel]] = {}
    for kernel in network.kernels:
        by_key.setdefault(kernel.workload.exact, []).append(kernel)
    wanted = {
        key: same
        for key, same in by_key.items()
        if any(fnmatch.fnmatchcase(kernel.layer, settings.layers) for kernel in same)
    }
    if not wanted:
        known = ", ".join(dict.fromkeys(kernel.layer for kernel in network.kernels if kernel.layer))
        raise DlasError(f"{model}: no layer is called `{settings.layers}`; there are {known}")
    trials.know(
        Known(key, w.anchor, w.family, w.to_json()) for key, w in ((k, s[0].workload) for k, s in wanted.items())
    )
    held = tuned.holding(_records(trials, preset, wanted), network, preset).winners
    experience = Experience() if settings.seed else Experience(prior=FROM_NAIVE)
    found = {key: _task(same, preset, threads, settings, trials, experience) for key, same in wanted.items()}
    for key, task in found.items():
        if (winner := held.get(key)) is not None and winner.schedule is not None:
            with suppress(ScheduleError):
                task.challenged = backends.read_schedule(winner.schedule, task.workload, preset.target)
                task.incumbent = winner
    return found


def _records(trials: Trials, preset: Preset, keys: Collection[str]) -> Iterator[Winner]:
    """What came with the package, then what earlier searches found."""
    yield from tuned.shipped_winners(preset, keys)
    yield from trials.winners("target_name = ?", (preset.target_name,))


def _task(
    kernels: list[Kernel], preset: Preset, threads: int, settings: Settings, trials: Trials, experience: Experience
) -> Task:
    workload, target = kernels[0].workload, preset.target
    rule = backends.read_schedule(kernels[0].rule, workload, target)
    place = tuned.place_of(workload, preset, threads)
    if settings.seed:
        search = Search(workload, target, rule, 1.0, _seeds(trials, place, workload, target), experience)
    else:
        naive = backends.backend_of(workload, rule).naive(workload, target)
        search = Search(workload, target, naive, 1.0 if naive == rule else None, (), experience)
    digest = kernel_digest(workload, rule)
    layers = tuple(kernel.layer for kernel in kernels)
    return Task(workload, rule, layers, kernels[0].primitive, place, search, digest, {digest: rule})


def _seeds(trials: Trials, place: Place, workload: Workload, target: AnyTarget) -> tuple[AnySchedule, ...]:
    """What earlier searches found best here, the latest first, whatever they were measured with."""
    found = []
    for winner in trials.winners("workload = ? AND target = ?", (place.workload, place.target)):
        if winner.schedule is not None:
            with suppress(ScheduleError):
                found.append(backends.read_schedule(winner.schedule, workload, target))
    return tuple(reversed(found))
