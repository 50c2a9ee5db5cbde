"""Channel pruning: whole channels go, by L1 norm over the whole model, and the shapes shrink."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from dlas_mlir.errors import DlasError
from dlas_mlir.models.architecture import sizes_of

from .layers import matching, weight_layers
from .step import Context, Step, check_range, tune


@dataclass(frozen=True)
class ChannelPrune(Step):
    """Remove the channels with the smallest L1 norms, relative to their layer's mean, with all that depends on them.

    `ratio` is the share of channels to remove from the whole model, `max_ratio` the most from one layer (a global
    ranking would empty some). What is left of a layer is a multiple of `round_to` channels. The outputs of the last
    layer stay, and those of the layers that patterns of `exclude` match. With `iterations` above 1 the channels go
    in equal parts, with `epochs` of fine-tuning after each.
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
        kept = {name for pattern in self.exclude for name in matching(pattern, layers, "exclude")}
        kept.add(list(layers)[-1])
        pruner = self._pruner(model, context, [layers[name] for name in layers if name in kept])
        before = {name: sizes_of(module) for name, module in model.named_modules()}
        for iteration in range(1, self.iterations + 1):
            for group in pruner.step(interactive=True) or ():
                self._limit(pruner, group).prune()
            context.progress(f"channel-prune: iteration {iteration} of {self.iterations}")
            tune(model, context, self.epochs, self.learning_rate)
        stored = context.architecture.setdefault("channels", {})
        for name, module in model.named_modules():
            sizes = sizes_of(module)
            if sizes is not None and sizes != before[name]:
                stored[name] = sizes
        _check_runs(model, context)

    def _limit(self, pruner: Any, group: Any) -> Any:
        """The group with no more channels than `max_ratio` lets go: what torch-pruning takes at once has no limit."""
        root, channels = group[0].dep.target.module, group[0].idxs
        left = pruner.DG.get_out_channels(root)
        share = pruner.layer_init_out_ch[root] * (1 - self.max_ratio)
        least = math.ceil(share / self.round_to - 1e-9) * self.round_to
        excess = len(channels) - max(left - least, 0)
        if excess <= 0:
            return group
        # Each group of a grouped convolution loses the same ones.
        groups = pruner._get_channel_groups(group)
        whole = pruner.DG.get_pruning_group(root, group[0].dep.handler, list(range(left)))
        importance = pruner.estimate_importance(whole)[channels].view(groups, -1).mean(0)
        going = importance.argsort()[: importance.numel() - math.ceil(excess / groups)]
        chosen = torch.tensor(channels).view(groups, -1)[:, going].flatten().tolist()
        return pruner.DG.get_pruning_group(root, group[0].dep.handler, chosen)

    def _pruner(self, model: nn.Module, context: Context, kept: list[nn.Module]) -> Any:
        import torch_pruning

        example_inputs: Any = context.example_inputs  # declared as one tensor
        said = io.StringIO()  # it prints its warnings
        try:
            # The dependency graph is traced through autograd.
            with torch.enable_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(said):
                warnings.simplefilter("ignore")
                return torch_pruning.pruner.BasePruner(
                    model,
                    example_inputs,
                    importance=torch_pruning.importance.MagnitudeImportance(p=1),
                    global_pruning=True,
                    pruning_ratio=self.ratio,
                    max_pruning_ratio=self.max_ratio,
                    iterative_steps=self.iterations,
                    ignored_layers=kept,
                    round_to=self.round_to,
                )
        except Exception as error:  # whatever the tracer raises for a model that it does not understand
            raise DlasError(f"torch-pruning cannot find which channels depend on which: {error}") from None


def _check_runs(model: nn.Module, context: Context) -> None:
    try:
        with torch.no_grad():
            model(*context.example_inputs)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DlasError(
            f"the model does not run with fewer channels ({reason}); exclude the layers concerned"
        ) from None
