"""Channel pruning: whole channels go, by L1 norm over the whole model, and the shapes shrink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from dlas_mlir.compression.channels.rank import Unit, choose, producers, units_of
from dlas_mlir.compression.channels.removal import remove, why_wrong
from dlas_mlir.compression.channels.trace import Channels, output_dim, trace
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.step import Context, Step, check_range, tune
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.layer_names import matching
from dlas_mlir.models.sizes import owner_of, sizes_of

# The classes that go from each unit, by the unit's layers.
_Gone = Mapping[tuple[str, ...], np.ndarray]

_EXCLUDED = "the recipe excludes it"


@dataclass(frozen=True)
class ChannelPrune(Step):
    """Remove the channels with the smallest L1 norms, relative to their layer's mean, with all that depends on them.

    `ratio` is the share of channels to remove from the whole model, `max_ratio` the most from one layer (a global
    ranking would empty some). What is left of a layer is a multiple of `round_to` channels. The channels that the
    model gives as a result stay, those of the layers that patterns of `exclude` match, and those whose way through
    the model cannot be followed; the last are reported. With `iterations` above 1 the channels go in equal parts,
    with `epochs` of fine-tuning after each.
    """

    kind: ClassVar[str] = "channel-prune"

    ratio: float
    max_ratio: float = 0.9
    round_to: int = 16
    exclude: tuple[str, ...] = ()
    iterations: int = 1
    epochs: int = 0
    learning_rate: float = 0.0

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 0.99)
        check_range("max_ratio", self.max_ratio, self.ratio, 0.99)
        check_range("round_to", self.round_to, 1, 1024)
        check_range("iterations", self.iterations, 1, 1000)
        check_range("epochs", self.epochs, 0, 10_000)
        check_range("learning_rate", self.learning_rate, 0, 100)

    @property
    def epochs_needed(self) -> int:
        return self.epochs * self.iterations

    def apply(self, model: nn.Module, context: Context) -> None:
        layers = weight_layers(model)
        for name, layer in layers.items():
            if not layer.weight.isfinite().all():
                raise DlasError(f"{name}: its weights are not all finite numbers; nothing can be ranked")
        names = dict.fromkeys([*producers(model).values(), *layers])
        kept = {name for pattern in self.exclude for name in matching(pattern, names, "exclude")}
        before = _shapes(model)
        pruning = _Pruning(self, model, context, kept)
        for iteration in range(1, self.iterations + 1):
            pruning.step(self.ratio * iteration / self.iterations)
            context.progress(f"channel-prune: iteration {iteration} of {self.iterations}")
            tune(model, context, self.epochs, self.learning_rate)
        _store(model, before, context)
        pruning.report()


class _Pruning:
    """One step of a recipe at work on a model."""

    def __init__(self, settings: ChannelPrune, model: nn.Module, context: Context, kept: set[str]) -> None:
        self.settings, self.model, self.context = settings, model, context
        self.kept = {weight: _EXCLUDED for weight, name in producers(model).items() if name in kept}
        # How many channels each unit had, and why some lose none.
        self.initial: dict[tuple[str, ...], int] = {}
        self.refused: dict[tuple[str, ...], str] = {}
        self.stay: dict[str, str] = {}

    def step(self, ratio: float) -> None:
        """Remove channels until `ratio` of them all are gone."""
        channels = trace(self.model, self.context.example_inputs, self.kept)
        units = units_of(self.model, channels)
        for unit in units:
            self.initial.setdefault(unit.layers, len(unit.classes))
            if self.initial[unit.layers] == 1 < unit.width:
                self.refused[unit.layers] = "all its channels depend on one another"
        if not self.stay:
            self.stay = _reasons(self.model, channels)
        gone = self._chosen(units, ratio)
        while gone and (wrong := self._wrong(channels, gone, {})):
            self.refused |= wrong
            gone = self._chosen(units, ratio)
        if gone:
            remove(self.model, channels, _classes(gone))
        elif not self._open(units):
            reasons = "; ".join(_lines(self._left())) or "the model has none that is over channels"
            raise DlasError(f"no layer has channels that can be removed: {reasons}")

    def _open(self, units: list[Unit]) -> list[Unit]:
        return [unit for unit in units if unit.layers not in self.refused]

    def _chosen(self, units: list[Unit], ratio: float) -> _Gone:
        step = self.settings
        return choose(self._open(units), ratio, step.max_ratio, step.round_to, self.initial)

    def _wrong(self, channels: Channels, gone: _Gone, before: _Gone) -> dict[tuple[str, ...], str]:
        """The units of `gone` that cannot go, after those of `before`, with the reasons."""
        inputs = self.context.example_inputs
        reason = why_wrong(self.model, inputs, channels, _classes({**before, **gone}))
        if reason is None:
            return {}
        if len(gone) == 1:
            return dict.fromkeys(gone, reason)
        names = list(gone)
        first, second = ({name: gone[name] for name in part} for part in _halves(names))
        wrong = self._wrong(channels, first, before)
        right = {name: classes for name, classes in first.items() if name not in wrong}
        return wrong | self._wrong(channels, second, {**before, **right})

    def _left(self) -> dict[str, str]:
        """The layers that lose no channels though no recipe says so, with the reasons."""
        refused = {layer: reason for layers, reason in self.refused.items() for layer in layers}
        return {layer: why for layer, why in {**self.stay, **refused}.items() if why != _EXCLUDED}

    def report(self) -> None:
        """Tell the user, and the record, which layers keep their channels, and why."""
        left = self._left()
        for layer, reason in left.items():
            self.context.left.append({"step": self.settings.kind, "layer": layer, "reason": reason})
        if left:
            self.context.report("\n".join(f"all channels stay of {line}" for line in _lines(left)))


def _halves(names: list[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    middle = len(names) // 2
    return names[:middle], names[middle:]


def _classes(gone: _Gone) -> np.ndarray:
    return np.concatenate([np.zeros(0, int), *gone.values()])


def _reasons(model: nn.Module, channels: Channels) -> dict[str, str]:
    """Why layers keep all their channels, by their names."""
    found = {}
    for weight, layer in producers(model).items():
        classes = channels.classes.get((weight, output_dim(model, weight)))
        if classes is None:
            continue
        reasons = [channels.stay.get(each) for each in classes.tolist()]
        if all(reasons):
            found[layer] = str(reasons[0])
    return found


def _lines(left: Mapping[str, str]) -> list[str]:
    """One line for each reason."""
    layers: dict[str, list[str]] = {}
    for layer, reason in left.items():
        layers.setdefault(reason, []).append(layer)
    return [f"{', '.join(names)}: {reason}" for reason, names in layers.items()]


def _shapes(model: nn.Module) -> dict[str, object]:
    """The channel counts of layers and the shapes of parameters and buffers, by name."""
    found: dict[str, object] = {name: sizes_of(module) for name, module in model.named_modules()}
    return found | {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _store(model: nn.Module, before: Mapping[str, object], context: Context) -> None:
    """Note what a checkpoint must say: the sizes of layers, and the shapes of tensors that belong to none of these."""
    for name, module in model.named_modules():
        sizes = sizes_of(module)
        if sizes is not None and sizes != before[name]:
            context.architecture.setdefault("channels", {})[name] = sizes
    for name, value in model.state_dict().items():
        owner, _ = owner_of(model, name)
        if tuple(value.shape) != before[name] and sizes_of(owner) is None:
            context.architecture.setdefault("tensors", {})[name] = list(value.shape)
