"""What fills a model: seeded weights that make a wrong result show, or a file of trained ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlas_mlir.errors import DlasError

SEED = 0
_KEYS_SHOWN = 6


def fill_seeded(make: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> nn.Module:
    """A model from `make` with PyTorch's seeded initialisation and random batch norm, in eval mode.

    PyTorch's own batch norm is the identity, so that folding it wrongly would not show; and through layers that are
    only initialised the signal decays by some 0.4 each, until the output no longer depends on the input and a wrong
    first layer would not show either. So each batch norm gets random statistics and affine terms, at the scale of
    what it is given for a seeded input. The scale is rounded to a power of two: the weights are the same to the bit on
    every machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = make().eval()
        handles = [
            module.register_forward_pre_hook(_fill_norm)
            for module in model.modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        with torch.no_grad():
            model(torch.randn(input_shape))
    for handle in handles:
        handle.remove()
    return model


def _fill_norm(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = 2.0 ** round(math.log2(inputs[0].square().mean().sqrt().item()))
    norm.running_mean.normal_(0, 0.1 * scale)
    norm.running_var.uniform_(0.5 * scale**2, 1.5 * scale**2)
    norm.weight.uniform_(0.5, 1.5)
    norm.bias.normal_(0, 0.1)
