"""Quantization of networks with constants and batch norms of every kind, and of any inputs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from quantized_net import INPUTS, RANDOM, near, net, traced
from torch import Tensor, nn

import dlas_mlir as dlas
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.errors import DlasError


class Constants(nn.Module):
    """Numbers that are computed of parameters, reach activations in each way, and are infinite or zero."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.standard = nn.Parameter(torch.randn(16, 16, 3, 3))
        self.norm = nn.BatchNorm2d(16)
        self.joined = nn.Conv2d(24, 16, 1)
        self.silent = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 10)
        self.scale, self.gate = nn.Parameter(torch.rand(16)), nn.Parameter(torch.randn(1, 16, 1, 1))
        self.large = nn.Parameter(torch.full((1, 8, 1, 1), 20.0))
        mask = torch.zeros(1, 16, 1, 1)
        mask[:, 3] = -torch.inf
        self.register_buffer("mask", mask)
        nn.init.zeros_(self.silent.weight[:4])
        nn.init.constant_(self.silent.bias, -100.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) * self.scale.view(1, -1, 1, 1) * self.gate.sigmoid() + (self.scale + 1)[None, :, None, None]
        weight = self.standard - self.standard.mean((1, 2, 3), keepdim=True)
        x = self.norm(nn.functional.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), padding=1))
        x = self.joined(torch.cat([x, self.large.expand(len(x), -1, 12, 12)], 1))
        x = torch.relu(x + self.mask) + torch.relu(self.silent(x))
        x = nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 2)
        x = nn.functional.pad(x, (1, 1, 1, 1), value=-30.0) * torch.arange(1, 17).view(1, -1, 1, 1)
        return self.fc(x.mean((2, 3)))


def test_what_is_computed_of_constants_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = Constants()
    found, notes = traced(model, INPUTS)
    assert not notes
    assert near(found, model, INPUTS)
    artifact = dlas.compile(model, preset="host/auto", example_inputs=INPUTS)
    (row,) = dlas.bench(artifact, protocol=dlas.Protocol(rounds=1, min_seconds=0.01))
    assert row["verified"], row


class Repeated(nn.Module):
    """A convolution that runs three times, with a norm of its own each time and without one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        for norm in self.norms:
            nn.init.uniform_(norm.running_var, 0.2, 0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm in self.norms:
            x = torch.relu(norm(self.again(x)))
        return self.again(x)


def test_norms_are_folded_once_into_a_convolution_that_runs_several_times():
    model = Repeated().eval()
    found, _ = traced(model, INPUTS)
    assert near(found, model, INPUTS)


class Normed(nn.Module):
    """Batch norms behind what is read by others too, behind grouped transposed convolutions, and over what is no
    channel of the layer before."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.narrow = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(12, 3, 1)
        self.groups = nn.ConvTranspose2d(8, 12, 4, 2, 1, groups=4)
        self.depthwise = nn.ConvTranspose2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.rows, self.classes, self.last = (
            nn.Linear(32, 3),
            nn.Linear(9, 6, bias=False),
            nn.BatchNorm1d(6, affine=False),
        )
        self.first, self.second = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.third, self.fourth = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
        self.of_rows = nn.BatchNorm1d(3)
        for norm in (module for module in self.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_var, 0.2, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 2)
                nn.init.uniform_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.shared(x)
        y = torch.relu(self.first(y)) + torch.relu(self.second(y)) + y
        y = torch.relu(self.third(self.groups(y)))
        y = self.narrow(torch.relu(self.fourth(self.depthwise(y))))
        y = self.of_rows(self.rows(y.mean(2)))
        return self.last(self.classes(y.flatten(1)))


def test_norms_that_cannot_be_folded_stay():
    torch.manual_seed(0)
    model, x = Normed().eval(), torch.rand(2, 3, 16, 16)
    found, _ = traced(model, (x,))
    assert near(found, model, (x,))
    kinds = Counter(str(node.target) for node in found.graph.nodes)
    assert kinds["aten._native_batch_norm_legit_no_training.default"] == 3


@pytest.mark.parametrize(
    ("run", "inputs"),
    [
        (lambda net, x, y: net(x) + y, (*INPUTS, torch.linspace(-1, 1, 10)[None])),
        (lambda net, x: net(x), (INPUTS[0].repeat(4, 1, 1, 1),)),
        (lambda net, x, words: net(x) * words.float(), (*INPUTS, torch.arange(10)[None])),
    ],
)
def test_any_inputs_are_calibrated_at_random(run: Any, inputs: tuple[Tensor, ...]):
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, *values: Tensor) -> Tensor:
            return run(self.net, *values)

    model = Called().eval()
    found, _ = traced(model, inputs)
    assert near(found, model, inputs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("norm.running_mean", torch.nan, r"norm\.running_mean: values are no finite numbers"),
        ("mask", torch.nan, "its constant mask has values that are no finite numbers"),
        ("mask", torch.inf, "relu gives values that are no finite numbers"),
        ("norm.running_var", -1.0, "its constant .* has values that are no finite numbers"),
    ],
)
def test_constants_that_are_no_numbers_name_the_layer(name: str, value: float, message: str):
    model = Constants().eval()
    dict(model.named_buffers())[name].fill_(value)
    with pytest.raises(DlasError, match=message):
        compress_module(model, INPUTS, [RANDOM])
