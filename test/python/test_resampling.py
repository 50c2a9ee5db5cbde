"""Images made larger and smaller, and what else is read at places that are known: the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import dlas_mlir
from dlas_mlir.ir.quotients import quotient_of

SIZES = {
    "nearest": {"scale_factor": 2, "mode": "nearest"},
    "nearest_3x2": {"size": (15, 14), "mode": "nearest"},
    "nearest_ratio": {"size": (8, 9), "mode": "nearest"},
    "bilinear": {"scale_factor": 2, "mode": "bilinear"},
    "three_times": {"scale_factor": 3, "mode": "bilinear"},
    "corners": {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
    "ratio": {"size": (8, 9), "mode": "bilinear"},
    "ratio_corners": {"size": (8, 9), "mode": "bilinear", "align_corners": True},
    "smaller": {"size": (3, 4), "mode": "bilinear"},
    "one_pixel": {"size": (1, 1), "mode": "bilinear", "align_corners": True},
    "factor": {"scale_factor": (1.5, 2.5), "mode": "bilinear"},
    "no_ratio": {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": False},
}


class Resampled(nn.Module):
    """Each of SIZES behind one convolution and in front of another, and the first of them in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(20, 16, 3, padding=1)
        self.skipped, self.joined = nn.Conv2d(3, 16, 2, 2), nn.Conv2d(36, 8, 3, padding=1)

    def forward(self, x: torch.Tensor, large: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.relu(self.before(x))
        results = [self.behind(functional.interpolate(y, **options)) for options in SIZES.values()]
        skip = torch.relu(self.skipped(large))
        both = torch.cat([skip, functional.interpolate(y, scale_factor=2, mode="bilinear")], 1)
        return *results, self.joined(both), functional.max_pool2d(skip, 2)


@pytest.mark.parametrize("recipe", ["auto", "stock"])
def test_images_of_other_sizes(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    torch.manual_seed(0)
    module, inputs = Resampled().eval(), (torch.randn(2, 3, 5, 7), torch.randn(2, 3, 20, 28))
    artifact = dlas_mlir.compile(module, preset=f"host/{recipe}", example_inputs=inputs)
    with torch.no_grad():
        wanted = module(*inputs)
    for name, found, right in zip([*SIZES, "joined", "pooled"], dlas_mlir.run(artifact), wanted, strict=True):
        np.testing.assert_allclose(found, right.numpy(), atol=2e-6 * float(right.abs().max()), rtol=0, err_msg=name)


class _Halves(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ratio = functional.interpolate(x, size=(13, 11), mode="bilinear")
        return functional.interpolate(x, scale_factor=3, mode="bilinear"), ratio


def test_halves_are_rounded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    module, x = _Halves(), torch.randn(2, 16, 9, 7, generator=torch.Generator().manual_seed(0)).half()
    found = dlas_mlir.run(dlas_mlir.compile(module, preset="host/auto", example_inputs=(x,)), x.numpy())
    for result, right in zip(found, module(x.float()), strict=True):
        # Where the exact value is half-way between two of 16 bits, either may come out; rounded each time, 45 % differ.
        assert (result != right.half().numpy()).mean() < 0.01


class _Diagonals(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        planes = torch.diagonal(x, 0, -1, -2), torch.diagonal(x, 2, 1, 2), torch.diagonal(x, -1, 1, 2)
        return *planes, torch.diagonal(x[0], 2), x[:, [3, 2, 1]], x[:, :, [1, 2]] + 1


def test_parts_of_tensors_are_read_in_place(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    module, x = _Diagonals(), torch.randn(3, 4, 5)
    found = dlas_mlir.run(dlas_mlir.compile(module, preset="host/auto", example_inputs=(x,)), x.numpy())
    for result, right in zip(found, module(x), strict=True):
        np.testing.assert_array_equal(result, right.numpy())


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_lines_of_quotients_are_found(count):
    numbers = np.arange(count)
    for factor, shift, whole in [(0, 3, 1), (2, 1, 1), (-1, 40, 1), (1, 1, 2), (3, 2, 4), (5, 7, 9), (13, 0, 29)]:
        table = (numbers * factor + shift) // whole
        found = quotient_of(table)
        assert found is not None
        np.testing.assert_array_equal((numbers * found[0] + found[1]) // found[2], table)


@pytest.mark.parametrize("table", [[0, 1, 0], [0, 0, 0, 1, 1], [0, 3, 4, 5], [2, 1, 1]])
def test_other_lines_are_not(table):
    found = quotient_of(np.array(table))
    numbers = np.arange(len(table))
    assert found is None or ((numbers * found[0] + found[1]) // found[2] == table).all()
