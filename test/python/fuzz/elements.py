"""Element types, and the data of arguments and constants: small numbers of which most sums are exact."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

PRECISION = {"f32": 24, "f16": 11, "bf16": 8}  # Bits of a significand.
DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i1": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "index": np.dtype(np.int64),
}
LARGEST = {"f32": float(np.finfo(np.float32).max), "f16": 65504.0, "bf16": float(ml_dtypes.finfo("bfloat16").max)}
INTEGERS = ("i8", "i16", "i32", "i64")


def is_float(element: str) -> bool:
    return element in PRECISION


@dataclass(frozen=True)
class Tensor:
    """A static tensor type."""

    shape: tuple[int, ...]
    element: str

    def __str__(self) -> str:
        return f"tensor<{'x'.join([*map(str, self.shape), self.element])}>"

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Data:
    """What a tensor holds. `kind` is one of

    small    multiples of 1/4, few of them zero
    real     any number of [-2, 2]
    whole    the full range of an integer type, else as real
    sparse   as small, 7 of 10 zero
    rows     as small, half of the slices of the first dimension zero
    special  as small, with infinities and NaN
    splat    `value` everywhere
    """

    kind: str
    seed: int = 0
    value: float = 0.0

    def array(self, kind: Tensor) -> np.ndarray:
        """The elements, of the type's own dtype."""
        random, dtype = np.random.default_rng(self.seed), DTYPES[kind.element]
        if self.kind == "splat":
            return np.full(kind.shape, self.value).astype(dtype)
        if kind.element == "i1":
            return random.integers(0, 2, kind.shape).astype(dtype)
        if not is_float(kind.element):
            return self._integers(random, kind.shape, dtype)
        if self.kind in ("real", "whole"):
            return random.uniform(-2, 2, kind.shape).astype(dtype)
        array = random.integers(-8, 9, kind.shape) / 4.0
        array = self._thinned(random, array)
        if self.kind == "special" and array.size:
            for value in (np.inf, -np.inf, np.nan):
                array.flat[random.integers(array.size)] = value
        return array.astype(dtype)

    def _integers(self, random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self.kind in ("whole", "special"):
            limits = np.iinfo(dtype)
            return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        return self._thinned(random, random.integers(-9, 10, shape)).astype(dtype)

    def _thinned(self, random: np.random.Generator, array: np.ndarray) -> np.ndarray:
        if self.kind == "sparse":
            return np.where(random.random(array.shape) < 0.7, 0, array)
        if self.kind == "rows" and array.ndim:
            keep = random.random(array.shape[0]) < 0.5
            return array * keep.reshape([-1] + [1] * (array.ndim - 1))
        return array


def literal(value: float, element: str) -> str:
    """A scalar as MLIR has it."""
    if element == "i1":
        return "true" if value else "false"
    if not is_float(element):
        return str(int(value))
    bits = np.asarray(value).astype(DTYPES[element]).reshape(1)
    if np.isfinite(value):
        return f"{float(bits[0]):.9e}"
    return f"0x{int(bits.view(f'u{bits.itemsize}')[0]):0{2 * bits.itemsize}X}"


def dense(array: np.ndarray, element: str) -> str:
    """An array as a dense attribute (without its type)."""
    flat = array.reshape(-1)
    if flat.size and (flat == flat[0]).all():
        return f"dense<{literal(flat[0].item(), element)}>"
    if element == "i1":
        return f"dense<{_nested(array, element)}>"
    if flat.size > 64:
        return f'dense<"0x{array.tobytes().hex().upper()}">'
    return f"dense<{_nested(array, element)}>"


def _nested(array: np.ndarray, element: str) -> str:
    if array.ndim == 0:
        return literal(array.item(), element)
    return f"[{', '.join(_nested(part, element) for part in array)}]"
