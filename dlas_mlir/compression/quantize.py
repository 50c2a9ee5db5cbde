"""8-bit integers: static quantization with per-channel weights, its activations calibrated on images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from dlas_mlir.compiler.frontend.int8 import OBSERVERS, Prepared, parameters, prepare
from dlas_mlir.compression.layers import weight_layers
from dlas_mlir.compression.step import Context, Step, check_choice, check_range
from dlas_mlir.errors import DlasError
from dlas_mlir.ir.layer_names import matching
from dlas_mlir.models import architecture
from dlas_mlir.models.results import differ, results_of

_SOURCES = ("dataset", "random")
# Of the largest: how far folding batch norms may move a result.
_FOLDED = 1e-3


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
        _check_weights(model)
        batches = self._batches(context)
        prepared = prepare(model, batches[0], "the model", observer=self.observer, keep=[*kept])
        _calibrate(prepared, batches, context, results_of(model, batches[0]))
        floats = {layer for layer, _, _ in prepared.left} & set(layers)
        if floats == set(layers):
            raise DlasError("keep leaves no layer to quantize" if kept else "the model has no layer to quantize")
        for layer, operation, reason in prepared.left:
            if reason != "the recipe keeps it":
                context.report(f"{layer} ({operation}) stays in float: {reason}")
                context.left.append({"step": self.kind, "layer": layer, "reason": f"{operation}: {reason}"})
        context.architecture["int8"] = {
            "keep": [name for name in layers if name in floats],
            "activations": {name: list(values) for name, values in parameters(prepared).items()},
        }
        architecture.to_int8(model, context.architecture["int8"])
        context.progress(f"int8: {len(layers) - len(floats)} layers in 8 bits, {len(floats)} in float32")

    def _batches(self, context: Context) -> list[tuple[Tensor, ...]]:
        """Calibration inputs, each of them as the model is called."""
        examples = context.example_inputs
        if self.calibration == "random":
            generator = torch.Generator().manual_seed(self.seed)
            return [tuple(_random(example, generator) for example in examples) for _ in range(self._calls(examples))]
        if len(examples) != 1 or examples[0].dim() != 4:
            shapes = ", ".join("x".join(map(str, example.shape)) for example in examples)
            raise DlasError(f'calibration: a dataset has images, and the model takes {shapes}; set it to "random"')
        size = examples[0].shape[0]
        images = self._images(context, examples[0].shape[1:], self._calls(examples) * size)
        batches = [(batch,) for batch in images.split(size) if len(batch) == size]
        if not batches:
            raise DlasError(f"calibration: {len(images)} images are fewer than the {size} that the model takes at once")
        return batches

    def _calls(self, examples: tuple[Tensor, ...]) -> int:
        """How many batches have `count` images."""
        size = examples[0].shape[0] if examples[0].dim() == 4 else 1
        return math.ceil(self.count / size)

    def _images(self, context: Context, shape: torch.Size, count: int) -> Tensor:
        """Images of a dataset, float32 [count, channels, height, width]."""
        if context.calibration is None:
            raise DlasError('calibration: there is no dataset; name one, or set calibration to "random"')
        images = context.calibration(count)
        if images.shape[1:] != shape:
            takes, gives = ("x".join(map(str, each)) for each in (shape, images.shape[1:]))
            raise DlasError(f"calibration: the model takes images of {takes}; those of the dataset are {gives}")
        wrong = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))
        if len(wrong):
            raise DlasError(f"calibration: image {wrong[0]} has values that are no finite numbers")
        return torch.from_numpy(images)


def _check_weights(model: nn.Module) -> None:
    statistics = [each for each in model.named_buffers() if each[0].endswith(("running_mean", "running_var"))]
    for name, value in (*model.named_parameters(), *statistics):
        if not bool(value.isfinite().all()):
            raise DlasError(f"{name}: values are no finite numbers")


def _random(example: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers in the place of an input of floats; indices and masks stay, which not all numbers are."""
    if not example.is_floating_point():
        return example
    return torch.randn(example.shape, generator=generator).to(example.dtype)


@torch.no_grad()
def _calibrate(prepared: Prepared, batches: list[tuple[Tensor, ...]], context: Context, expected: list[Tensor]) -> None:
    """Run the calibration inputs past the observers. Raises DlasError where an activation is no finite number.

    `expected` are the model's results for the first: what was traced, with its batch norms folded, must give the same.
    """
    with prepared.calibrating(_check_finite) as module:
        for number, batch in enumerate(batches, 1):
            found = [value for value in pytree.tree_leaves(module(*batch)) if isinstance(value, Tensor)]
            if number == 1 and any(map(_other, found, expected)):
                raise DlasError("the traced model, with its batch norms folded, gives other results than the model")
            if number % 10 == 0:
                context.progress(f"int8: calibrate, {number} of {len(batches)} calls")


def _other(found: Tensor, expected: Tensor) -> bool:
    return differ(found, expected, _FOLDED)


def _check_finite(layer: str, value: Tensor) -> None:
    if not bool(value.isfinite().all()):
        raise DlasError(f"calibration: {layer} gives values that are no finite numbers")
