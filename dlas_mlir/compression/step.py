"""What the steps of a recipe have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dlas_mlir.errors import DlasError

# Trains a model in place for a number of epochs; 0 in learning rate means the trainer's own.
Tune = Callable[[nn.Module, int, float], None]
# Gives so many inputs to calibrate a quantization with, float32 [count, channels, height, width].
Calibration = Callable[[int], np.ndarray]


class StepError(DlasError):
    """A step of a recipe that does not fit the model."""


@dataclass
class Context:
    """What steps are given beside the model.

    `tune` and `calibration` are None where there is no data. `report` tells the user what outlasts the progress.
    `architecture` is what `models.architecture` applies
    before the checkpoint is loaded: steps that change shapes or types note them there. `left` is for the record: what
    a step had to leave as it was (`step`, `layer`, `reason`).
    """

    example_inputs: tuple[Tensor, ...]
    tune: Tune | None = None
    progress: Callable[[str], None] = lambda text: None
    calibration: Calibration | None = None
    report: Callable[[str], None] = lambda text: None
    architecture: dict[str, Any] = field(default_factory=dict)
    left: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """Base of all steps: the fields are the keys of `[[step]]` in a recipe, `kind` says which step it is.

    Values that make no sense raise DlasError, starting with the key, when the step is made.
    """

    kind: ClassVar[str] = ""

    @property
    def epochs_needed(self) -> int:
        """How many epochs of fine-tuning the step asks for."""
        return 0

    @property
    def images_needed(self) -> int:
        """How many calibration images of a dataset the step asks for."""
        return 0

    def apply(self, model: nn.Module, context: Context) -> None:
        """Change `model` in place, in eval mode before and after. Raises DlasError, naming key or layer."""
        raise NotImplementedError


def tune(model: nn.Module, context: Context, epochs: int, learning_rate: float = 0.0) -> None:
    """Fine-tune; weights that are zero stay zero. Raises DlasError when there is nothing to tune on."""
    if epochs == 0:
        return
    if context.tune is None:
        raise DlasError("epochs: there is no data to fine-tune on; name a dataset, or set epochs to 0")
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1 and bool((parameter == 0).any())]
    masks = [weight != 0 for weight in weights]
    hooks = [weight.register_hook(_masking(mask)) for weight, mask in zip(weights, masks, strict=True)]
    try:
        context.tune(model, epochs, learning_rate)
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            # Whatever the optimiser did without a gradient.
            for weight, mask in zip(weights, masks, strict=True):
                weight.mul_(mask)
        model.eval()


def _masking(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * mask


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raises DlasError when a value is outside low..high."""
    if not low <= value <= high:
        raise DlasError(f"{key}: expected a number from {low:g} to {high:g}, found {value:g}")


def check_choice(key: str, values: str | Sequence[str], choices: Sequence[str]) -> None:
    """Raises DlasError when one of the values is no choice."""
    for value in [values] if isinstance(values, str) else values:
        if value not in choices:
            raise DlasError(f"{key}: expected {' or '.join(choices)}, found `{value}`")
