"""What compression does to a model's shapes and types: stored in a checkpoint, applied before it is loaded.

The JSON object, whose keys are all optional: `channels` maps a layer to its sizes after channel pruning, `tensors`
a parameter or buffer that belongs to no such layer to its shape, `folded` maps a batch norm to the convolution that
it was folded into, `half` is the element type of the model and the layers that stay in float32, `int8` the layers that
stay in float32 (`keep`) and scale and zero point of each activation (`activations`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as pytree

from dlas_mlir.errors import DlasError
from dlas_mlir.models.sizes import owner_of, replace, resize, share_again, shared_names

_INT8 = "dlas_int8"
HALF_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def apply(model: nn.Module, architecture: Mapping[str, Any]) -> None:
    """Give `model` the shapes and types of `architecture`, in place; the values of what changes are undefined.

    Raises DlasError when it is not of this model.
    """
    try:
        unknown = set(architecture) - {"channels", "tensors", "folded", "half", "int8"}
        if unknown:
            raise DlasError(f"unknown architecture key `{min(unknown)}`; a newer version may know it")
        shared = shared_names(model)
        for name, sizes in architecture.get("channels", {}).items():
            resize(model.get_submodule(name), sizes)
        for path, shape in architecture.get("tensors", {}).items():
            owner, name = owner_of(model, path)
            replace(owner, name, getattr(owner, name).detach().new_zeros(shape))
        share_again(model, shared)
        for norm, convolution in architecture.get("folded", {}).items():
            remove_folded(model, convolution, norm)
        if "half" in architecture:
            to_half(model, architecture["half"]["element"], architecture["half"]["keep"])
        if "int8" in architecture:
            to_int8(model, architecture["int8"])
    # PyTorch raises RuntimeError for sizes that no tensor can have.
    except (ArithmeticError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DlasError(f"the stored architecture is not this model's: {reason}") from None


def remove_folded(model: nn.Module, convolution: str, norm: str) -> None:
    """Take out a batch norm whose effect is in the weights of a convolution, which gets a bias if it has none."""
    layer = model.get_submodule(convolution)
    if not isinstance(layer, _ConvNd) or not isinstance(model.get_submodule(norm), _BatchNorm):
        raise ValueError(f"{norm} is not a batch norm behind the convolution {convolution}")
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.detach().new_zeros(layer.out_channels))
    model.set_submodule(norm, nn.Identity())


def to_half(model: nn.Module, element: str, keep: Iterable[str]) -> None:
    """Make weights and activations `element` ("float16", "bfloat16"), but for the layers named in `keep`.

    Batch norms stay in float32, as in PyTorch's mixed precision. Inputs and outputs of the model keep their type:
    it converts them itself, so that it takes the place of the model that it was made from. So do the layers, to which
    a model may give what it has made float32 itself, of integers or to be exact.
    """
    half = HALF_TYPES[element]
    kept = {model.get_submodule(name) for name in keep}
    model.to(half)
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.float()
        elif layer in kept:
            layer.float()
            layer.register_forward_pre_hook(_arguments_to(torch.float32), with_kwargs=True)
            layer.register_forward_hook(_outputs_to(half))
        elif _is_layer_of_torch(layer):
            layer.register_forward_pre_hook(_arguments_to(half), with_kwargs=True)
    model.register_forward_pre_hook(_inputs_to(half))
    model.register_forward_hook(_outputs_to(torch.float32))


def to_int8(model: nn.Module, quantization: Mapping[str, Any]) -> None:
    """Say that a model is to be quantized where it is traced; in PyTorch it still computes in float32."""
    keep = [name for name in quantization["keep"] if model.get_submodule(name)]
    activations = {name: (float(scale), int(zero)) for name, (scale, zero) in quantization["activations"].items()}
    for name, (scale, zero) in activations.items():
        if not (math.isfinite(scale) and scale > 0 and 0 <= zero <= 255):
            raise ValueError(f"{name} has the scale {scale:g} and the zero point {zero}")
    model.__dict__[_INT8] = {"keep": keep, "activations": activations}


def quantization_of(model: nn.Module) -> dict[str, Any] | None:
    """What `to_int8` was given, None for a model that is not quantized."""
    return model.__dict__.get(_INT8)


def _is_layer_of_torch(module: nn.Module) -> bool:
    """Whether `module` has parameters and is of a kind of PyTorch's, which takes inputs of their type alone."""
    kinds = [kind for kind in type(module).__mro__ if kind is not nn.Module]
    own = any(parameter.is_floating_point() for parameter in module.parameters(recurse=False))
    return own and any(kind.__module__.startswith("torch.nn.modules.") for kind in kinds)


def _inputs_to(dtype: torch.dtype) -> Callable[..., Any]:
    return lambda module, inputs: _converted(inputs, dtype)


def _arguments_to(dtype: torch.dtype) -> Callable[..., Any]:
    return lambda module, inputs, named: (_converted(inputs, dtype), _converted(named, dtype))


def _outputs_to(dtype: torch.dtype) -> Callable[..., Any]:
    return lambda module, inputs, outputs: _converted(outputs, dtype)


def _converted(values: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors become `dtype`, in tuples, lists and dictionaries too; the rest stays."""

    def convert(value: Tensor) -> Tensor:
        return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value

    return pytree.tree_map_only(Tensor, convert, values)
