"""What counts as equal to PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from dlas_mlir.measure.check import check, relative_error


def f32(values):
    return np.array(values, np.float32)


def i32(values):
    return np.array(values, np.int32)


def test_error_is_relative_to_the_largest_value():
    assert relative_error(np.array([1.0, 100.5]), np.array([1.0, 100.0])) == pytest.approx(0.005)


def test_error_of_a_zero_reference_is_absolute():
    assert relative_error(np.array([0.25]), np.array([0.0])) == 0.25


@pytest.mark.parametrize(
    ("ours", "verified"),
    [([1.0, 2.0], True), ([1.0, 2.0001], True), ([1.0, 2.001], False)],
)
def test_float32_tolerance(ours, verified):
    result = check([f32(ours)], [f32([1.0, 2.0])])
    assert result.verified is verified
    assert result.max_rel_error == pytest.approx((ours[1] - 2) / 2, abs=1e-6)


def test_integers_are_compared_exactly():
    assert check([i32([7])], [i32([7])]).verified
    assert not check([i32([7])], [i32([8])]).verified


def test_tolerance_can_be_given():
    assert check([f32([1.05])], [f32([1.0])], tolerance=0.1).verified


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        ([np.zeros((2, 2), np.float32)], "output 0 has shape (2, 2) where PyTorch has (2,)"),
        ([f32([np.nan, 1])], "output 0 is not finite"),
        ([f32([np.inf, 1])], "output 0 is not finite"),
        ([], "0 outputs where PyTorch has 1"),
    ],
)
def test_what_cannot_be_compared_is_wrong(ours, reason):
    result = check(ours, [f32([1, 1])])
    assert not result.verified
    assert result.max_rel_error is None
    assert reason in result.reason


def test_a_reference_without_a_finite_value_is_named():
    result = check([f32([np.nan, np.nan])], [f32([np.nan, np.nan])])
    assert (result.verified, result.max_rel_error) == (False, None)
    assert "output 0 has no finite value in PyTorch" in result.reason


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("ours", "verified"),
    [
        ([1, INF, -INF, NAN], True),
        ([1.01, INF, -INF, NAN], False),
        ([1, -INF, -INF, NAN], False),
        ([1, 3e38, -INF, NAN], False),
        ([1, INF, NAN, NAN], False),
        ([1, INF, -INF, 0], False),
        ([NAN, INF, -INF, NAN], False),
    ],
)
def test_infinities_are_equal_to_themselves(ours, verified):
    assert check([f32(ours)], [f32([1, INF, -INF, NAN])]).verified is verified


def test_finite_values_beside_infinities_are_held_to_the_largest_finite_one():
    assert check([f32([100.001, 1, -INF])], [f32([100, 1.001, -INF])]).max_rel_error == pytest.approx(1e-5, rel=0.1)


def test_whole_numbers_have_their_own_type_or_are_wrong():
    result = check([np.array([-56], np.int8)], [np.array([200], np.uint8)])
    assert (result.verified, result.reason) == (False, "output 0 is int8 where PyTorch has uint8")
    # Neighbours in int64 that are one number in double precision.
    assert not check([np.array([2**60 + 1])], [np.array([2**60])]).verified


def test_blocks_of_large_outputs_are_all_compared():
    theirs = np.ones(2_500_000, np.float32)
    ours = theirs.copy()
    ours[-1] = 1.5
    assert check([ours], [theirs]).max_rel_error == 0.5


def test_the_worst_output_counts():
    one, other = f32([1.0]), f32([1.5])
    assert check([one, other], [one, one]).max_rel_error == 0.5


def test_the_limit_is_that_of_the_coarsest_type_in_the_computation():
    ours, theirs = [f32([1.001])], [f32([1.0])]
    assert not check(ours, theirs).verified
    assert check(ours, theirs, element="float16").verified
    assert not check(ours, theirs, 1e-5, "float16").verified
    # Whole numbers are equal or wrong.
    assert not check([i32([1001])], [i32([1000])], element="float16").verified
