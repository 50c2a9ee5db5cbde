"""A network of each kind of operation, quantized with random images, for the tests of quantization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dlas_mlir.compiler.frontend import torch_source
from dlas_mlir.compression.compress import compress_module
from dlas_mlir.compression.quantize import Quantize
from dlas_mlir.models.fill import fill_seeded

SHAPE = (1, 3, 12, 12)
INPUTS = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)),)
RANDOM = Quantize(calibration="random", count=4)


class Net(nn.Module):
    """Each kind of operation: fused ones, a residual block, gates, concatenation, pooling, and one unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point = nn.Conv2d(16, 16, 1)
        self.gate = nn.Conv2d(16, 16, 1)
        self.side = nn.Conv2d(16, 8, 1)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        x = nn.functional.relu6(x + self.point(nn.functional.hardswish(self.depthwise(x))))
        x = x * torch.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(x, 1)))
        x = torch.cat([x, torch.cos(self.side(x))], 1)
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def net() -> nn.Module:
    return fill_seeded(Net, SHAPE)


def traced(model: nn.Module, inputs: tuple[Tensor, ...], **keywords: Any) -> tuple[Any, list[str]]:
    """The quantized program of a model as a function, and what stays in float."""
    notes: list[str] = []
    done = compress_module(model.eval(), inputs, [RANDOM], report=notes.append, **keywords)
    return torch_source.trace(done.model, inputs, "net").module(check_guards=False), notes


def near(found: Any, model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    with torch.no_grad():
        expected = model(*inputs)
        return float((found(*inputs) - expected).norm() / expected.norm()) < 0.03
