"""Tuning a network: every build tests one candidate of every workload, in place, beside the rule's schedules."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.digest import kernel_digest
from dlas_mlir.codegen.schedule import AnySchedule, ScheduleError
from dlas_mlir.compiler import cache, choices, tuned
from dlas_mlir.compiler.frontend.importer import import_model
from dlas_mlir.compiler.job import Clock
from dlas_mlir.compiler.network import network_of
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.compiler.presets.here import gpu_of
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.check import tolerance_of
from dlas_mlir.measure.gate import measuring, working
from dlas_mlir.measure.trials import Status, Trial, Trials
from dlas_mlir.opt.base import PassError
from dlas_mlir.runtime.client import Worker
from dlas_mlir.runtime.devices import resolve, usable_cpus
from dlas_mlir.tuning.build import Assignment, Build, Builder, BuildError, halves
from dlas_mlir.tuning.expected import write_expected
from dlas_mlir.tuning.report import Transferred
from dlas_mlir.tuning.task import Settings, Task, tasks_of
from dlas_mlir.tuning.timing import Samples, typical

Say = Callable[[str], None]
# How long a build is profiled, and with how many calls.
_SECONDS = 0.4
_CALLS = (5, 100)
# A build may take this many times as long as the first one, to compile and to run.
_PATIENCE = 10.0
_LEAST_SECONDS = 30.0
# How many layers a line of progress names.
_NAMED = 3
_FOREVER = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Outcome:
    """What became of one candidate."""

    status: Status
    ratio: float | None = None
    samples: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    message: str = ""
    kernel: str = ""


class Tuner:
    """A search over all workloads of one network, for a `with` statement: it works in a folder of its own."""

    def __init__(
        self, model: str, preset: str, threads: int, settings: Settings, trials: Trials, say: Say, **source: object
    ) -> None:
        """Import `model` and list its kernels. Raises DlasError."""
        self.settings, self.trials, self.say = settings, trials, say
        self.threads, self.model = threads, model
        self.began = time.monotonic()
        self.run = secrets.token_hex(8)
        self.preset = load_preset(preset, threads=threads)
        self.device = resolve(self.preset.device, threads)
        gpu_of(self.preset, preset)  # before the work: it may not be here
        clock = Clock(say)
        with clock.stage(f"import {model}", "import"):
            self.imported = import_model(model, timeout=settings.timeout, **source)  # pyright: ignore[reportArgumentType]
        # As a preset with `:tuned` has them: what is tuned is what it compiles.
        self.preset = choices.with_choices(self.imported, self.preset, threads, say, trials.path)
        self.network = network_of(self.imported, self.preset, clock, settings.timeout)
        self.environment = tuned.environment(self.preset)
        self.tasks = tasks_of(model, self.network, self.preset, threads, settings, trials)
        self.jobs = settings.jobs or max(1, len(usable_cpus()))
        self.failures: dict[str, int] = {}
        self.timed = 0
        self.transferred: Transferred | None = None
        self.ready = False

    def __enter__(self) -> Tuner:
        self._workspace = cache.workspace()
        self.folder = self._workspace.__enter__()
        self.builder = Builder(
            self.network,
            self.preset,
            f"{self.imported.name} for {self.preset.name}",
            self.device,
            self.folder,
            self.settings.timeout,
        )
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(DlasError):  # the disk may be full; claims of a process that has ended are void
            self.trials.release(self.run)
        self._workspace.__exit__(None, None, None)

    # Search.

    def search(self, transfer: Callable[[], Transferred | None] = lambda: None) -> None:
        """Try schedules until trials or time are used up. Ctrl-C passes, with all that was found kept.

        `transfer` is called once the share of each kernel is known; it may give tasks another search.
        """
        self.baseline = self._baseline()
        self.transferred = transfer()
        self.ready = True
        self._resume()
        while self.left() > 0:
            lot = self.settings.lot or self.jobs
            assignments = [assignment for _ in range(lot) if (assignment := self._next())]
            if not assignments:
                break
            self._round(assignments)
            self._report()

    def left(self) -> float:
        """Seconds that are left; infinite without a budget."""
        if self.settings.budget is None:
            return float("inf")
        return self.settings.budget - (time.monotonic() - self.began)

    def _baseline(self) -> Build:
        """The rule's build: what all are compared with. It says what is right, and how long things may take."""
        self.say(f"compile {self.model} with the rule's schedules")
        build = self.builder.build({})
        self.say(f"check {self.model} with the rule's schedules")
        golden, timeout = self.imported.golden, self.settings.timeout
        with working(), Worker(build.vmfb, self.device, golden, timeout=timeout) as worker:
            if self.imported.golden is not None:
                check = worker.check(tolerance_of(self.preset.element))
                if not check.verified:
                    raise DlasError(f"{self.model} for {self.preset.name}: {check.reason}; there is nothing to tune")
            self.inputs: Sequence[np.ndarray] = worker.examples()
            outputs = worker.run()
            call_s = min(worker.turn(min_seconds=0.2, min_count=3).ns) / 1e9
        self.expected = write_expected(
            self.folder / "expected.npz",
            self.imported,
            self.preset.element,
            self.inputs,
            outputs,
            "the rule's schedules",
        )
        self.calls = max(_CALLS[0], min(_CALLS[1], int(_SECONDS / call_s)))
        self.builder.timeout = max(_LEAST_SECONDS, _PATIENCE * build.seconds)
        self.run_timeout = max(_LEAST_SECONDS, _PATIENCE * call_s * self.calls)
        with measuring():
            samples = self._time_of(build)
        total = sum(typical(ns) for ns in samples.values()) or 1.0
        for key, task in self.tasks.items():
            if key in samples:
                task.rule_ns = typical(samples[key])
                task.share = task.rule_ns / total
        self.call_s = call_s
        return build

    def _resume(self) -> None:
        """What was tried here before, with what is installed now, is known already; without a seed only once the
        search comes to it, unless it goes on with what it has tried itself."""
        told = self.settings.seed or self.settings.resume
        for task in self.tasks.values():
            for trial in self.trials.trials(task.place):
                if trial.environment != self.environment or trial.status == "lost":
                    continue
                try:
                    schedule = backends.read_schedule(trial.schedule, task.workload, self.preset.target)
                except ScheduleError:
                    continue
                ratio = trial.ratio if trial.status == "ok" else None
                if told:
                    task.search.known(schedule, ratio)
                    task.earlier += 1
                else:
                    task.before[schedule] = ratio

    def _next(self) -> Assignment:
        """A candidate for each workload that may have one more."""
        found: dict[str, AnySchedule] = {}
        for key, task in self.tasks.items():
            used = task.tried + (task.earlier if self.settings.resume else 0)
            if used < self.settings.trials and (schedule := self._candidate(task)) is not None:
                found[key] = schedule
                task.tried += 1
        return found

    def _candidate(self, task: Task) -> AnySchedule | None:
        """The next schedule that makes a kernel unlike those before, and that nobody else tries."""
        while (schedule := task.search.propose()) is not None:
            if schedule in task.before:
                task.search.tell(schedule, task.before[schedule])
                continue
            try:
                digest = kernel_digest(task.workload, schedule)
            except PassError as error:
                self._record(task, schedule, Outcome("fallback", message=str(error)))
                continue
            if (same := task.kernels.setdefault(digest, schedule)) != schedule:
                task.search.tell(schedule, 1.0 if same == task.rule else task.search.results.get(same))
                continue
            if self.trials.claim(self._trial(task, schedule, Outcome("running", kernel=digest))):
                return schedule
            task.search.tell(schedule, None)
        return None

    def _round(self, assignments: Sequence[Assignment]) -> None:
        """Build, check and time; where that fails, find out which of the candidates is at fault."""
        right: list[Build] = []
        failed: list[tuple[Assignment, BuildError]] = []
        for assignment, build in zip(assignments, self.builder.build_all(assignments, self.jobs), strict=True):
            try:
                right.append(self._checked(build))
            except BuildError as error:
                failed.append((assignment, error))
        try:
            failed += self._time(right)
        finally:
            for build in right:
                build.discard()
        for assignment, error in failed:
            if len(assignment) > 1:
                self._round(halves(assignment))
                continue
            ((key, schedule),) = assignment.items()
            self._record(self.tasks[key], schedule, Outcome(error.status, message=str(error)))

    def _checked(self, build: Build | BuildError) -> Build:
        if isinstance(build, BuildError):
            raise build
        try:
            self.builder.check(build, self.expected, self.run_timeout)
        except BuildError:
            build.discard()
            raise
        return build

    def _time(self, builds: Sequence[Build]) -> list[tuple[Assignment, BuildError]]:
        """Time builds, each between two times of the rule's: the machine may become slower or faster meanwhile. Returns
        what failed."""
        if not builds:
            return []
        failed: list[tuple[Assignment, BuildError]] = []
        with measuring():
            before = self._time_of(self.baseline)
            for build in builds:
                try:
                    samples = self._time_of(build)
                except BuildError as error:
                    failed.append((build.assignment, error))
                    continue
                after = self._time_of(self.baseline)
                self._settle(build, samples, before, after)
                before = after
        return failed

    def _time_of(self, build: Build) -> Samples:
        return self.builder.time(build, self.inputs, self.calls, self.run_timeout)

    def _settle(self, build: Build, samples: Samples, before: Samples, after: Samples) -> None:
        """Record the candidates of a build that was timed, beside the rule's schedules before and after it."""
        for key, schedule in build.assignment.items():
            if key in build.fallen_back or key not in samples or key not in before or key not in after:
                self._record(self.tasks[key], schedule, Outcome("fallback", message="left to iree-compile's own code"))
                continue
            rule = (*before[key], *after[key])
            self._record(
                self.tasks[key],
                schedule,
                Outcome("ok", typical(samples[key]) / typical(rule), (tuple(samples[key]), rule)),
            )

    def _record(self, task: Task, schedule: AnySchedule, outcome: Outcome) -> None:
        task.search.tell(schedule, outcome.ratio)
        if outcome.status == "ok":
            self.timed += 1
        else:
            self.failures[outcome.status] = self.failures.get(outcome.status, 0) + 1
        digest = next((digest for digest, known in task.kernels.items() if known == schedule), "")
        self.trials.add(
            self._trial(
                task, schedule, Outcome(outcome.status, outcome.ratio, outcome.samples, outcome.message, digest)
            )
        )

    def _trial(self, task: Task, schedule: AnySchedule, outcome: Outcome) -> Trial:
        return Trial(
            place=task.place,
            environment=self.environment,
            schedule=schedule.to_value(),
            status=outcome.status,
            kernel=outcome.kernel,
            ratio=outcome.ratio,
            samples=outcome.samples,
            message=outcome.message[:2000],
            model=self.model,
            source=task.sources.get(schedule, ""),
            run=self.run,
        )

    def _report(self) -> None:
        done = max((task.tried for task in self.tasks.values()), default=0)
        gain = sum(task.share * (1 - min(1.0, task.best_ratio)) for task in self.tasks.values())
        faster = sum(task.best_ratio < 0.98 for task in self.tasks.values())
        spent = time.monotonic() - self.began
        left = min(max(self.left(), 0.0), spent / max(done, 1) * (self.settings.trials - done))
        self.say(
            f"tune {self.model}, threads {self.threads}: {done} schedules tried{_remaining(left)}; "
            f"{faster} of {len(self.tasks)} kernels look faster, {100 * gain:.1f} % of the time{self._most()}"
        )

    def _most(self) -> str:
        """The layers that have gained most of a call so far, with the time over the rule's of each."""
        gains = sorted(self.tasks.values(), key=lambda task: task.share * (task.best_ratio - 1))
        named = [task for task in gains if task.layers[0] and task.best_ratio < 0.98][:_NAMED]
        return "".join(f"{', ' if i else ': '}{task.layers[0]} {task.best_ratio:.2f}" for i, task in enumerate(named))


def _remaining(seconds: float) -> str:
    """The time left in words; nothing where there is no end but that candidates run out."""
    if seconds > _FOREVER:
        return ""
    return f", some {seconds:.0f} s left" if seconds < 90 else f", some {seconds / 60:.0f} min left"
