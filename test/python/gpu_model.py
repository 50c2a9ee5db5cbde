"""A network of one product for tensor cores, and of one kernel of threads."""

from __future__ import annotations

import torch
from torch import nn


def net() -> nn.Module:
    """A convolution with a ReLU, and the maxima of windows."""
    return _net(64, 8)


def other() -> nn.Module:
    """The same in other sizes."""
    return _net(128, 14)


def _net(channels: int, size: int) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    example = torch.randn(1, channels, size, size)
    module.example_inputs = (example,)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return module
