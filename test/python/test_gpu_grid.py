"""Convolutions of the grid and layers of networks, through the passes of a GPU's recipes: each kernel that comes out
computes, in the simulator, what NumPy makes of its workload (a sample of what `gpu_grid` does)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from convolution_cases import grid
from convolution_modules import Case
from gpu_grid import imported, kernels, modules, tolerance_of, worst_error


def sample(every: int) -> list[Sequence[Case]]:
    """Small ones, with other operations behind them, of all kinds."""
    found = [case for case in grid() if case.primitive == "implicit-gemm" and case.macs < 1_500_000]
    return modules(found[::every])


@pytest.mark.parametrize(
    "preset", ["cuda-sm80/f16-auto", "cuda-sm90/f16-auto", "cuda-sm80/auto", "cuda-sm90/tf32-auto"]
)
@pytest.mark.parametrize("chosen", sample(7), ids=lambda chosen: f"from-{chosen[0].inputs}-to-{chosen[0].outputs}")
def test_grid(preset: str, chosen: Sequence[Case], tmp_path) -> None:
    found, left = kernels(imported(chosen, tmp_path), preset)
    assert len(found) >= len(chosen) - 1
    for workload, schedule in found.items():
        off = worst_error(workload, schedule)
        assert off < tolerance_of(preset), (workload.loops, schedule)
    # What is left over has few channels that no 16 bytes hold.
    assert left <= len(chosen)
