"""Some 300 single convolutions, with what stands around them in networks, against PyTorch in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from convolution_cases import grid
from convolution_modules import Case
from grid_runner import TOLERANCE, Figures, check_choices, run_cases

_PER_MODULE = 25
AVX512, AVX2, NEON = Figures(16, 32), Figures(8, 16), Figures(4, 32)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


def modules() -> list:
    """The grid in modules of one primitive each."""
    cases = grid()
    found = []
    for primitive in sorted({case.primitive for case in cases}):
        own = [case for case in cases if case.primitive == primitive]
        for start in range(0, len(own), _PER_MODULE):
            found.append(pytest.param(own[start : start + _PER_MODULE], id=f"{primitive}-{start // _PER_MODULE}"))
    return found


def check(cases: Sequence[Case], figures: Figures, folder, threads: int = 1) -> None:
    result = run_cases(cases, figures, folder, threads)
    wrong = [f"{error:.1e} {case}" for case, error in zip(cases, result.errors, strict=True) if error > TOLERANCE]
    assert not wrong, "\n".join(["relative errors beyond the tolerance:", *wrong])
    # Each convolution was done by the primitive that was asked for, and as a kernel of ours.
    check_choices(result.artifact, folder)


@pytest.mark.parametrize("cases", modules())
def test_grid(cases, tmp_path):
    check(cases, AVX512, tmp_path)


def sample(lanes: int) -> list:
    """A part of the grid for a target with vectors of `lanes`, in modules of mixed primitives."""
    cases = [case for case in grid(lanes) if case.primitive not in ("nchw", "nhwgc")][lanes::6]
    return [cases[start : start + _PER_MODULE] for start in range(0, len(cases), _PER_MODULE)]


@pytest.mark.parametrize("cases", sample(8), ids=lambda cases: f"from-{cases[0].primitive}")
def test_eight_lanes_and_sixteen_registers(cases, tmp_path):
    check(cases, AVX2, tmp_path)


@pytest.mark.parametrize("cases", sample(4), ids=lambda cases: f"from-{cases[0].primitive}")
def test_four_lanes(cases, tmp_path):
    check(cases, NEON, tmp_path)


@pytest.mark.parametrize("cases", sample(16)[:1], ids=lambda cases: f"from-{cases[0].primitive}")
def test_two_threads(cases, tmp_path):
    """Kernels are split among workgroups, with padding written by the first and the last."""
    check(cases, AVX512, tmp_path, threads=2)
