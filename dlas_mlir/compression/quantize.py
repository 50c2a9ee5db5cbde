"""8-bit integers: static quantization with per-channel weights, its activations calibrated on images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dlas_mlir.compiler.int8 import OBSERVERS, Prepared, parameters, prepare
from dlas_mlir.errors import DlasError
from dlas_mlir.models import architecture

from .layers import matching, weight_layers
from .step import Context, Step, check_choice, check_range

_SOURCES = ("dataset", "random")


@dataclass(frozen=True)
class Quantize(Step):
    """Weights and activations in 8-bit integers; layers that patterns of `keep` match stay in float32.

    The ranges of activations are those that `observer` sees for `count` images, of a dataset or, to measure speed
    alone, random ones from `seed`. The weights in the checkpoint stay as they are: the integers are made of them
    where the model is built. It is the last step of a recipe.
    """

    kind: ClassVar[str] = "int8"

    keep: tuple[str, ...] = ()
    calibration: str = "dataset"
    count: int = 100
    seed: int = 0
    observer: str = "histogram"

    def __post_init__(self) -> None:
        check_choice("calibration", self.calibration, _SOURCES)
        check_choice("observer", self.observer, OBSERVERS)
        check_range("count", self.count, 1, 100_000)
        check_range("seed", self.seed, 0, 2**63 - 1)

    @property
    def images_needed(self) -> int:
        """How many calibration images of a dataset the step asks for."""
        return self.count if self.calibration == "dataset" else 0

    def apply(self, model: nn.Module, context: Context) -> None:
        layers = weight_layers(model)
        kept = {name for pattern in self.keep for name in matching(pattern, layers, "keep")}
        images = self._images(context)
        one = (images[:1],)
        prepared = prepare(model, one, "the model", observer=self.observer, keep=[*kept])
        _check_weights(model)
        _calibrate(prepared, images, context)
        floats = {layer for layer, _, _ in prepared.left} & set(layers)
        if floats == set(layers):
            raise DlasError("keep leaves no layer to quantize" if kept else "the model has no layer to quantize")
        for layer, operation, reason in prepared.left:
            if reason != "the recipe keeps it":
                context.report(f"{layer} ({operation}) stays in float: {reason}")
        context.architecture["int8"] = {
            "keep": [name for name in layers if name in floats],
            "activations": {name: list(values) for name, values in parameters(prepared).items()},
        }
        architecture.to_int8(model, context.architecture["int8"])
        context.progress(f"int8: {len(layers) - len(floats)} layers in 8 bits, {len(floats)} in float32")

    def _images(self, context: Context) -> Tensor:
        """Calibration inputs, float32 [count, channels, height, width]."""
        shape = context.example_inputs[0].shape[1:]
        if len(context.example_inputs) != 1:
            raise DlasError(f"the model has {len(context.example_inputs)} inputs; calibration gives it one")
        if self.calibration == "random":
            return torch.randn((self.count, *shape), generator=torch.Generator().manual_seed(self.seed))
        if context.calibration is None:
            raise DlasError('calibration: there is no dataset; name one, or set calibration to "random"')
        images = context.calibration(self.count)
        if images.shape[1:] != shape:
            takes, gives = ("x".join(map(str, each)) for each in (shape, images.shape[1:]))
            raise DlasError(f"calibration: the model takes images of {takes}; those of the dataset are {gives}")
        wrong = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))
        if len(wrong):
            raise DlasError(f"calibration: image {wrong[0]} has values that are no finite numbers")
        return torch.from_numpy(images)


def _check_weights(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise DlasError(f"{name}: values are no finite numbers")


@torch.no_grad()
def _calibrate(prepared: Prepared, images: Tensor, context: Context) -> None:
    """Run the images, one by one, past the observers. Raises DlasError where an activation is no finite number."""
    for name, observer in prepared.activations().items():
        observer.register_forward_pre_hook(partial(_check_finite, prepared.layer_of(name)))
    for index in range(len(images)):
        prepared.module(images[index : index + 1])
        if (index + 1) % 10 == 0:
            context.progress(f"int8: calibrate, {index + 1} of {len(images)} images")


def _check_finite(layer: str, observer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not bool(inputs[0].isfinite().all()):
        raise DlasError(f"calibration: {layer} gives values that are no finite numbers")
