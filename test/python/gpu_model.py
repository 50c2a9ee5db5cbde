"""Small networks for GPUs: of one product for tensor cores and one kernel of threads, with squeeze-and-excite, with
norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlas_mlir.models.efficientnet import SqueezeExcitation


def net() -> nn.Module:
    """The maxima of windows, and a convolution with a ReLU."""
    return _net(64, 8)


def other() -> nn.Module:
    """The same in other sizes."""
    return _net(128, 14)


def _net(channels: int, size: int) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()).eval()
    example = torch.randn(1, channels, 2 * size, 2 * size)
    module.example_inputs = (example,)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return module


class _Squeezed(nn.Module):
    """A depthwise convolution with squeeze-and-excite between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 40, 3, stride=2, padding=1), nn.SiLU())
        self.depthwise = nn.Sequential(nn.Conv2d(40, 40, 3, padding=1, groups=40), nn.SiLU())
        self.gate = SqueezeExcitation(40, 6)
        self.out = nn.Conv2d(40, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gate(self.depthwise(self.stem(x))))


class _Normed(nn.Module):
    """Two linear layers with norms of their rows behind them, and what skips the second."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm = nn.Linear(24, 72), nn.LayerNorm(72)
        self.down, self.last = nn.Linear(72, 24), nn.LayerNorm(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.down(torch.relu(self.norm(self.up(x)))))


class _Large(nn.Module):
    """A norm whose squares float16 does not hold, and of equal elements the reciprocal of the deviation neither."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(72, eps=1e-12), nn.Linear(72, 24)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x * 500))


def squeezed() -> nn.Module:
    """Squeeze-and-excite, for three images."""
    return _with_input(_Squeezed(), (3, 3, 18, 18))


def normed() -> nn.Module:
    """Norms of 2 x 17 rows."""
    return _with_input(_Normed(), (2, 17, 24))


def large() -> nn.Module:
    """A norm of 2 x 17 rows of large elements, the first of which are equal."""
    module = _with_input(_Large(), (2, 17, 72))
    (example,) = module.example_inputs  # pyright: ignore[reportGeneralTypeIssues]
    example[0, 0] = 0.25
    return module


def stem() -> nn.Module:
    """The beginning of a ResNet and its end: a maximum behind 7x7, a mean behind 1x1."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(64, 128, 1), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return _with_input(module, (2, 3, 60, 60))


def _with_input(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    module.eval().example_inputs = (torch.randn(shape),)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return module
