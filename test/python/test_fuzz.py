"""Random programs by every recipe, against NumPy; CONTRIBUTING.md tells how to try many more by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from fuzz.elements import Data, Tensor
from fuzz.evaluate import evaluate
from fuzz.pinned import PINNED
from fuzz.program import Body, Constant, Fill, Generic, Program, Scalar
from fuzz.runner import STOCK, VARIANTS, Case, Outcome, Runner, Variant, Worker, main_text
from fuzz.strategies import numbered, programs
from hypothesis import HealthCheck, Phase, given, settings

COUNT = 10


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    worker = Worker()
    yield Runner(worker)
    worker.close()


def _check(programs: Sequence[Program], variant: Variant, runner: Runner) -> list[Outcome]:
    cases = [Case.of(program, variant) for program in programs]
    outcomes = runner.run(cases, variant)
    for program, outcome in zip(programs, outcomes, strict=True):
        if outcome.kind not in ("ok", "aside"):
            pytest.fail(f"{variant}: {outcome.kind} {outcome.detail}\n{main_text(program)}", pytrace=False)
    return outcomes


@pytest.mark.parametrize("place", range(len(VARIANTS)), ids=map(str, VARIANTS))
def test_numbered_programs(runner, place):
    outcomes = _check([numbered(COUNT * place + i) for i in range(COUNT)], VARIANTS[place], runner)
    # What iree-compile does not do either is little, or this tests nothing.
    assert sum(outcome.kind == "aside" for outcome in outcomes) <= COUNT // 4


@given(programs())
@settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_program_gives_what_numpy_does(runner, program):
    _check([program], VARIANTS[0], runner)


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=str)
def test_what_failed_once(runner, variant):
    outcomes = _check(PINNED, variant, runner)
    assert {outcome.kind for outcome in outcomes} == {"ok"}


def test_the_evaluator_agrees_with_stock(runner):
    assert {outcome.kind for outcome in _check([numbered(i) for i in range(3, 10)], STOCK, runner)} == {"ok"}


def test_what_is_infinite_times_a_weight_of_zero_is_told_but_where_zeros_are_left_out():
    def results(weights: Data, encoded: bool) -> np.ndarray:
        nodes = (
            Fill(Tensor((1, 4), "f32"), (), np.nan),
            Constant(Tensor((4, 4), "f32"), (), weights),
            Fill(Tensor((1, 4), "f32"), (), 0.0),
            Generic(
                Tensor((1, 4), "f32"),
                (0, 1, 2),
                True,
                (1, 4, 4),
                ("parallel", "parallel", "reduction"),
                ((("d", 0), ("d", 2)), (("d", 2), ("d", 1)), (("d", 0), ("d", 1))),
                Body((Scalar("arith.mulf", "f32", (0, 1)), Scalar("arith.addf", "f32", (2, 3)))),
            ),
        )
        return evaluate(Program(nodes, (), (3,)), encoded=encoded)[0].error

    sparse, dense = Data("sparse", 3), Data("splat", value=2.0)
    assert np.isfinite(results(sparse, False)).all()
    assert np.isfinite(results(dense, True)).all()
    assert np.isinf(results(sparse, True)).any()


def test_most_numbers_are_compared_and_most_of_them_exactly():
    values = [value for number in range(60) for value in evaluate(numbered(number))]
    told = [np.isfinite(value.error).all() for value in values]
    exact = [not value.error.any() for value in values]
    assert np.mean(told) > 0.9
    assert np.mean(exact) > 0.5
