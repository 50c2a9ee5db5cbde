"""What is measured, by names that say all of it; and what is required of it. Needs no PyTorch and no compiler."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SEED = 7
BATCHES = (1, 32)
# Types by the recipe that computes in them.
RECIPES = {"f16": "f16-auto", "f32": "auto", "int8": "int8-auto", "bf16": "bf16-auto", "tf32": "tf32-auto"}
_BYTES = {"f16": 2, "f32": 4, "int8": 1}
SPARSE_RECIPES = {"f16": "f16-sparse-direct", "f32": "sparse-direct"}
# Of sparse weights: output channels in succession that are zero together.
BLOCK = 4
MODELS = ("resnet50", "mobilenetv2", "resnet18", "efficientnetb0", "mobilenetv1")
LAYER_ELEMENTS = ("f16", "f32", "int8")
MODEL_ELEMENTS = ("f16", "f32", "int8")
ZOO_ELEMENTS = ("f32", "f16", "bf16", "int8")
# A network to try the script with.
TINY = "tiny"
# Networks that are quantized.
INT8_MODELS = ("resnet50", "resnet18", TINY)


@dataclass(frozen=True)
class Layer:
    """A convolution with bias and ReLU, on square images, padded so that stride 1 keeps their size; so many per cent of
    its blocks of weights are zero."""

    channels: int
    size: int
    filters: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    batch: int = 1
    zeros: int = 0

    @property
    def name(self) -> str:
        """All of it: `conv_64x56_64_k3_s1_g1_n32`, and `_z90` behind that of a sparse one."""
        shape = f"conv_{self.channels}x{self.size}_{self.filters}"
        zeros = f"_z{self.zeros}" if self.zeros else ""
        return f"{shape}_k{self.kernel}_s{self.stride}_g{self.groups}_n{self.batch}{zeros}"

    @staticmethod
    def of(name: str) -> Layer:
        """The layer of a name."""
        _, image, filters, *rest = name.split("_")
        channels, size = map(int, image.split("x"))
        return Layer(channels, size, int(filters), *(int(part[1:]) for part in rest))

    @property
    def macs(self) -> int:
        """Multiply-adds of a call, those with zeros too."""
        out = (self.size - 1) // self.stride + 1
        return self.batch * out**2 * self.filters * self.channels // self.groups * self.kernel**2

    def bytes(self, element: str) -> int:
        """What a call reads and writes at least: images, weights and results, each once."""
        out = (self.size - 1) // self.stride + 1
        weights = self.filters * self.channels // self.groups * self.kernel**2
        images, results = self.batch * self.channels * self.size**2, self.batch * self.filters * out**2
        return (images + weights + results) * _BYTES[element]

    @property
    def title(self) -> str:
        """What tables call it, without the batch."""
        kind = " depthwise" if self.groups > 1 else ""
        stride = f" s{self.stride}" if self.stride > 1 else ""
        zeros = f", {self.zeros} % zeros" if self.zeros else ""
        return f"{self.kernel}x{self.kernel}{kind}{stride} {self.channels}-{self.filters}@{self.size}{zeros}"

    @property
    def dense(self) -> Layer:
        """The same without zeros."""
        return replace(self, zeros=0)

    @property
    def recipes(self) -> dict[str, str]:
        """The recipes that compute it, by types."""
        return SPARSE_RECIPES if self.zeros else {element: RECIPES[element] for element in LAYER_ELEMENTS}


LAYERS = (
    Layer(64, 56, 64),
    Layer(128, 28, 128),
    Layer(256, 14, 256),
    Layer(512, 7, 512),
    Layer(128, 56, 128, stride=2),
    Layer(256, 56, 64, kernel=1),
    Layer(64, 56, 256, kernel=1),
    Layer(1024, 14, 256, kernel=1),
    Layer(512, 7, 2048, kernel=1),
    Layer(144, 56, 144, groups=144),
    Layer(384, 14, 384, groups=384),
    Layer(960, 7, 960, groups=960),
)


# The 3x3 ones, sparse: with strides a copy would stand before the kernel, which is timed alone.
SPARSE_LAYERS = tuple(replace(layer, zeros=90) for layer in LAYERS[:4])


def layers(batches: Sequence[int] = BATCHES) -> Iterator[Layer]:
    """Those of the nets, at each batch, and sparse ones."""
    for several in (LAYERS, SPARSE_LAYERS):
        for batch in batches:
            for layer in several:
                yield replace(layer, batch=batch)


def products(batches: Sequence[int] = BATCHES) -> Iterator[Layer]:
    """The layers that instructions for matrices do."""
    yield from (layer for layer in layers(batches) if layer.groups == 1 and not layer.zeros)


def noise(shape: tuple[int, ...], *seeds: int) -> np.ndarray:
    """Numbers of a normal distribution, the same everywhere."""
    return np.random.default_rng([SEED, *seeds]).standard_normal(shape, dtype=np.float32)


def grid_input(shape: tuple[int, ...], number: int) -> np.ndarray:
    """The input of a convolution of the grid, by its number in its module."""
    return noise(shape, 3, number)


def argument(shape: tuple[int, ...], dtype: str, number: int) -> np.ndarray:
    """An argument of a kernel alone; the first is a batch, each image of which has a seed of its own."""
    if number:
        return _as(noise(shape, number), dtype)
    return np.stack([_as(noise(shape[1:], number, image), dtype) for image in range(shape[0])])


def _as(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "int8":
        return np.clip(np.round(values * 32), -127, 127).astype(np.int8)
    if dtype == "uint8":
        return np.clip(np.round(values * 32) + 128, 0, 255).astype(np.uint8)
    if dtype == "bfloat16":
        import ml_dtypes

        return values.astype(ml_dtypes.bfloat16)
    return values.astype(dtype)


# By how much a layer in float32 may be off over the largest value: what `exact` means.
EXACT = 1e-5
# What rounding may do, by part.
_GRID = {"f32": EXACT, "f16": 2e-3, "bf16": 1.6e-2, "tf32": 4e-3}
_LAYERS = {
    "f32": EXACT,
    # Sums in float32 that are not quite the same are rounded to neighbours.
    "f16": 1e-3,
    # Codes are a CPU's.
    "int8": 0.0,
}
_MODELS = {
    "f32": 1e-4,
    "f16": 2e-2,
    # PyTorch sums codes up in float32: where its result is next to the middle between two codes it may take the other
    # one, and the layers behind it begin with that. That codes are a CPU's is compared layer by layer (the part layers,
    # and test_gpu_int8.py for whole networks).
    "int8": 2e-2,
}
_ZOO = {**_MODELS, "bf16": 5e-2}
TOLERANCES = {"grid": _GRID, "layers": _LAYERS, "sparse": _LAYERS, "models": _MODELS, "apart": _MODELS, "zoo": _ZOO}

# The best that an H100 or H200 must be, as a share of what it is beside: in `us` or `ms` of the same kind of time.
_LAYERS_REQUIRED: tuple[dict[str, Any], ...] = (
    {"part": "layers", "element": "f16", "of": "cudnn", "geomean": 1.0, "worst": 1.2},
    {"part": "layers", "element": "f32", "of": "cudnn", "geomean": 0.667},
    {"part": "layers", "element": "int8", "of": "ours f16", "geomean": 1.0},
    {"part": "sparse", "element": "f16", "of": "ours dense f16", "geomean": 1.0},
    {"part": "sparse", "element": "f32", "of": "ours dense f32", "geomean": 1.0},
)
_MODELS_REQUIRED: tuple[dict[str, Any], ...] = (
    {"part": "models", "element": "f16", "batch": 1, "of": "inductor", "each": 0.8},
    {"part": "models", "element": "f16", "batch": 32, "of": "best", "each": 1.0},
    {"part": "models", "element": "f32", "of": "best", "each": 0.7},
    {"part": "models", "element": "int8", "of": "ours f16", "each": 1.0},
)
# Means of layers at each batch: what is won at one is not to hide what is lost at the other.
REQUIRED = (*({**need, "batch": batch} for need in _LAYERS_REQUIRED for batch in BATCHES), *_MODELS_REQUIRED)


def read_json(path: Path) -> Any:
    """A file of JSON."""
    return json.loads(path.read_text())
