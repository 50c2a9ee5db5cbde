"""Kernels of small functions, of kinds that were read or written wrong, or could be; NumPy tells what is right."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_arguments import ARGUMENTS
from kernel_cases import run_cases
from kernel_elements import ELEMENTS
from kernel_left import BITS, POOLS
from kernel_operands import LEFT, OPERANDS, RESULTS
from kernel_reads import LOOPS, READS, SLICES, TYPES

CASES = [*READS, *SLICES, *LOOPS, *TYPES, *OPERANDS, *RESULTS, *LEFT, *BITS, *POOLS, *ELEMENTS, *ARGUMENTS]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run_cases(CASES, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right(outcomes, case):
    expected = case.expected(*case.arrays())
    expected = expected if isinstance(expected, tuple) else (expected,)
    outcome = outcomes[case.name]
    assert outcome.kernels == case.kernels
    assert len(outcome.arrays) == len(expected)
    for found, wanted in zip(outcome.arrays, expected, strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
