"""Channel counts of layers: what they are, giving a layer others, and tensors that several layers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

_RMSNorm = getattr(nn, "RMSNorm", nn.LayerNorm)
# Kinds of layers that say of how many channels they are, beside convolutions and linear layers.
_COUNTS: tuple[tuple[type[nn.Module], str], ...] = (
    (_NormBase, "num_features"),  # batch and instance norm
    (nn.GroupNorm, "num_channels"),
    (nn.PReLU, "num_parameters"),
    (nn.Embedding, "embedding_dim"),
)
_SHAPES = (nn.LayerNorm, _RMSNorm)


def sizes_of(layer: nn.Module) -> dict[str, Any] | None:
    """The channel counts of a layer as `set_sizes` takes them, None for a layer of a kind that has none."""
    if isinstance(layer, _ConvNd):
        return {"in": layer.in_channels, "out": layer.out_channels, "groups": layer.groups}
    if isinstance(layer, nn.Linear):
        return {"in": layer.in_features, "out": layer.out_features}
    if isinstance(layer, _SHAPES):
        shape: Any = layer.normalized_shape
        return {"shape": list(shape)}
    for kind, attribute in _COUNTS:
        if isinstance(layer, kind):
            return {"out": getattr(layer, attribute)}
    return None


def set_sizes(layer: nn.Module, sizes: Mapping[str, Any]) -> None:
    """Let a layer say that it has these channel counts; its tensors stay as they are. Raises ValueError, KeyError."""
    if isinstance(layer, _ConvNd):
        layer.in_channels, layer.out_channels, layer.groups = sizes["in"], sizes["out"], sizes["groups"]
    elif isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = sizes["in"], sizes["out"]
    elif isinstance(layer, _SHAPES):
        vars(layer)["normalized_shape"] = tuple(sizes["shape"])
    else:
        attribute = next((name for kind, name in _COUNTS if isinstance(layer, kind)), None)
        if attribute is None:
            raise ValueError(f"a {type(layer).__name__} has no channels to change")
        setattr(layer, attribute, sizes["out"])


def resize(layer: nn.Module, sizes: Mapping[str, Any]) -> None:
    """Give a layer other channel counts, and tensors of their shapes, whose values are undefined."""
    set_sizes(layer, sizes)
    for name, value in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if name != "num_batches_tracked":
            replace(layer, name, value.detach().new_zeros(_shape(layer, name, value)))


def _shape(layer: nn.Module, name: str, value: Tensor) -> list[int]:
    """The shape of a tensor of a layer that has its channel counts already."""
    if isinstance(layer, _ConvNd):
        near, far = layer.out_channels, layer.in_channels // layer.groups
        if isinstance(layer, _ConvTransposeNd):
            near, far = layer.in_channels, layer.out_channels // layer.groups
        return [near, far, *layer.kernel_size] if name == "weight" else [layer.out_channels]
    if isinstance(layer, nn.Linear):
        return [layer.out_features, layer.in_features] if name == "weight" else [layer.out_features]
    if isinstance(layer, nn.Embedding):
        return [layer.num_embeddings, layer.embedding_dim]
    sizes = sizes_of(layer)
    assert sizes is not None
    return list(sizes["shape"]) if "shape" in sizes else [sizes["out"]]


def replace(owner: nn.Module, name: str, value: Tensor) -> None:
    """Put another tensor in the place of a parameter or buffer, as what that is."""
    before = getattr(owner, name)
    if isinstance(before, nn.Parameter) and not isinstance(value, nn.Parameter):
        value = nn.Parameter(value, requires_grad=before.requires_grad)
    setattr(owner, name, value)


def owner_of(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that a parameter or buffer belongs to, and its name there."""
    owner, _, name = path.rpartition(".")
    return model.get_submodule(owner), name


def shared_names(model: nn.Module) -> list[list[str]]:
    """The paths of each parameter and buffer: several where layers share one."""
    found: dict[int, list[str]] = {}
    for names in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, value in names:
            found.setdefault(id(value), []).append(name)
    return list(found.values())


@torch.no_grad()
def share_again(model: nn.Module, groups: Iterable[list[str]]) -> None:
    """Let the layers that shared a tensor share one again, after each was given its own of the same shape."""
    for first, *others in groups:
        owner, name = owner_of(model, first)
        value = getattr(owner, name)
        for path in others:
            theirs, its_name = owner_of(model, path)
            if getattr(theirs, its_name).shape == value.shape:
                setattr(theirs, its_name, value)
