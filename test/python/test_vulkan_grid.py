"""A part of the grid of convolutions on a Vulkan device: each primitive that threads do gives what PyTorch does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from convolution_cases import SPARSE, grid
from convolution_modules import Case
from grid_runner import TOLERANCE, check_choices, gpu_preset_for, run_preset

DENSE = ("direct", "gemm", "spatial-pack", "grouped-spatial-pack", "depthwise")
# Of each primitive: awkward ones are among the first.
STEP = 9


def sample(primitives: Sequence[str]) -> list[Case]:
    found = [[case for case in grid() if case.primitive == primitive] for primitive in primitives]
    return [case for cases in found for case in cases[1::STEP] if case.macs < 2_000_000][:8]


SPARSE_CASES = sample(SPARSE)
# The preset of what is around the convolutions, and by how much results may be off.
RUNS = {
    "dense": ("vulkan/auto", sample(DENSE), TOLERANCE),
    "sparse": ("vulkan/auto", SPARSE_CASES, TOLERANCE),
    "sparse, f16": ("vulkan-ada/f16-auto", SPARSE_CASES[::2], 4e-3),
}


@pytest.mark.parametrize("run", RUNS)
def test_grid(vulkan, run, tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    preset, cases, tolerance = RUNS[run]
    result = run_preset(cases, gpu_preset_for(cases, preset, tmp_path), tmp_path, device="vulkan")
    wrong = [f"{error:.1e} {case}" for case, error in zip(cases, result.errors, strict=True) if error > tolerance]
    assert not wrong, "\n".join(["relative errors beyond the tolerance:", *wrong])
    check_choices(result.artifact, tmp_path)
    assert {layer["schedule"]["kind"] for layer in result.artifact.layers} == {"simt"}
