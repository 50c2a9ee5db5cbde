"""A network of one product for tensor cores, and of one kernel of threads."""

from __future__ import annotations

import torch
from torch import nn


def net() -> nn.Module:
    """A convolution with a ReLU, and the maxima of windows."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    module.example_inputs = (torch.randn(1, 64, 8, 8),)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return module
