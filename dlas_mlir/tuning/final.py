"""The last word on candidates: in turns with the rule's schedules, round by round; then the whole network."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.gate import measuring
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.measure.stats import Comparison
from dlas_mlir.runtime.client import Worker
from dlas_mlir.tuning.build import Build, Builder, BuildError
from dlas_mlir.tuning.paired import compared, paired
from dlas_mlir.tuning.timing import typical

Say = Callable[[str], None]
# No gain of a kernel below this is called one, however quiet the machine.
_LEAST_GAIN = 0.01
RULE, AGAIN = "rule", "rule again"


@dataclass(frozen=True)
class Verdict:
    """A schedule beside the rule's: its time over that, with the 95 % interval over rounds. `noise` is how far the
    rule's schedule is from itself, in the same rounds."""

    schedule: AnySchedule
    ratio: float
    low: float
    high: float
    noise: float

    @property
    def wins(self) -> bool:
        """Whether it is faster by more than the noise."""
        return self.high < 1 and self.ratio < 1 - max(_LEAST_GAIN, self.noise)


@dataclass
class Final:
    """Builds that take turns. `inputs` are those of a call, profiled `calls` at a time."""

    builder: Builder
    inputs: Sequence[np.ndarray]
    calls: int
    timeout: float
    rounds: int
    say: Say

    def judge(self, builds: Mapping[str, Build]) -> dict[str, dict[str, Verdict]]:
        """By workload and build, each candidate of the builds beside the rule's. `builds` holds RULE and AGAIN too."""
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in builds}
        names = list(builds)
        for number in range(self.rounds):
            self.say(f"compare the best candidates, round {number + 1} of {self.rounds}")
            # Each round starts with another: none always follows the same neighbour.
            with measuring():
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    try:
                        samples = self.builder.time(builds[name], self.inputs, self.calls, self.timeout)
                    except BuildError:
                        samples = {}
                    taken[name].append({key: typical(ns) for key, ns in samples.items()})
        found: dict[str, dict[str, Verdict]] = {}
        for name, build in builds.items():
            for key, schedule in build.assignment.items():
                if (verdict := _verdict(key, schedule, taken[name], taken[RULE], taken[AGAIN])) is not None:
                    found.setdefault(key, {})[name] = verdict
        return found

    def network(self, tuned: Build, rule: Build, golden: Path) -> Comparison:
        """A call with the tuned schedules over one with the rule's. Raises DlasError."""
        with (
            Worker(tuned.vmfb, self.builder.device, golden) as one,
            Worker(rule.vmfb, self.builder.device, golden) as other,
        ):
            protocol = Protocol(rounds=2 * self.rounds, starts=2, max_rounds=4 * self.rounds)
            rounds = Rounds({"tuned": one, "rule": other}, protocol, lambda text: self.say(f"time the network, {text}"))
            rounds.run()
        if rounds.errors:
            raise DlasError("; ".join(f"{name}: {why}" for name, why in rounds.errors.items()))
        return compared(rounds.turns["tuned"], rounds.turns["rule"], rounds.noise)


def _verdict(
    key: str,
    schedule: AnySchedule,
    taken: Sequence[Mapping[str, float]],
    rule: Sequence[Mapping[str, float]],
    again: Sequence[Mapping[str, float]],
) -> Verdict | None:
    """Over the rounds in which all three were timed; None where there was none."""
    pairs = []
    for one, base, other in zip(taken, rule, again, strict=True):
        if key in one and key in base and key in other:
            pairs.append((one[key] / statistics.mean((base[key], other[key])), base[key] / other[key]))
    if len(pairs) < 2:
        return None
    noise = abs(statistics.median(ratio for _, ratio in pairs) - 1)
    return Verdict(schedule, *paired([ratio for ratio, _ in pairs]), noise)
