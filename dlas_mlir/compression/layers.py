"""The layers that compression works on, and how recipes name them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dlas_mlir.errors import DlasError
from dlas_mlir.ir import layer_names

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def weight_layers(model: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers by their names, in the order in which the model defines them."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _KINDS)}


def groups_of(layer: Layer) -> int:
    """The groups of a convolution; 1 for a linear layer."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def selected(model: nn.Module, skip: Sequence[str], exclude: Sequence[str]) -> dict[str, Layer]:
    """The layers to compress: all but those that `skip` and the patterns of `exclude` leave out (see layer_names).

    Raises DlasError when a pattern matches nothing, and when nothing is left.
    """
    layers = weight_layers(model)
    kept = layer_names.selected(list(layers), skip, exclude, lambda what, name: _is(what, layers[name]))
    left = {name: layers[name] for name in kept}
    if not left:
        raise DlasError("skip and exclude leave no layer to compress" if layers else "the model has no layers")
    return left


def _is(what: str, layer: Layer) -> bool:
    if what == "linear":
        return isinstance(layer, nn.Linear)
    return not isinstance(layer, nn.Linear) and 1 < layer.groups == layer.in_channels
