"""Which channels go: those with the smallest L1 norms, relative to those that stand in the same layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from dlas_mlir.compression.channels.trace import Channels, output_dim
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.models.sizes import owner_of


@dataclass(frozen=True)
class Unit:
    """The channels that the same layers compute, which are ranked together.

    `classes` are those that can go, `width` is how many indices of a layer one stands for, `layers` are the layers'
    names, `scores` the importance of each class.
    """

    layers: tuple[str, ...]
    classes: np.ndarray
    width: int
    scores: np.ndarray


def producers(model: nn.Module) -> dict[str, str]:
    """The weights of the layers whose output channels can be removed, with the layers' names."""
    found = {f"{name}.weight": name for name in weight_layers(model)}
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Embedding)
    found |= {f"{name}.weight": name for name, module in model.named_modules() if isinstance(module, kinds)}
    return found


def units_of(model: nn.Module, channels: Channels) -> list[Unit]:
    """The units of a model, in the order in which it defines their first layers, with the scores of their channels."""
    makers: dict[int, list[str]] = {}
    widths: dict[str, dict[int, int]] = {}
    for weight, layer in producers(model).items():
        classes = channels.classes.get((weight, output_dim(model, weight)))
        if classes is None:  # another layer's weight too
            continue
        found, counts = np.unique(classes, return_counts=True)
        widths[layer] = dict(zip(found.tolist(), counts.tolist(), strict=True))
        for each in found.tolist():
            makers.setdefault(each, []).append(layer)
    units: dict[tuple[str, ...], list[int]] = {}
    for each, layers in makers.items():
        if each not in channels.stay:
            units.setdefault(tuple(layers), []).append(each)
    members = _members(model, channels)
    return [
        Unit(
            layers,
            np.sort(np.array(classes)),
            min(widths[layer][classes[0]] for layer in layers),
            _scores(np.sort(np.array(classes)), members),
        )
        for layers, classes in units.items()
    ]


def _members(model: nn.Module, channels: Channels) -> list[tuple[np.ndarray, np.ndarray]]:
    """What counts for the importance of a channel: classes along one dimension of a weight, and its L1 norms.

    Biases do not count, nor the filters of depthwise convolutions.
    """
    counted = []
    for (name, place), classes in channels.classes.items():
        owner, attribute = owner_of(model, name)
        value = getattr(owner, attribute)
        if attribute != "weight" or not isinstance(value, nn.Parameter) or isinstance(owner, nn.PReLU):
            continue
        if isinstance(owner, nn.modules.conv._ConvNd) and (place > 1 or _is_depthwise(owner)):
            continue
        others = [other for other in range(value.dim()) if other != place]
        norms = _l1(value, others)
        counted.append((classes, norms))
    return counted


def _is_depthwise(layer: nn.Module) -> bool:
    return 1 < getattr(layer, "groups", 1) == getattr(layer, "in_channels", 0)


def _l1(value: Tensor, others: list[int]) -> np.ndarray:
    magnitudes = value.detach().abs()
    return (magnitudes.sum(others) if others else magnitudes).double().numpy()


def _scores(classes: np.ndarray, members: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The mean norm of each class over what counts, relative to the mean of all of them."""
    total, count = np.zeros(len(classes)), 0
    for labels, norms in members:
        inside = np.isin(labels, classes)
        if inside.any():
            np.add.at(total, np.searchsorted(classes, labels[inside]), norms[inside])
            count += 1
    mean = total.mean()
    return total / mean if count and mean > 0 else np.ones(len(classes))


def choose(
    units: list[Unit], ratio: float, max_ratio: float, round_to: int, initial: Mapping[tuple[str, ...], int]
) -> dict[tuple[str, ...], np.ndarray]:
    """The classes that go from each unit, so that `ratio` of all that there were at first are gone.

    What is left of a layer is a multiple of `round_to` channels, and at least 1 - `max_ratio` of what it had.
    """
    scores = np.concatenate([unit.scores for unit in units]) if units else np.zeros(0)
    wanted = len(scores) - int(sum(initial[unit.layers] for unit in units) * (1 - ratio))
    if wanted <= 0:
        return {}
    threshold = np.sort(scores)[wanted - 1]
    gone = {}
    for unit in units:
        step = round_to // math.gcd(round_to, unit.width)
        least = math.ceil(initial[unit.layers] * (1 - max_ratio) / step - 1e-9) * step
        left = int((unit.scores > threshold).sum())
        if left == len(unit.classes):
            continue
        left = min(max(left - left % step, least, 1), len(unit.classes))
        order = np.argsort(unit.scores, kind="stable")
        if left < len(unit.classes):
            gone[unit.layers] = unit.classes[order[: len(unit.classes) - left]]
    return gone
