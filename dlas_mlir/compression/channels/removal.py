"""Taking channels out of a module, and what the module without them is held to."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dlas_mlir.compression.channels.trace import Channels, values_of
from dlas_mlir.errors import DlasError
from dlas_mlir.models.results import differ, results_of
from dlas_mlir.models.sizes import owner_of, replace, set_sizes, share_again, shared_names, sizes_of

# Of the largest output: how far a module without some channels may be from the one that gives them no weight.
_TOLERANCE = 1e-3


@torch.no_grad()
def remove(model: nn.Module, channels: Channels, gone: np.ndarray) -> None:
    """Take the classes `gone` out of all tensors of `model`, and out of what its layers say of their sizes."""
    groups = shared_names(model)
    first = {name: names[0] for names in groups for name in names}
    tensors = {names[0]: _tensor(model, names[0]) for names in groups}
    sizes = {name: _sizes(name, layer, first, channels, gone) for name, layer in model.named_modules()}
    for name in first:
        owner, attribute = owner_of(model, name)
        before = value = getattr(owner, attribute)
        if before is not tensors[first[name]]:  # a layer that has two names
            continue
        for place, left in _left(first[name], value, channels, gone).items():
            value = value.detach().index_select(place, torch.from_numpy(left))
        if value is not before:
            replace(owner, attribute, value)
    share_again(model, groups)
    for name, layer in model.named_modules():
        if (found := sizes[name]) is not None:
            set_sizes(layer, found)


def _tensor(model: nn.Module, path: str) -> Tensor:
    owner, name = owner_of(model, path)
    return getattr(owner, name)


def _left(name: str, value: Tensor, channels: Channels, gone: np.ndarray) -> dict[int, np.ndarray]:
    """The indices that stay of each dimension that loses some."""
    found = {}
    for place in range(value.dim()):
        out = np.isin(channels.classes[name, place], gone)
        if out.any():
            found[place] = np.flatnonzero(~out)
    return found


def _sizes(
    path: str, layer: nn.Module, first: Mapping[str, str], channels: Channels, gone: np.ndarray
) -> dict[str, Any] | None:
    """The channel counts of a layer afterwards; None for one that has none."""
    before = sizes_of(layer)
    name = next((each for each in ("weight", "running_mean") if f"{path}.{each}" in first), None)
    if before is None:
        return None
    if name is not None:
        shape = getattr(layer, name).shape
        dims = [channels.classes[first[f"{path}.{name}"], place] for place in range(len(shape))]
    else:
        dims = [each for each in channels.norms.get(path, ()) if each is not None]
    counts = [int((~np.isin(dim, gone)).sum()) for dim in dims]
    if not counts:
        return before
    if isinstance(layer, _ConvNd):
        return _of_convolution(layer, counts[0], counts[1])
    if isinstance(layer, nn.Linear):
        return {"in": counts[1], "out": counts[0]}
    if isinstance(layer, nn.Embedding):
        return {"out": counts[1]}
    return {"shape": counts} if "shape" in before else {"out": counts[0]}


def _of_convolution(layer: _ConvNd, near: int, far: int) -> dict[str, int]:
    """The sizes of a convolution whose weights have `near` channels in the first dimension and `far` in the second."""
    groups = layer.groups
    depthwise = groups == layer.in_channels > 1
    if layer.transposed:
        groups = near if depthwise else groups
        return {"in": near, "out": far * groups, "groups": groups}
    groups = near * groups // layer.out_channels if depthwise else groups
    return {"in": far * groups, "out": near, "groups": groups}


@torch.no_grad()
def why_wrong(model: nn.Module, inputs: tuple[Tensor, ...], channels: Channels, gone: np.ndarray) -> str | None:
    """Why a model must not lose these channels, None if it may: `model` stays as it is.

    Its code may know sizes that the trace does not show. So it must run without them, each value in it must have lost
    what the trace says, and its results must be those of the model in which the channels have no weight (where none of
    them goes through a norm over channels, which then sees others).
    """
    try:
        without, masked = copy.deepcopy(model), copy.deepcopy(model)
    except Exception as error:  # whatever an attribute of the model's raises
        raise DlasError(f"the model cannot be copied: {_line(error)}") from None
    remove(without, channels, gone)
    _mask(masked, channels, gone)
    expected = results_of(masked, inputs)
    try:
        found = results_of(without, inputs)
        values = values_of(without, inputs)
    except Exception as error:  # whatever the model's code raises
        return f"the model does not run without them: {_line(error)}"
    if len(values) != len(channels.values):
        return "without them the model takes another way"
    for (operation, shapes), value in zip(values, channels.values, strict=True):
        if operation != value.operation or shapes != [_shape(each, gone) for each in value.results]:
            return f"the code counts on them: {value.where} does not take the ones of them that are left"
    if channels.changed.isdisjoint(gone.tolist()) and any(map(_differ, found, expected)):
        return "the code counts on them: without them the results are not what is left of the model"
    return None


def _shape(dims: tuple[int | np.ndarray, ...], gone: np.ndarray) -> tuple[int, ...]:
    """The shape of a value when its classes that are `gone` are taken out."""
    return tuple(dim if isinstance(dim, int) else int((~np.isin(dim, gone)).sum()) for dim in dims)


def _mask(model: nn.Module, channels: Channels, gone: np.ndarray) -> None:
    """Set to zero what parameters have of the channels."""
    for name, value in model.named_parameters():
        for place, left in _left(name, value, channels, gone).items():
            keep = torch.zeros(value.shape[place], dtype=torch.bool)
            keep[torch.from_numpy(left)] = True
            value.movedim(place, 0)[~keep] = 0


def _differ(found: Tensor, expected: Tensor) -> bool:
    return differ(found, expected, _TOLERANCE)


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
