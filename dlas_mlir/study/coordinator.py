"""Runs the steps and blocks of a study's points, in whatever order they become possible, and commits the ends."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlas_mlir.measure.turn import Turn
from dlas_mlir.study.estimate import Estimate, words
from dlas_mlir.study.executor import Done, Executor, Job
from dlas_mlir.study.figures import figures_of
from dlas_mlir.study.plan import Plan
from dlas_mlir.study.rows import BlockRow, Hits, Metric, PointRow, StepRow
from dlas_mlir.study.store import StudyStore
from dlas_mlir.study.values import FAILED, Block, Step

Say = Callable[[str], None]
# A job whose process dies, or whose worker is lost, is tried this often.
_ATTEMPTS = 2
_WAIT_SECONDS = 0.5
# Blocks of a device that are on their way: beyond those, nobody looks at what could be begun.
_MOST_OPEN = 64
# How often those who watch are told.
_TELL_SECONDS = 2.0


@dataclass(eq=False)
class _Line:
    """The blocks of one device, which no other device waits for: those to come, those on their way, and the keys of
    the jobs that are out for them."""

    blocks: Iterator[tuple[str, ...]]
    open: list[_Open] = field(default_factory=list)
    flying: set[str] = field(default_factory=set)


@dataclass(eq=False)
class _Open:
    """A block whose members are on their way: `todo` are those that are to be measured, `settled` those of which no
    more is to come, with why (None: all their work is done)."""

    line: _Line
    members: tuple[str, ...]
    todo: frozenset[str]
    settled: dict[str, tuple[str, str] | None] = field(default_factory=dict)

    @property
    def ready(self) -> list[str]:
        """The members that can be measured."""
        return [name for name in self.members if name in self.settled and self.settled[name] is None]


class Coordinator:
    """One run over the points of a plan. The store is written by it alone."""

    def __init__(
        self,
        plan: Plan,
        store: StudyStore,
        executor: Executor,
        artifacts: str,
        *,
        lanes: int,
        say: Say = lambda _: None,
        fail_fast: bool = False,
        deadline: float | None = None,
    ) -> None:
        """`lanes` is how much work is done at a time, `deadline` the monotonic time at which nothing more is begun."""
        self.plan, self.store, self.executor = plan, store, executor
        self.artifacts, self.lanes, self.say = artifacts, lanes, say
        self.fail_fast, self.deadline = fail_fast, deadline
        self.draining = ""  # why nothing more is begun
        self.results: dict[str, Mapping[str, Any]] = {}
        self.failed: dict[str, tuple[str, str]] = {}
        for row in store.steps():
            if row.state == "ok" and row.result is not None:
                self.results[row.key] = row.result
            else:
                self.failed[row.key] = (row.state, row.reason)
        self._outcome: dict[str, str] = {}  # the state that each point of this run has ended in
        self._lines: list[_Line] = []
        self._flying: dict[str, Step | _Open] = {}
        self._attempts: Counter[str] = Counter()
        self._blocks: dict[str, Block] = {}
        self._titles: dict[str, str] = {}
        self._told = 0.0
        self.estimate = Estimate({}, lanes)

    @property
    def states(self) -> Counter[str]:
        """How many points have ended in each state."""
        return Counter(self._outcome.values())

    def left(self, todo: Sequence[str]) -> list[str]:
        """Those of `todo` that this run has not come to."""
        return [name for name in todo if name not in self._outcome]

    def drain(self, why: str) -> None:
        """Begin nothing more."""
        self.draining = self.draining or why

    def run(self, todo: Sequence[str]) -> None:
        """Measure these points. Raises DlasError where the store cannot be written, or nothing more can be run."""
        self.estimate = Estimate(self.plan.steps(todo, self._is_done), self.lanes)
        wanted = frozenset(todo)
        devices: dict[str, list[tuple[str, ...]]] = {}
        for members in self.plan.blocks(todo):
            devices.setdefault(self.plan.by_id[members[0]].device, []).append(members)
        self._lines = [_Line(iter(blocks)) for blocks in devices.values()]
        while True:
            self._fill(wanted)
            if not self._flying:
                return
            for done in self.executor.wait(_WAIT_SECONDS):
                self._settle(done)
            self._tell()

    def _is_done(self, key: str) -> bool:
        return key in self.results or key in self.failed

    # What is begun.

    def _fill(self, wanted: frozenset[str]) -> None:
        """Submit what is possible: enough for each device that nobody who could work waits for us."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.drain("the budget is used up")
        for line in self._lines:
            self._fill_line(line, wanted)

    def _fill_line(self, line: _Line, wanted: frozenset[str]) -> None:
        most = self.lanes + 2
        for open_ in list(line.open):
            if self.draining or len(line.flying) >= most:
                return
            self._advance(open_)
        while not self.draining and len(line.flying) < most and len(line.open) < _MOST_OPEN:
            members = next(line.blocks, None)
            if members is None:
                return
            # The head is measured again where only others are to be: they are compared with it.
            todo = frozenset(name for name in members if name in wanted)
            if todo:
                line.open.append(_Open(line, members, todo))
                self._advance(line.open[-1])

    def _advance(self, open_: _Open) -> None:
        """Submit the steps of a block's members that can be done now, and the block once all have been."""
        for name in open_.members:
            if name not in open_.settled:
                self._advance_member(open_, name)
        if len(open_.settled) < len(open_.members) or open_ in self._flying.values():
            return
        if open_.todo & set(open_.ready):
            self._submit_block(open_)
        else:
            open_.line.open.remove(open_)

    def _advance_member(self, open_: _Open, name: str) -> None:
        chain = self.plan.chain(name)
        missing = [step for step in chain.work if step.key not in self.results]
        if not missing:
            open_.settled[name] = None
            return
        broken = next((step for step in missing if step.key in self.failed), None)
        if broken is not None:
            state, reason = self.failed[broken.key]
            away = broken.subject in self.plan.spec.axes["model"] and broken.subject != self.plan.by_id[name].model
            reason = f"{f'{broken.subject}, whose schedules it takes: ' if away else ''}{broken.kind}: {reason}"
            open_.settled[name] = (state, reason)
            if name in open_.todo:
                self._end_point(name, state, reason)
            return
        for step in missing:
            if step.key not in self._flying and all(key in self.results for key in step.inputs.values()):
                self._submit_step(step, open_.line)

    def _end_point(self, name: str, state: str, reason: str) -> None:
        if self._outcome.get(name) != state:  # the head of a context is in several blocks
            self.store.end_points({name: (state, reason)})
            self._count(name, state, reason)

    def _count(self, name: str, state: str, reason: str) -> None:
        self._outcome[name] = state
        if state in FAILED:
            point = self.plan.by_id[name]
            self.say(
                f"{state}: {' '.join(map(str, point.levels))} ({name}): {reason.splitlines()[0] if reason else ''}"
            )
            if self.fail_fast:
                self.drain("a point has failed (--fail-fast)")

    def _submit_step(self, step: Step, line: _Line) -> None:
        payload = {
            "kind": step.kind,
            "key": step.key,
            "parameters": dict(step.parameters),
            "inputs": {role: dict(self.results[key]) for role, key in step.inputs.items()},
            "artifacts": self.artifacts,
            "limit": self._limit,
        }
        device = step.parameters.get("device") if step.kind in ("verify", "accuracy") else None
        self._flying[step.key] = step
        self._submit(Job(step.key, "work", payload, device, self._limit), f"{step.kind} {step.subject}", line)

    def _submit_block(self, open_: _Open) -> None:
        block = self.plan.block(open_.ready)
        members = []
        for name in block.points:
            chain = self.plan.chain(name)
            compiled = self.results[chain.own["compile"].key]
            needed = {key: compiled[key] for key in ("vmfb", "golden", "driver")}
            members.append({"point": name, "threads": chain.measure.parameters["threads"], "compiled": needed})
        payload = {
            "kind": "block",
            "key": block.key,
            "members": members,
            "protocol": self.plan.spec.measurement.protocol,
            "artifacts": self.artifacts,
            "limit": self._limit,
        }
        self._blocks[block.key] = block
        self._flying[block.key] = open_
        point = self.plan.by_id[block.points[0]]
        self._submit(
            Job(block.key, "block", payload, block.device, self._limit),
            f"measure {point.model}, {len(members)} variants",
            open_.line,
        )

    def _submit(self, job: Job, title: str, line: _Line) -> None:
        self._titles[job.key] = title
        line.flying.add(job.key)
        self.executor.submit(job)

    @property
    def _limit(self) -> float:
        return self.plan.spec.measurement.timeout

    # What comes back.

    def _settle(self, done: Done) -> None:
        flying = self._flying.get(done.job.key)
        if flying is None:  # a second answer
            return
        again = done.end in ("crash", "lost")
        if again and not done.innocent:
            self._attempts[done.job.key] += 1
            again = self._attempts[done.job.key] < _ATTEMPTS
        if again:
            what = "block" if done.job.kind == "block" else done.job.payload["kind"]
            number = self.store.attempt(done.job.key, what, done.end, done.reason, done.seconds, done.where)
            if not self.draining:
                self.executor.submit(Job(**{**vars(done.job), "attempt": number + 1}))
                return
            self._landed(done.job.key)
            return
        self._landed(done.job.key)
        if isinstance(flying, Step):
            self._end_step(flying, done)
        else:
            self._end_block(flying, self._blocks.pop(done.job.key), done)

    def _landed(self, key: str) -> None:
        del self._flying[key]
        for line in self._lines:
            line.flying.discard(key)

    def _end_step(self, step: Step, done: Done) -> None:
        state, reason, result = _answered(done)
        row = StepRow(
            key=step.key,
            kind=step.kind,
            subject=step.subject,
            state=state,
            reason=reason,
            result=result,
            seconds=done.seconds,
            worker=done.where,
        )
        self.store.end_step(row)
        if result is not None:
            self.results[step.key] = result
        else:
            self.failed[step.key] = (state, reason)
        self.estimate.done(step.kind, step.subject, done.seconds)
        self.say(
            f"{step.kind} {step.subject}: {words(done.seconds)}{'' if state == 'ok' else f', {state}'}{self._left()}"
        )

    def _end_block(self, open_: _Open, block: Block, done: Done) -> None:
        """Commit what was measured of each member, and the errors of the others."""
        state, reason, result = _answered(done)
        open_.line.open.remove(open_)
        outcome = BlockRow(
            key=block.key,
            device=block.device,
            points=block.points,
            state=state,
            reason=reason,
            noise=None if result is None else result["noise"],
            seconds=done.seconds,
        )
        turns: dict[str, tuple[Turn, ...]] = {}
        points: list[PointRow] = []
        metrics: dict[str, list[Metric]] = {}
        hits: dict[str, Hits] = {}
        for name in block.points:
            ended = state, reason
            if result is not None:
                error = result["errors"].get(name)
                ended = (error["state"], error["reason"]) if error else ("ok", result.get("untimed", ""))
                if ended[0] == "ok" and (taken := result["turns"].get(name)):
                    turns[name] = tuple(Turn(**{**turn, "ns": tuple(turn["ns"])}) for turn in taken)
            if name in open_.todo and self._outcome.get(name) != "ok":
                points.append(self._ended_point(name, block, *ended))
                if ended[0] == "ok":
                    chain = self.plan.chain(name)
                    done_steps = {kind: self.results[step.key] for kind, step in chain.own.items()}
                    metrics[name] = figures_of(turns.get(name, ()), done_steps)
                    if accuracy := done_steps.get("accuracy"):
                        hits[name] = Hits(accuracy["images"], base64.b64decode(accuracy["hits"]))
        if result is not None:
            device = self.plan.spec.devices[block.device]
            facts = {**result["device"], "description": device.description, "where": done.where}
            self.store.see_device(block.device, device.target, facts)
        self.store.end_block(block, outcome, turns, points, metrics, done.where, hits)
        for row in points:
            self._count(row.id, row.state, row.reason)
        model = self.plan.by_id[block.points[0]].model
        self.estimate.done("measure", model, done.seconds, len(points))
        what = f"measured {len(turns)}" if turns or not metrics else f"verified {len(metrics)}, and timed none,"
        self.say(f"{what} variants of {model}: {words(done.seconds)}{self._left()}")

    def _left(self) -> str:
        """What is left, for those who read along."""
        return f"; some {words(self.estimate.seconds())} left"

    def _ended_point(self, name: str, block: Block, state: str, reason: str) -> PointRow:
        chain = self.plan.chain(name)
        return PointRow(
            id=name,
            point=self.plan.by_id[name],
            state=state,
            reason=reason,
            key=chain.key,
            block=block.key if state == "ok" else "",
        )

    def _tell(self) -> None:
        """Say how far it is, and keep it for those who watch."""
        if time.monotonic() - self._told < _TELL_SECONDS:
            return
        self._told = time.monotonic()
        now = {
            "running": [self._titles[key] for key in self._flying],
            "left_seconds": self.estimate.seconds(),
            "time": time.time(),
            "draining": self.draining,
        }
        self.store.describe({"now": now})


def _answered(done: Done) -> tuple[str, str, Mapping[str, Any] | None]:
    """State, reason and result of a job that will not be tried again."""
    if done.end != "ok":
        return ("crash" if done.end == "lost" else done.end), done.reason, None
    answer = done.answer
    if answer.get("state") != "ok":
        return answer.get("state", "failed"), answer.get("reason", "it gave no answer"), None
    return "ok", "", answer["result"]
