"""The search over the schedules of one workload: from a good one, one decision at a time, as measurements say.

The moves from the best schedule so far are tried by the kind of decision in turn, each kind in the order of the cost
that is estimated; a better schedule becomes the new centre. That is coordinate descent (as in Zhang et al., "Droplet
search", CGO 2024: 300 samples and descent do better than 10,000 by evolution). Once all moves are tried, it goes two
moves away from one of the best.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dlas_mlir.codegen import backends
from dlas_mlir.codegen.backend import Kind
from dlas_mlir.codegen.moves import moves
from dlas_mlir.codegen.schedule import AnySchedule
from dlas_mlir.codegen.target import AnyTarget
from dlas_mlir.codegen.workload import Workload

# A schedule is a new centre if it is faster than the last one by this factor: less is noise.
_BETTER = 0.99
# From how many of the best the search goes on once their moves are tried.
_PARENTS = 5
_ATTEMPTS = 50
# What moves of each kind gain from the rule's schedules, on the average of those that gain and those that do not (as
# logarithms): the mean of some 2,000 trials of ResNet18, ResNet50 and CIFAR networks on AVX-512. Fewer lanes never
# gained anything. It counts as much as so many moves that were tried here.
_PRIOR: dict[Kind, float] = {
    "order": 0.028,
    "distribute": 0.022,
    "unroll": 0.018,
    "peel": 0.012,
    "tile": 0.006,
    "reduce": 0.002,
    "lanes": 0.0,
}
# Of a kind of which nobody knows.
_USUAL = 0.015
# A naive schedule has no tile yet, and its producer is apart.
FROM_NAIVE: dict[Kind, float] = {**_PRIOR, "tile": 1.0, "apart": 0.2}
_PRIOR_WEIGHT = 8


@dataclass
class Experience:
    """How often moves of each kind were tried and came to something, over all workloads of a run. `prior` is what each
    gains before anything is known, where the search begins."""

    prior: Mapping[Kind, float] = field(default_factory=lambda: _PRIOR)
    tried: dict[Kind, int] = field(default_factory=dict)
    gained: dict[Kind, float] = field(default_factory=dict)

    def add(self, kind: Kind, ratio: float) -> None:
        """A move of `kind` made a schedule `ratio` times as slow as the centre it started from."""
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.gained[kind] = self.gained.get(kind, 0.0) + max(0.0, -math.log(ratio))

    def order(self, kinds: Sequence[Kind], waiting: Mapping[Kind, int]) -> list[Kind]:
        """The kinds, the most promising first: by their mean gain, and how little is known of them (UCB), shared by
        the moves that are `waiting` for their times. So one that gains twice as much is tried twice as often."""
        total = sum(self.tried.values()) + _PRIOR_WEIGHT * len(_PRIOR)

        def score(kind: Kind) -> float:
            count = self.tried.get(kind, 0) + _PRIOR_WEIGHT
            gained = self.gained.get(kind, 0.0) + _PRIOR_WEIGHT * self.prior.get(kind, _USUAL)
            return (gained / count + 0.02 * math.sqrt(math.log(total) / count)) / (1 + waiting.get(kind, 0))

        return sorted(kinds, key=score, reverse=True)


@dataclass
class Search:
    """Proposes schedules and is told what they came to, as times over the rule's. It begins at `start`, which is tried
    first where its ratio is not known; then `seeds` are."""

    workload: Workload
    target: AnyTarget
    start: AnySchedule
    start_ratio: float | None = 1.0
    seeds: tuple[AnySchedule, ...] = ()
    experience: Experience = field(default_factory=Experience)
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self.results: dict[AnySchedule, float | None] = {self.start: self.start_ratio}
        self._centre = self.start
        unknown = () if self.start_ratio is not None else (self.start,)
        self._proposed: dict[AnySchedule, tuple[Kind, AnySchedule] | None] = {} if unknown else {self.start: None}
        self._seeds = [*unknown, *self.seeds]
        self._waiting: dict[Kind, int] = {}
        self._queues = self._moves_of(self.start)

    def _ratio(self, schedule: AnySchedule) -> float:
        return self.results[schedule] or math.inf

    def ranked(self) -> list[tuple[AnySchedule, float]]:
        """All that ran right, the fastest first."""
        found = [(schedule, ratio) for schedule, ratio in self.results.items() if ratio is not None]
        return sorted(found, key=lambda item: item[1])

    def propose(self) -> AnySchedule | None:
        """A schedule that was not proposed before; None where nothing more is found."""
        while self._seeds:
            if (seed := self._seeds.pop(0)) not in self._proposed:
                self._proposed[seed] = None
                return seed
        for kind in self.experience.order(list(self._queues), self._waiting):
            while self._queues[kind]:
                found = self._queues[kind].pop(0)
                if found not in self._proposed:
                    self._proposed[found] = (kind, self._centre)
                    self._waiting[kind] = self._waiting.get(kind, 0) + 1
                    return found
        return self._further()

    def tell(self, schedule: AnySchedule, ratio: float | None) -> None:
        """`schedule` takes `ratio` times the start's time; None: it did not come to a time."""
        origin = self._proposed.get(schedule)
        if origin is not None and schedule not in self.results:
            self._waiting[origin[0]] = max(0, self._waiting.get(origin[0], 0) - 1)
        self.results[schedule] = ratio
        if ratio is None:
            return
        if origin is not None and (base := self.results.get(origin[1])):
            self.experience.add(origin[0], ratio / base)
        if ratio < _BETTER * self._ratio(self._centre):
            self._centre = schedule
            self._queues = self._moves_of(schedule)

    def known(self, schedule: AnySchedule, ratio: float | None) -> None:
        """What was measured before this search; it is not proposed again."""
        self._proposed.setdefault(schedule, None)
        self.tell(schedule, ratio)

    def _moves_of(self, centre: AnySchedule) -> dict[Kind, list[AnySchedule]]:
        """By kind, what is estimated to cost least first; between equals those of all loops take turns."""
        cost = backends.backend_of(self.workload, centre).cost
        found: dict[Kind, list[AnySchedule]] = {}
        for move in moves(self.workload, centre, self.target):
            found.setdefault(move.kind, []).append(move.schedule)
        for schedules in found.values():
            schedules.sort(key=lambda schedule: cost(self.workload, schedule, self.target))
        return found

    def _further(self) -> AnySchedule | None:
        """A schedule two or three moves away from one of the best."""
        parents = [schedule for schedule, _ in self.ranked()[:_PARENTS]]
        for _ in range(_ATTEMPTS):
            schedule = self.random.choice(parents)
            for _ in range(self.random.choice((2, 2, 3))):
                near = [move.schedule for move in moves(self.workload, schedule, self.target)]
                if not near:
                    return None
                schedule = self.random.choice(near)
            if schedule not in self._proposed:
                self._proposed[schedule] = None
                return schedule
        return None
