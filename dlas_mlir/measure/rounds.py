"""The timing protocol: all that is compared takes turns, round after round, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol as Interface

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.stats import DISTURBED, Timing, compare, noise_of
from dlas_mlir.measure.turn import Turn


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How long is measured.

    Each runner has `rounds` turns of at least `min_seconds` and `min_count` calls, split evenly over `starts`
    processes. What then is too near to the fastest to be told from it goes on, up to `max_rounds`. A turn that other
    processes disturbed is repeated up to `retries` times. `settle_seconds` is the pause before a turn in which the last
    runner's threads stop spinning. `tolerance` replaces the limit on max|a-b| / max|b| that goes with the element type.
    """

    rounds: int = 6
    max_rounds: int = 20
    starts: int = 2
    min_seconds: float = 0.2
    min_count: int = 3
    retries: int = 2
    settle_seconds: float = 0.0
    tolerance: float | None = None


class Runner(Interface):
    """What is measured, in a process of its own. Each method may raise DlasError, and then has no further turns."""

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        """Time calls for one turn."""
        ...

    def restart(self) -> None:
        """Load it again in a fresh process."""
        ...


Say = Callable[[str], None]


class Rounds:
    """The turns of runners that are compared, by their names, and the errors of those that failed."""

    def __init__(self, runners: Mapping[str, Runner], protocol: Protocol, say: Say = lambda _: None) -> None:
        self.turns: dict[str, list[Turn]] = {name: [] for name in runners}
        self.errors: dict[str, str] = {}
        self._runners = dict(runners)
        self._protocol = protocol
        self._say = say
        self._start = 0
        self._count = 0

    def run(self) -> Rounds:
        """Take all rounds. Returns itself."""
        protocol = self._protocol
        starts = min(protocol.starts, protocol.rounds)
        for start in range(starts):
            if start:
                self._restart()
            for _ in range(protocol.rounds * start // starts, protocol.rounds * (start + 1) // starts):
                self._round(self._active())
        while self._count < protocol.max_rounds and (near := self.undecided()):
            self._round(near)
        return self

    @property
    def noise(self) -> float | None:
        """The machine's A/A noise in this run, see `noise_of`."""
        return noise_of(self.turns[name] for name in self._active())

    def undecided(self) -> list[str]:
        """Those that cannot yet be told from the fastest, and the fastest; nothing when all is clear."""
        active = [name for name in self._active() if self.turns[name]]
        if len(active) < 2:
            return []
        fastest = min(active, key=lambda name: Timing.of(self.turns[name]).median_ms)
        noise = self.noise
        near = [
            name
            for name in active
            if name != fastest and not compare(self.turns[name], self.turns[fastest], noise=noise).decided
        ]
        return [fastest, *near] if near else []

    def _active(self) -> list[str]:
        return [name for name in self._runners if name not in self.errors]

    def _restart(self) -> None:
        self._start += 1
        for name in self._active():
            self._say(f"starting {name} again")
            try:
                self._runners[name].restart()
            except DlasError as error:
                self.errors[name] = str(error)

    def _round(self, names: list[str]) -> None:
        self._count += 1
        self._say(f"round {self._count}")
        # Each round starts with another: none always follows the same neighbour.
        first = self._count % max(len(names), 1)
        for name in names[first:] + names[:first]:
            try:
                self.turns[name].append(self._quiet_turn(self._runners[name]))
            except DlasError as error:
                self.errors[name] = str(error)

    def _quiet_turn(self, runner: Runner) -> Turn:
        """The first turn that nothing disturbed, or the least disturbed of the attempts."""
        protocol = self._protocol
        attempts: list[Turn] = []
        for _ in range(1 + protocol.retries):
            time.sleep(protocol.settle_seconds)
            attempts.append(runner.turn(min_seconds=protocol.min_seconds, min_count=protocol.min_count))
            if attempts[-1].waited <= DISTURBED:
                break
        turn = min(attempts, key=lambda turn: turn.waited)
        return replace(turn, start=self._start, round=self._count)
