"""The layers that compression works on, and how recipes name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from dlas_mlir.errors import DlasError

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
# What `skip` may name.
SKIPS = ("first", "last", "depthwise", "linear")


def weight_layers(model: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers by their names, in the order in which the model defines them."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _KINDS)}


def groups_of(layer: Layer) -> int:
    """The groups of a convolution; 1 for a linear layer."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def matching(pattern: str, names: Iterable[str], key: str) -> list[str]:
    """The names that a shell pattern such as `layer1.*` matches, those inside a named container included.

    Raises DlasError, naming the recipe's `key`, when there is none.
    """
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
    if not found:
        some = ", ".join(names[:4])
        raise DlasError(f"{key}: the pattern `{pattern}` matches no layer; layers are {some}, ...")
    return found


def selected(model: nn.Module, skip: Sequence[str], exclude: Sequence[str]) -> dict[str, Layer]:
    """The layers to compress: all but those that `skip` (see SKIPS) and the patterns of `exclude` leave out.

    Raises DlasError when a pattern matches nothing, and when nothing is left.
    """
    layers = weight_layers(model)
    names = list(layers)
    out = {name for pattern in exclude for name in matching(pattern, names, "exclude")}
    for what in skip:
        if what in ("first", "last"):
            out.update(names[:1] if what == "first" else names[-1:])
        else:
            out.update(name for name, layer in layers.items() if _is(what, layer))
    left = {name: layer for name, layer in layers.items() if name not in out}
    if not left:
        raise DlasError("skip and exclude leave no layer to compress" if layers else "the model has no layers")
    return left


def _is(what: str, layer: Layer) -> bool:
    if what == "linear":
        return isinstance(layer, nn.Linear)
    return not isinstance(layer, nn.Linear) and 1 < layer.groups == layer.in_channels
