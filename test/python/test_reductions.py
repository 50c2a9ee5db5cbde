"""Sums: of 16-bit numbers against PyTorch, of many numbers against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dlas_mlir


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


class Halves(nn.Module):
    """Everything that sums or compares, of 16-bit numbers near 1.5 and 40 whose sums leave float16's range."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(4, 32, 3), nn.Conv2d(4, 4, 3, groups=4)
        self.grouped, self.transposed = nn.Conv2d(4, 16, 3, groups=2), nn.ConvTranspose2d(4, 8, 3)
        self.fc, self.norm, self.groups = nn.Linear(57, 24), nn.LayerNorm(57), nn.GroupNorm(2, 4)
        self.dtype = dtype
        self.to(dtype)

    def forward(self, wide: Tensor) -> dict[str, Tensor]:
        x = wide.to(self.dtype)
        small = x[:, :, :16]
        results = {
            "mean": (x + 40).mean((2, 3)),
            "mean_of_rows": (x + 40).mean(3),
            "mean_of_all": (x + 40).mean(),
            "sum": x.sum((2, 3)),
            "norm": x.norm(dim=3),
            "variance": x.var((2, 3)),
            "pool": F.avg_pool2d(x + 40, 50),
            "pool_inside": F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            "adaptive": F.adaptive_avg_pool2d(x + 40, 1),
            "highest": F.max_pool2d(x, 3, 2, 1),
            "softmax": x.softmax(3),
            "layer_norm": self.norm(x),
            "group_norm": self.groups(x),
            "conv": self.conv(small),
            "depthwise": self.depthwise(small),
            "grouped": self.grouped(small),
            "transposed": self.transposed(small),
            "linear": self.fc(x),
            "product": x @ x.transpose(2, 3),
            "gelu": F.gelu(x),
            "gate": small * small.mean((2, 3), keepdim=True).sigmoid(),
        }
        return {name: value.float() for name, value in results.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_summed_in_thirty_two(dtype: torch.dtype):
    torch.manual_seed(0)
    module = Halves(dtype).eval()
    x = torch.rand(1, 4, 57, 57) + 1
    ours = dlas_mlir.run(dlas_mlir.compile(module, preset="host/auto", example_inputs=(x,)))
    with torch.no_grad():
        wanted = module(x)
    one_digit = 2.0 ** (-10 if dtype == torch.float16 else -7)
    for (name, value), found in zip(wanted.items(), ours, strict=True):
        off = np.abs(found - value.numpy()).max() / np.abs(value.numpy()).max()
        assert off <= one_digit, name


class Sums(nn.Module):
    """Long sums over each dimension and several: with results that are neighbours and without, of lengths that vectors
    divide and that they do not, down to one number."""

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {
            "mean of images": x.mean((2, 3)),
            "variance of images": x.var((2, 3)),
            "pool": F.avg_pool2d(x, (97, 101)),
            "mean of rows": x.mean(3),
            "mean of all images": x.mean((0, 2, 3), keepdim=True),
            "mean of channels last": y.mean((0, 1)),
            "softmax": y.flatten(1).softmax(1),
            "layer norm": F.layer_norm(x, (113,)),
            "mean of columns": z.mean(0),
            "norm of columns": z.norm(dim=0),
            "long product": x.reshape(4, -1) @ x.reshape(4, -1).T / x.numel(),
            "rows by columns": torch.bmm(x.reshape(4, 1, -1), x.reshape(4, -1, 1)) / x.numel(),
            "products of matrices": torch.bmm(x.reshape(1, 4, -1), x.reshape(1, -1, 4)) / x.numel(),
            "mean": z.mean(),
            "deviation": z.std(),
            "sum that keeps its dimensions": z[:5000, 0].sum(0, keepdim=True),
            "highest": x.amax((2, 3)),
            "lowest": z.amin(),
        }


_NUMBERS = {
    "between 0 and 1": torch.rand,
    "between 100 and 101": lambda *shape: torch.rand(*shape) + 100,
    "0.1": lambda *shape: torch.full(shape, 0.1),
    "1 and -0.9": lambda *shape: (torch.arange(math.prod(shape)) % 2 * -1.9 + 1).view(*shape),
}
# A normalised value is off by as much as the mean is, in units of the deviation.
_NORMALISED = {"layer norm": 1e-4}


def _check(module: nn.Module, *shapes: tuple[int, ...], kinds: tuple[str, ...] = tuple(_NUMBERS)) -> None:
    artifact = dlas_mlir.compile(
        module, preset="host/auto", example_inputs=tuple(torch.rand(*shape) for shape in shapes)
    )
    for numbers in kinds:
        torch.manual_seed(0)
        inputs = [_NUMBERS[numbers](*shape) for shape in shapes]
        ours = dlas_mlir.run(artifact, *(value.numpy() for value in inputs))
        for (name, wanted), found in zip(module(*(value.double() for value in inputs)).items(), ours, strict=True):
            if numbers == "0.1" and name in _NORMALISED:
                continue  # Without any deviation.
            largest = max(float(value.abs().max()) for value in inputs)
            off = np.abs(found - wanted.numpy()).max() / max(largest, np.abs(wanted.numpy()).max())
            assert off < _NORMALISED.get(name, 1e-6), (name, numbers)


def test_long_sums_lose_no_digits():
    _check(Sums(), (2, 16, 112, 113), (59, 61, 24), (5003, 7))


class Mean(nn.Module):
    """The mean of everything, and of each channel."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"all": x.mean(), "channels": x.mean((2, 3))}


def test_the_mean_of_sixteen_million_numbers():
    _check(Mean(), (1, 4, 2048, 2048), kinds=("between 100 and 101", "0.1"))
