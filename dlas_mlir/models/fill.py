"""What fills a model: seeded weights that make a wrong result show, or a file of trained ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlas_mlir.errors import DlasError
from dlas_mlir.models import architecture, weights_file
from dlas_mlir.models.metadata import read_metadata

SEED = 0


def fill_seeded(make: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> nn.Module:
    """A model from `make` with PyTorch's seeded initialisation and random batch norm, in eval mode.

    PyTorch's own batch norm is the identity, so that folding it wrongly would not show; and through layers
    that are only initialised the signal decays by some 0.4 each, until the output no longer depends on the
    input and a wrong first layer would not show either. So each batch norm gets random statistics and affine
    terms, at the scale of what it is given for a seeded input. The scale is rounded to a power of two, so
    that the rounding of one machine's convolutions does not reach the weights.
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
    spread = 0.1 * math.sqrt(3)  # of a uniform distribution with a standard deviation of 0.1
    norm.running_mean.uniform_(-spread * scale, spread * scale)
    norm.running_var.uniform_(0.5 * scale**2, 1.5 * scale**2)
    norm.weight.uniform_(0.5, 1.5)
    norm.bias.uniform_(-spread, spread)


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill `model` from a file, as `weights_file.read_weights` takes it.

    The model first gets the shapes and types that a compressed checkpoint stores. Raises DlasError when the file
    cannot be read, and when its keys or shapes are not the model's.
    """
    try:
        architecture.apply(model, read_metadata(path).get("architecture", {}))
    except DlasError as error:
        raise DlasError(f"weights file {path} does not fit the model: {error}") from None
    model.load_state_dict(weights_file.read_weights(path, model.state_dict()), strict=False)
