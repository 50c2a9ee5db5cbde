"""What is concluded from times and accuracies, held against made-up ones of which the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.planted_study import Machine, study
from dlas_mlir.measure.stats import noise_of
from dlas_mlir.measure.turn import Turn
from dlas_mlir.study.contrasts import REASONS, SLOWER, TIE, UNTESTABLE, Clock
from dlas_mlir.study.duels import Duels, flips
from dlas_mlir.study.fronts import front
from dlas_mlir.study.results import Results
from dlas_mlir.study.statistics import alike, holm, kendall, mcnemar, moderated

MACHINES = {
    "quiet": Machine(),
    "starts differ": Machine(round=0.01, start=0.012),
    "rounds differ": Machine(round=0.03, start=0.005, drift=0.1),
    "some starts are odd": Machine(round=0.005, start=0.002, odd_starts=0.1, odd_by=0.04),
}
PRIMITIVES = ("direct", "gemm")


def models(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


def number(point) -> int:
    return int(point["model"][1:])


def schedules(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """The verdict on tuned over rule for each model, and their numbers."""
    table, example, names = results.table(("schedule",), results.timed)
    assert names == [("rule",), ("tuned",)]
    numbers = np.array([int(str(results.level("model", row))[1:]) for row in example])
    return Clock.of(results).paired(table[:, 1], table[:, 0]).verdicts(), numbers


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_the_same_beside_itself_is_a_tie(machine):
    """200 comparisons of things that are equally fast: at most 5 may be called different."""
    for seed in range(3):
        results = study(
            {"model": models(200), "schedule": ["rule", "tuned"]}, lambda point: 3.0, machine=machine, seed=seed
        )
        verdict, _ = schedules(results)
        assert (verdict != TIE).sum() <= 1
        assert not (verdict == UNTESTABLE).any()


@pytest.mark.parametrize("name", ["quiet", "starts differ"])
def test_a_slow_down_of_ten_percent_is_found(name):
    results = study(
        {"model": models(200), "schedule": ["rule", "tuned"]},
        lambda point: 3.3 if point["schedule"] == "tuned" and number(point) % 2 else 3.0,
        machine=MACHINES[name],
    )
    verdict, numbers = schedules(results)
    assert (verdict[numbers % 2 == 1] == SLOWER).mean() >= 0.95
    assert (verdict[numbers % 2 == 0] != TIE).sum() <= 1


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_no_flip_where_nothing_differs(machine):
    results = study(
        {"model": models(100), "primitive": PRIMITIVES, "compression": ["none", "prune-90"]},
        lambda point: 2.0,
        machine=machine,
    )
    clock = Clock.of(results)
    found = flips(clock, Duels.of(clock), "compression")
    assert (found.found, found.tested) == ([], 100)


def test_planted_flips_are_found_and_planted_ties_are_not():
    """12 of 24 models change their fastest primitive with pruning, by 10 %; the others have one throughout, or none."""

    def truth(point):
        kind, second = number(point), point["primitive"] == "gemm"
        if kind < 12:
            return 1.1 if second == (point["compression"] == "none") else 1.0
        return 1.1 if second and kind < 18 else 1.0

    found = set()
    false = 0
    for seed in range(3):
        results = study(
            {"model": models(24), "primitive": PRIMITIVES, "compression": ["none", "prune-90"]}, truth, seed=seed
        )
        clock = Clock.of(results)
        duels = Duels.of(clock)
        shown = {
            number(results.point(int(duels.example[duels.cell[flip.won]])))
            for flip in flips(clock, duels, "compression").found
        }
        assert len(shown & set(range(12))) >= 11
        false += len(shown - set(range(12)))
        found |= shown
    assert false <= 1


def test_a_change_among_losers_is_no_change_of_the_fastest():
    def truth(point):
        if point["primitive"] == "spatial-pack":
            return 1.0
        return 2.0 if (point["primitive"] == "gemm") == (point["compression"] == "none") else 1.5

    results = study(
        {
            "model": models(6),
            "primitive": [*PRIMITIVES, "spatial-pack"],
            "compression": ["none", "prune-90"],
        },
        truth,
    )
    clock = Clock.of(results)
    assert flips(clock, Duels.of(clock), "compression").found == []


@pytest.mark.parametrize(
    ("rounds", "starts", "reason"),
    [(4, 2, "fewer than 6 rounds"), (8, 1, "fewer than 2 process starts")],
)
def test_too_little_is_untestable(rounds, starts, reason):
    results = study(
        {"model": models(5), "schedule": ["rule", "tuned"]},
        lambda point: 2.0 if point["schedule"] == "tuned" else 1.0,
        rounds=rounds,
        starts=starts,
    )
    table, _, _ = results.table(("schedule",), results.timed)
    effects = Clock.of(results).paired(table[:, 1], table[:, 0])
    assert (effects.verdicts() == UNTESTABLE).all()
    assert {REASONS[code] for code in effects.reason} == {reason}


def test_points_of_other_blocks_are_compared_through_what_both_were_beside():
    """Ten members make two blocks, with the first in both."""
    results = study(
        {"model": ["m"], "primitive": [f"p{i}" for i in range(10)]},
        lambda point: 1.0 + 0.2 * (point["primitive"] == "p9"),
        machine=Machine(drift=0.2),
    )
    clock = Clock.of(results)
    effects = clock.paired(np.array([9, 9, 9]), np.array([0, 1, 8]))
    assert np.allclose(effects.ratio, 1.2, rtol=0.03)
    assert (effects.above >= 0).tolist() == [True, False, True]
    low, high = effects.intervals(clock.series)
    assert (low < effects.ratio).all()
    assert (effects.ratio < high).all()


def test_what_was_not_timed_together_is_not_compared():
    results = study({"model": models(4)}, lambda point: 1.0 + number(point))
    effects = Clock.of(results).paired(np.array([1]), np.array([0]))
    assert REASONS[effects.reason[0]] == "not timed in turns with each other"
    assert np.isnan(effects.p[0])
    apart = Clock.of(results).apart(np.array([1, 3]), np.array([0, 2]))
    assert apart.ratio == pytest.approx([2.0, 4 / 3], rel=0.1)


def test_failed_points_have_no_times():
    results = study(
        {"model": models(3), "schedule": ["rule", "tuned"]},
        lambda point: None if point["model"] == "m1" and point["schedule"] == "tuned" else 1.0,
    )
    table, _, _ = results.table(("schedule",), results.timed)
    assert (table < 0).sum() == 1
    effects = Clock.of(results).paired(np.array([3]), np.array([2]))
    assert REASONS[effects.reason[0]] == "not both timed"


def test_the_noise_of_a_device_is_that_of_the_measurement_core():
    results = study({"model": models(9), "device": ["a", "b"]}, lambda point: 2.0, machine=Machine(start=0.05))
    series = Clock.of(results).series
    for number, name in enumerate(results.levels["device"]):
        turns = [
            [Turn(ns=(int(ns),), start=start) for _, start, _, ns in results.rounds(int(row))]
            for row in np.flatnonzero(results.has("device", name))
        ]
        expected = noise_of(turns)
        assert expected is not None
        # Medians of an even number of rounds: here of logarithms.
        assert series.noise[number] == pytest.approx(expected, rel=1e-2)
        assert series.band(number) == max(0.03, 2 * series.noise[number])


def test_holm():
    adjusted = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).size == 0


@pytest.mark.parametrize(("lost", "gained", "p"), [(0, 0, 1.0), (1, 9, 0.0215), (5, 5, 1.0), (0, 6, 0.03125)])
def test_mcnemar(lost, gained, p):
    one = np.array([True] * lost + [False] * gained + [True] * 50)
    other = np.array([False] * lost + [True] * gained + [True] * 50)
    assert mcnemar(one, other) == pytest.approx(p, abs=1e-4)
    assert mcnemar(other, one) == mcnemar(one, other)
    assert np.isnan([mcnemar(one, None), mcnemar(None, other), mcnemar(one, other[1:])]).all()


def test_kendall_is_tau_b():
    from scipy.stats import kendalltau

    source = np.random.default_rng(1)
    x, y = source.integers(0, 5, 12).astype(float), source.integers(0, 5, 12).astype(float)
    found = kendall(np.append(x, np.nan), np.append(y, 1.0))
    assert found.tau == pytest.approx(float(np.asarray(kendalltau(x, y)[0])))
    assert found.n == 12
    assert found.tau is not None
    assert found.low <= found.tau <= found.high
    same = kendall(x, x)
    assert same.tau == pytest.approx(1)
    assert same.shown
    assert kendall(x, np.ones(12)).tau is None
    assert kendall(x[:0], y[:0]).n == 0


def test_few_models_are_not_shown_to_be_correlated():
    found = kendall(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3]))
    assert not found.shown


def test_variances_that_are_alike_are_drawn_together():
    source = np.random.default_rng(0)
    freedom = np.full(2000, 4.0)
    same = source.chisquare(4, 2000) / 4
    assert alike(same, freedom) > 30
    variance, degrees = moderated(same, freedom, np.inf, 2000)
    assert np.allclose(variance, 1, atol=0.1)
    assert (degrees > 1000).all()
    # Drawn from a scaled inverse chi-squared distribution with 6 degrees of freedom.
    other = same * 6 / source.chisquare(6, 2000)
    assert alike(other, freedom) == pytest.approx(6, rel=0.3)
    variance, degrees = moderated(other, freedom, 6.0, 2000)
    assert (degrees == 10).all()
    assert other.min() < variance.min() < variance.max() < other.max()
    assert moderated(np.array([np.nan]), np.array([0.0]), np.inf, 1)[1].tolist() == [0.0]


@given(
    st.integers(1, 4).flatmap(
        lambda goals: arrays.arrays(
            float,
            st.tuples(st.integers(0, 40), st.just(goals)),
            elements=st.one_of(st.integers(0, 5).map(float), st.just(float("nan")), st.floats(-1, 1)),
        )
    )
)
def test_a_front_is_what_brute_force_finds(costs):
    expected = [
        not np.isnan(row).any()
        and not any((other <= row).all() and (other < row).any() for other in costs if not np.isnan(other).any())
        for row in costs
    ]
    assert front(costs).tolist() == expected


def test_what_was_timed_once_for_two_points_tells_of_the_noise_once():
    """Half of the points are of the same artifact as another: their times are the same, and no surer for it."""
    results = study({"model": models(60), "schedule": ["rule", "tuned", "naive"]}, lambda point: 2.0)
    ns = results.turns.ns.copy()
    copies = np.flatnonzero(results.has("schedule", "tuned"))
    for row in copies:
        (own, other) = (np.flatnonzero(results.turns.point == point) for point in (row, row - 1))
        ns[own] = ns[other]
    doubled = replace(results, turns=replace(results.turns, ns=ns))
    once, twice = Clock.of(results).series, Clock.of(doubled).series
    assert np.median(twice.own.within) == pytest.approx(np.median(once.own.within), rel=0.25)
    effects = Clock.of(doubled).paired(copies, copies - 1)
    assert (effects.ratio == 1).all()
    assert (effects.verdicts() == TIE).all()
