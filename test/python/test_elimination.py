"""Variable elimination against trying everything, on random graphs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dlas_mlir.errors import DlasError
from dlas_mlir.tuning.elimination import Factor, best, minimise


def _random(seed: int) -> tuple[dict[str, int], list[Factor]]:
    source = np.random.default_rng(seed)
    sizes = {f"v{i}": int(source.integers(1, 4)) for i in range(int(source.integers(1, 7)))}
    names = list(sizes)
    factors = []
    for _ in range(int(source.integers(0, 9))):
        chosen = source.permutation(names)[: int(source.integers(1, min(3, len(names)) + 1))]
        costs = source.random([sizes[name] for name in chosen])
        costs[source.random(costs.shape) < 0.1] = np.inf
        factors.append(Factor(tuple(map(str, chosen)), costs))
    return sizes, factors


def _all(sizes: dict[str, int], factors: list[Factor]) -> list[tuple[float, dict[str, int]]]:
    found = []
    for states in itertools.product(*map(range, sizes.values())):
        given = dict(zip(sizes, states, strict=True))
        cost = sum(float(f.costs[tuple(given[name] for name in f.variables)]) for f in factors)
        found.append((cost, given))
    return sorted((one for one in found if np.isfinite(one[0])), key=lambda one: one[0])


@pytest.mark.parametrize("seed", range(60))
def test_elimination_finds_what_trying_everything_finds(seed):
    sizes, factors = _random(seed)
    expected = _all(sizes, factors)
    found = minimise(sizes, factors)
    if not expected:
        assert found is None
        assert best(sizes, factors, 5) == []
        return
    assert found is not None
    assert found.cost == pytest.approx(expected[0][0])
    several = best(sizes, factors, 5)
    assert [one.cost for one in several] == pytest.approx([cost for cost, _ in expected[:5]])
    assert len({tuple(one.states.items()) for one in several}) == len(several)
    given = [(one.cost, dict(one.states)) for one in several]
    assert all(any(states == other and abs(cost - c) < 1e-9 for c, other in expected) for cost, states in given)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_over_some_variables(seed):
    sizes, factors = _random(seed)
    over = list(sizes)[:2]
    lowest: dict[tuple[int, ...], float] = {}
    for cost, states in _all(sizes, factors):
        lowest.setdefault(tuple(states[name] for name in over), cost)
    found = best(sizes, factors, 4, over)
    assert [one.cost for one in found] == pytest.approx(sorted(lowest.values())[:4])


def test_a_long_chain_is_no_work_and_a_thicket_is_refused():
    source = np.random.default_rng(0)
    names = [f"v{i}" for i in range(200)]
    chain = [Factor(pair, source.random((6, 6))) for pair in itertools.pairwise(names)]
    assert minimise(dict.fromkeys(names, 6), chain) is not None
    thicket = [Factor(pair, np.zeros((6, 6))) for pair in itertools.combinations(names[:12], 2)]
    with pytest.raises(DlasError, match="too many to be minimised over exactly"):
        minimise(dict.fromkeys(names[:12], 6), thicket)
