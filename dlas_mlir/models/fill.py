"""What fills a model: seeded weights that make a wrong result show, or a file of trained ones."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlas_mlir.errors import DlasError

from . import architecture

SEED = 0
_KEYS_SHOWN = 6


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
    """Fill `model` from a state_dict, in a safetensors file or one of torch.save (code in it is not run).

    The model first gets the shapes and types that a compressed checkpoint stores. Raises DlasError when the file
    cannot be read, and when its keys or shapes are not the model's.
    """
    state = _read_state_dict(path)
    try:
        architecture.apply(model, architecture.read_metadata(path).get("architecture", {}))
    except DlasError as error:
        raise DlasError(f"weights file {path} does not fit the model: {error}") from None
    wanted = model.state_dict()
    # Older files have no batch counters; inference does not read them.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        lines = [f"weights file {path} does not fit the model"]
        lines += [f"missing: {_shorten(missing)}"] if missing else []
        lines += [f"unexpected: {_shorten(unexpected)}"] if unexpected else []
        raise DlasError("; ".join(lines))
    wrong = [
        f"{key} is {_shape(state[key])}, the model's is {_shape(value)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if wrong:
        raise DlasError(f"weights file {path} does not fit the model; {_shorten(wrong)}")
    model.load_state_dict(state, strict=False)


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DlasError(f"cannot read weights file {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError:  # PyTorch's message advises to run the code in the file
        raise DlasError(
            f"cannot read weights file {path}: it holds Python objects, or is no file of torch.save; only "
            "tensors are read, as torch.save(model.state_dict(), FILE) writes them"
        ) from None
    except Exception as error:  # both readers raise many kinds for a damaged file
        # The first sentence says what is wrong, the others guess why.
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise DlasError(
            f"cannot read weights file {path}: {reason} "
            "(it must be safetensors, or a state_dict of tensors written by torch.save)"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DlasError(f"weights file {path} is not a state_dict: it must map names to tensors")
    return {_published_name(key): value for key, value in state.items()}


def _published_name(key: str) -> str:
    """torchvision's published DenseNet files still say norm.1 where its models say norm1."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _shorten(names: list[str]) -> str:
    more = len(names) - _KEYS_SHOWN
    return ", ".join(names[:_KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")
