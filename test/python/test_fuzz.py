"""Random programs by every recipe, against NumPy; CONTRIBUTING.md tells how to try many more by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from fuzz.evaluate import evaluate
from fuzz.program import Program
from fuzz.runner import STOCK, Case, Outcome, Runner, Variant, Worker, main_text
from fuzz.strategies import numbered


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


def test_the_evaluator_agrees_with_stock(runner):
    assert {outcome.kind for outcome in _check([numbered(i) for i in range(3, 10)], STOCK, runner)} == {"ok"}


def test_most_numbers_are_compared_and_most_of_them_exactly():
    values = [value for number in range(60) for value in evaluate(numbered(number))]
    told = [np.isfinite(value.error).all() for value in values]
    exact = [not value.error.any() for value in values]
    assert np.mean(told) > 0.9
    assert np.mean(exact) > 0.5
