"""Weights that an artifact has not in itself: what they are made from where it is run, or carried as they are.

Passes transpose, pad and round a model's weights. How is found by comparing: `recipe` is given what an artifact wants
and the model's weights, and says how to make the one of the others. NumPy alone is needed to do so.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.gpu.cases import noise

# NumPy's names of the types that weights have in artifacts.
_DTYPES = {"f16": "float16", "f32": "float32", "i8": "int8", "bf16": "bfloat16"}


def seeded(layers: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The weights and biases of a model, by the names of its `layers` (`name`, `shape`, `scale`, `bias`)."""
    found: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers):
        found[f"{layer['name']}.weight"] = noise(tuple(layer["shape"]), 1, number) * np.float32(layer["scale"])
        if layer["bias"]:
            found[f"{layer['name']}.bias"] = noise((layer["shape"][0],), 2, number) * np.float32(0.125)
    return found


def recipe(wanted: bytes, shape: tuple[int, ...], dtype: str, model: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """How `wanted`, an array of this shape and type, is made of a weight of the `model`; None if that is not found."""
    if dtype not in _DTYPES:
        return None
    for name, array in model.items():
        for order in _orders(array, shape):
            how = {"of": name, "order": list(order), "shape": list(shape), "dtype": dtype}
            if made(how, model).tobytes() == wanted:
                return how | {"digest": hashlib.sha256(wanted).hexdigest()[:16]}
    return None


def made(how: Mapping[str, Any], model: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array that a recipe says: axes in another order, those of one entry left out or put in, zeros behind; as
    codes, where it is one of bytes."""
    array = model[how["of"]]
    array = (codes(array) if how["dtype"] == "i8" else array).transpose(how["order"])
    shape = tuple(how["shape"])
    array = array.reshape(_aligned(array.shape, shape))
    padded = np.zeros(shape, np.float32)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded.astype(_dtype(how["dtype"]))


def codes(weight: np.ndarray) -> np.ndarray:
    """Weights as whole numbers of -127 to 127, with a scale for each output channel, the first axis."""
    one, least = np.float32(1), np.finfo(np.float32).eps
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    scale = np.maximum(largest / np.float32(127), least)
    return np.clip(np.rint(weight * (one / scale)), -127, 127)


def is_right(how: Mapping[str, Any], array: np.ndarray) -> bool:
    """Whether what was made is what the artifact was compiled with."""
    return hashlib.sha256(array.tobytes()).hexdigest()[:16] == how["digest"]


def _dtype(name: str) -> np.dtype:
    if name == "bf16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_DTYPES[name])


def _orders(array: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The orders of axes in which `array` may be a part of `shape`."""
    wanted = np.prod(shape)
    if not array.size <= wanted <= 8 * array.size:
        return
    for order in itertools.permutations(range(array.ndim)):
        aligned = _aligned(tuple(array.shape[axis] for axis in order), shape)
        if aligned is not None and all(a <= b for a, b in zip(aligned, shape, strict=True)):
            yield order


def _aligned(sizes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """`sizes` with as many axes as `shape`: ones are left out, or put in where `shape` has some."""
    rest = [size for size in sizes if size > 1]
    found = []
    for size in shape:
        found.append(1 if size == 1 or not rest else rest.pop(0))
    return (*found,) if not rest else (1 << 62,) * len(shape)
