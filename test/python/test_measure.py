"""The measurement core: figures of turns, when a difference is one, and the rounds in which runners take turns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from dlas_mlir.errors import DlasError
from dlas_mlir.measure.rounds import Protocol, Rounds
from dlas_mlir.measure.stats import Timing, compare, geomean, noise_of
from dlas_mlir.measure.turn import Turn, sample, take_turn

QUICK = Protocol(min_seconds=0, retries=0)


def turns(*medians: float, start: int = 0) -> list[Turn]:
    """A turn of three calls for each median, in milliseconds."""
    return [Turn(ns=tuple(int(ms * f * 1e6) for f in (0.9, 1, 1.5)), cpu_ns=7, start=start) for ms in medians]


class Fake:
    """A runner whose turns have the given medians, in milliseconds, again and again. What is in `waits` is how long it
    waited in each attempt."""

    def __init__(self, *medians: float, fail_at: int = -1, waits: tuple[float, ...] = (0.0,)) -> None:
        self._medians: Iterator[float] = itertools.cycle(medians)
        self._waits: Iterator[float] = itertools.cycle(waits)
        self._fail_at = fail_at
        self.calls = 0
        self.restarts = 0

    def turn(self, *, min_seconds: float, min_count: int) -> Turn:
        self.calls += 1
        if self.calls == self._fail_at:
            raise DlasError("gone")
        (turn,) = turns(next(self._medians))
        return Turn(ns=turn.ns, waited=next(self._waits))

    def restart(self) -> None:
        self.restarts += 1


def test_the_median_is_over_the_rounds_and_percentiles_over_all_calls() -> None:
    timing = Timing.of([Turn(ns=(1_000_000, 3_000_000, 2_000_000)), Turn(ns=(10_000_000,)), Turn(ns=(4_000_000,))])
    assert (timing.median_ms, timing.iqr_ms, timing.min_ms, timing.p50_ms) == (4.0, 2.0, 1.0, 3.0)
    assert (timing.samples, timing.rounds, timing.starts) == (5, 3, 1)
    assert timing.p90_ms == pytest.approx(7.6)


def test_an_overhead_is_taken_off_every_call() -> None:
    assert Timing.of(turns(3, 4, 5), overhead_ms=1).median_ms == 3.0


def test_what_waited_too_long_is_disturbed() -> None:
    quiet, loud = Turn(ns=(1,)), Turn(ns=(1,), waited=0.5)
    assert not Timing.of([quiet]).disturbed
    assert (Timing.of([quiet, loud]).waited, Timing.of([quiet, loud]).disturbed) == (0.25, True)


def test_sampling_reaches_the_count_after_the_warmup() -> None:
    calls: list[int] = []
    assert len(sample(lambda: calls.append(1), min_seconds=0, min_count=4, warmup=3)) == 4
    assert len(calls) == 7


def test_a_turn_tells_cpu_time() -> None:
    turn = take_turn(lambda: sum(range(20_000)), threads=1, min_seconds=0, min_count=5)
    assert len(turn.ns) == 5
    assert turn.cpu_ns > 0
    assert turn.waited >= 0


@pytest.mark.parametrize(
    ("one", "other", "verdict", "decided"),
    [
        ((1.0, 1.01, 0.99, 1.0, 1.0, 1.01), (2.0, 2.02, 1.99, 2.0, 2.0, 2.01), "faster", True),
        ((2.0, 2.02, 1.99, 2.0, 2.0, 2.01), (1.0, 1.01, 0.99, 1.0, 1.0, 1.01), "slower", True),
        ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0), "tie", True),
        # Within the band: different every time, and yet nothing to speak of.
        ((1.02, 1.02, 1.02, 1.02, 1.02, 1.02), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0), "tie", True),
        # The interval is wide.
        ((1.0, 1.6, 1.0, 0.7, 1.3, 0.8), (1.1, 1.0, 0.7, 1.2, 0.9, 1.1), "tie", False),
    ],
)
def test_a_difference_is_one_beyond_interval_and_band(
    one: tuple[float, ...], other: tuple[float, ...], verdict: str, decided: bool
) -> None:
    found = compare(turns(*one), turns(*other))
    assert (found.verdict, found.decided) == (verdict, decided)
    assert found.low <= found.ratio <= found.high


def test_a_noisy_device_has_a_wider_band() -> None:
    slower, faster = turns(*[1.06] * 6), turns(*[1.0] * 6)
    assert compare(slower, faster).verdict == "slower"
    assert compare(slower, faster, noise=0.04).verdict == "tie"


def test_turns_that_were_taken_together_are_compared_round_by_round() -> None:
    """The machine becomes slower by a third in the middle, for both."""
    drift = (1.0, 1.0, 1.0, 1.33, 1.33, 1.33)
    one, other = turns(*drift), turns(*(1.1 * ms for ms in drift))
    together, apart = compare(one, other), compare(one, other, paired=False)
    assert (together.verdict, apart.verdict) == ("faster", "tie")
    assert together.high - together.low < apart.high - apart.low


def test_noise_is_what_two_starts_of_the_same_differ_by() -> None:
    assert noise_of([turns(1.0, 1.0)]) is None
    assert noise_of([turns(1.0) + turns(1.05, start=1)]) == pytest.approx(0.05)


def test_geomean() -> None:
    assert geomean([1, 4]) == pytest.approx(2)
    assert geomean([]) is None


def test_all_take_turns_over_two_starts() -> None:
    runners = {"slow": Fake(2.0), "fast": Fake(1.0)}
    rounds = Rounds(runners, QUICK).run()
    for name, runner in runners.items():
        assert [turn.start for turn in rounds.turns[name]] == [0, 0, 0, 1, 1, 1]
        assert runner.restarts == 1
    assert not rounds.undecided()
    assert rounds.noise == 0


def test_what_cannot_be_told_from_the_fastest_goes_on() -> None:
    runners = {"one": Fake(1.0, 1.3, 0.8), "other": Fake(0.9, 1.25, 1.0, 0.8), "slow": Fake(9.0)}
    rounds = Rounds(runners, QUICK).run()
    assert len(rounds.turns["slow"]) == 6
    assert len(rounds.turns["one"]) == len(rounds.turns["other"]) == QUICK.max_rounds


def test_one_alone_is_not_raced() -> None:
    assert len(Rounds({"one": Fake(1.0, 1.5)}, QUICK).run().turns["one"]) == QUICK.rounds


def test_a_runner_that_fails_does_not_end_the_others() -> None:
    runners = {"good": Fake(1.0), "bad": Fake(1.0, fail_at=2)}
    rounds = Rounds(runners, QUICK).run()
    assert rounds.errors == {"bad": "gone"}
    assert len(rounds.turns["good"]) == QUICK.rounds
    assert runners["bad"].calls == 2


def test_a_disturbed_turn_is_repeated_and_the_least_disturbed_kept() -> None:
    runner = Fake(1.0, waits=(0.5, 0.3, 0.4, 0.0))
    protocol = Protocol(rounds=2, max_rounds=2, starts=1, min_seconds=0, retries=2)
    rounds = Rounds({"one": runner}, protocol).run()
    assert [turn.waited for turn in rounds.turns["one"]] == [0.3, 0.0]
    assert runner.calls == 4
