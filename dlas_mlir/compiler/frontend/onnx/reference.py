"""onnx's reference evaluator, with operations of our own where its are wrong or take minutes.

Its convolutions and pools go through Python for each window, and split what ceil_mode adds between both sides; its
Softmax knows only the meaning that it has since opset 13, its batch normalization takes old models for training.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from onnx.reference.op_run import OpRun
from torch.nn import functional

Array = np.ndarray

# Of a value's largest element: what adding in another order may move it by.
NOISE = 1e-5


class Noise:
    """What is added before values are rounded to codes, to see what that does to the outputs; nothing at first."""

    generator: np.random.Generator | None = None

    @classmethod
    def add(cls, value: Array) -> Array:
        if cls.generator is None or not value.size:
            return value
        return value + NOISE * np.abs(value).max() * cls.generator.standard_normal(value.shape)


class BatchNormalization(OpRun):
    """With the stored mean and variance, as every inference does; onnx's own takes those of the batch in old opsets."""

    def _run(  # pyright: ignore
        self, x: Array, scale: Array, b: Array, mean: Array, var: Array, epsilon: float = 1e-5, **values: Any
    ) -> tuple[Array]:
        if values.get("training_mode"):
            raise NotImplementedError("BatchNormalization in training mode")
        shape = (-1, *[1] * (x.ndim - 2))
        factor = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + epsilon)
        return (((x - mean.reshape(shape)) * factor.reshape(shape) + b.reshape(shape)).astype(x.dtype),)


class Conv(OpRun):
    """Convolution, by PyTorch."""

    def _run(self, x: Array, w: Array, b: Array | None = None, **values: Any) -> tuple[Array]:  # pyright: ignore
        return (_convolve(x, w, b, values).astype(x.dtype),)


class ConvInteger(OpRun):
    """Convolution of integers with zero points."""

    def _run(self, x: Array, w: Array, xz: Array | None = None, wz: Array | None = None, **values: Any):  # pyright: ignore
        return (_convolve(_centred(x, xz), _centred(w, wz, 0), None, values).astype(np.int32),)


class QLinearConv(OpRun):
    """Convolution of codes: sums of integers, rounded once."""

    def _run(  # pyright: ignore
        self,
        x: Array,
        xs: Array,
        xz: Array,
        w: Array,
        ws: Array,
        wz: Array,
        ys: Array,
        yz: Array,
        b: Array | None = None,
        **values: Any,
    ) -> tuple[Array]:
        sums = _convolve(_centred(x, xz), _centred(w, wz, 0), b, values)
        scales = ws.astype(np.float64).reshape(-1, *[1] * (w.ndim - 2)) * float(xs.reshape(-1)[0])
        return (_codes(sums * scales / float(ys.reshape(-1)[0]), yz),)


class QLinearMatMul(OpRun):
    """Product of codes: sums of integers, rounded once."""

    def _run(self, a: Array, s: Array, z: Array, b: Array, t: Array, u: Array, ys: Array, yz: Array):  # pyright: ignore
        sums = np.matmul(_centred(a, z, -2), _centred(b, u, -1))
        scales = _aligned(s, a.ndim, -2).astype(np.float64) * _aligned(t, b.ndim, -1)
        return (_codes(sums * scales / _aligned(ys, sums.ndim, -2), yz),)


class QuantizeLinear(OpRun):
    """Rounding to codes of 8 or 16 bits, half to even."""

    def _run(self, x: Array, scale: Array, zero: Array | None = None, axis: int = 1, **values: Any):  # pyright: ignore
        if values.get("block_size") or values.get("output_dtype") or scale.ndim > 1:
            raise NotImplementedError("QuantizeLinear of blocks, or with output_dtype")
        point = np.zeros((), np.uint8) if zero is None else zero
        if point.dtype.kind not in "iu":
            raise NotImplementedError("QuantizeLinear to floating-point types")
        wide = np.asarray(x.astype(np.float32) / _aligned(scale, x.ndim, axis).astype(np.float32))
        return (_codes(wide, point if point.ndim == 0 else _aligned(point, x.ndim, axis)),)


class DequantizeLinear(OpRun):
    """The numbers that codes stand for; onnx's own knows no opset before 19."""

    def _run(self, x: Array, scale: Array, zero: Array | None = None, axis: int = 1, **values: Any):  # pyright: ignore
        if values.get("block_size") or scale.ndim > 1 or x.dtype.kind not in "iu":
            raise NotImplementedError("DequantizeLinear of blocks, or of floating-point types")
        numbers = _centred(x, zero, axis) * _aligned(scale, x.ndim, axis).astype(np.float64)
        return (np.asarray(numbers, scale.dtype),)


class ConvTranspose(OpRun):
    """Transposed convolution: without padding by PyTorch, then cut."""

    def _run(self, x: Array, w: Array, b: Array | None = None, **values: Any) -> tuple[Array]:  # pyright: ignore
        rank = x.ndim - 2
        strides = values.get("strides") or [1] * rank
        dilations = values.get("dilations") or [1] * rank
        added = values.get("output_padding") or [0] * rank
        groups = values.get("group") or 1
        kernel = [(size - 1) * dilation + 1 for size, dilation in zip(w.shape[2:], dilations, strict=True)]
        whole = [(n - 1) * s + k + a for n, s, k, a in zip(x.shape[2:], strides, kernel, added, strict=True)]
        begins, sizes = _cut(values, x.shape[2:], strides, whole)
        call = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[rank]
        full = call(_tensor(x), _tensor(w), None, stride=strides, padding=0, groups=groups, dilation=dilations).numpy()
        padding = [(0, max(0, b + n - have)) for b, n, have in zip(begins, sizes, full.shape[2:], strict=True)]
        full = np.pad(full, [(0, 0), (0, 0), *padding])
        y = full[(slice(None), slice(None), *[slice(a, a + n) for a, n in zip(begins, sizes, strict=True)])]
        return ((y if b is None else y + b.reshape(-1, *[1] * rank)).astype(x.dtype),)


class AveragePool(OpRun):
    """The mean of each window: over what lies in the input, or in the padded one (not in what ceil_mode adds)."""

    def _run(self, x: Array, **values: Any) -> tuple[Array]:  # pyright: ignore
        windows, padded, inside = _windows(x.astype(np.float64), values, 0.0)
        axes = tuple(range(-(x.ndim - 2), 0))
        counted = padded if values.get("count_include_pad") else inside
        return ((windows.sum(axes) / counted.sum(axes)).astype(x.dtype),)


class MaxPool(OpRun):
    """The largest of each window, and on request where it stood in the flattened input."""

    def _run(self, x: Array, **values: Any) -> tuple[Array, ...]:  # pyright: ignore
        lowest = -np.inf if x.dtype.kind == "f" else int(np.iinfo(x.dtype).min)
        windows, _, inside = _windows(x, values, lowest)
        rank = x.ndim - 2
        axes = tuple(range(-rank, 0))
        if len(self.onnx_node.output) < 2:
            return (windows.max(axes).astype(x.dtype),)
        places = np.arange(x.size).reshape(x.shape)
        if values.get("storage_order"):
            spatial = np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:][::-1]).T
            places = places.reshape(*x.shape[:2], -1)[..., :1].reshape(*x.shape[:2], *[1] * rank) + spatial
        where, _, _ = _windows(places, values, -1)
        flat = np.where(inside, windows, lowest).reshape(*windows.shape[: x.ndim], -1)
        best = flat.argmax(-1)[..., None]
        found = np.take_along_axis(where.reshape(flat.shape), best, -1)[..., 0]
        return windows.max(axes).astype(x.dtype), found.astype(np.int64)


class MeanVarianceNormalization(OpRun):
    """In double precision; onnx's own subtracts the square of the mean."""

    def _run(self, x: Array, axes: Sequence[int] | None = None) -> tuple[Array]:  # pyright: ignore
        wide, over = x.astype(np.float64), tuple(axes or (0, 2, 3))
        apart = wide - wide.mean(over, keepdims=True)
        return ((apart / (np.sqrt((apart * apart).mean(over, keepdims=True)) + 1e-9)).astype(x.dtype),)


class Softmax(OpRun):
    """Along one axis; before opset 13 over all axes from `axis` on."""

    def _run(self, x: Array, axis: int | None = None) -> tuple[Array]:  # pyright: ignore
        wide = x.astype(np.float64)
        axes = _softmax_axes(self, x.ndim)
        e = np.exp(wide - wide.max(axes, keepdims=True))
        return ((e / e.sum(axes, keepdims=True)).astype(x.dtype),)


class LogSoftmax(OpRun):
    """The logarithm of Softmax."""

    def _run(self, x: Array, axis: int | None = None) -> tuple[Array]:  # pyright: ignore
        wide = x.astype(np.float64)
        axes = _softmax_axes(self, x.ndim)
        shifted = wide - wide.max(axes, keepdims=True)
        return ((shifted - np.log(np.exp(shifted).sum(axes, keepdims=True))).astype(x.dtype),)


OPERATIONS: list[type[OpRun]] = [
    AveragePool,
    BatchNormalization,
    Conv,
    ConvInteger,
    ConvTranspose,
    DequantizeLinear,
    LogSoftmax,
    MaxPool,
    MeanVarianceNormalization,
    QLinearConv,
    QLinearMatMul,
    QuantizeLinear,
    Softmax,
]


def _softmax_axes(operation: OpRun, rank: int) -> tuple[int, ...]:
    old = operation.run_params["opsets"][""] < 13
    axis = next((each.i for each in operation.onnx_node.attribute if each.name == "axis"), 1 if old else -1)
    return tuple(range(axis % rank, rank)) if old else (axis % rank,)


def _centred(x: Array, zero: Array | None, axis: int = 0) -> Array:
    """Codes without their zero points, in a type whose products and sums are exact."""
    wide = x.astype(np.float64)
    return wide if zero is None else wide - _aligned(zero, x.ndim, axis)


def _aligned(value: Array, rank: int, axis: int) -> Array:
    """One number, or one along `axis`, so that it is broadcast over a value of `rank`."""
    if value.size == 1:
        return value.reshape(())
    if value.ndim > 1:
        return value
    shape = [1] * rank
    shape[axis] = -1
    return value.reshape(shape)


def _codes(wide: Array, zero: Array) -> Array:
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(Noise.add(wide)) + zero, limits.min, limits.max).astype(zero.dtype)


def _tensor(x: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(x, np.float64 if x.dtype == np.float64 else np.float32, order="C"))


def _convolve(x: Array, w: Array, b: Array | None, values: dict[str, Any]) -> Array:
    rank = x.ndim - 2
    strides = values.get("strides") or [1] * rank
    dilations = values.get("dilations") or [1] * rank
    kernel = [(size - 1) * dilation + 1 for size, dilation in zip(w.shape[2:], dilations, strict=True)]
    pads = _pads(values, x.shape[2:], kernel, strides)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    call = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[rank]
    bias = None if b is None else _tensor(b.astype(x.dtype))
    with torch.no_grad():
        return call(
            _tensor(x), _tensor(w), bias, stride=strides, dilation=dilations, groups=values.get("group") or 1
        ).numpy()


def _pads(values: dict[str, Any], sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """All begins, then all ends."""
    rank = len(sizes)
    kind = values.get("auto_pad") or "NOTSET"
    if kind in ("NOTSET", "VALID"):
        return list(values.get("pads") or [0] * (2 * rank)) if kind == "NOTSET" else [0] * (2 * rank)
    total = [max(0, (-(-n // s) - 1) * s + k - n) for n, s, k in zip(sizes, strides, kernel, strict=True)]
    less, more = [each // 2 for each in total], [each - each // 2 for each in total]
    return less + more if kind == "SAME_UPPER" else more + less


def _cut(
    values: dict[str, Any], sizes: Sequence[int], strides: Sequence[int], whole: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Where the result of a transposed convolution begins in the `whole` one, and its sizes."""
    rank = len(sizes)
    kind = values.get("auto_pad") or "NOTSET"
    wanted = values.get("output_shape")
    if kind.startswith("SAME") and not wanted:
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    if not wanted:
        pads = list(values.get("pads") or [0] * (2 * rank)) if kind == "NOTSET" else [0] * (2 * rank)
        return pads[:rank], [n - a - b for n, a, b in zip(whole, pads[:rank], pads[rank:], strict=True)]
    wanted = list(wanted)[-rank:]
    total = [max(0, n - size) for n, size in zip(whole, wanted, strict=True)]
    # The standard: the smaller half first for SAME_UPPER, the larger first for all else.
    return [each // 2 if kind == "SAME_UPPER" else each - each // 2 for each in total], wanted


def _windows(x: Array, values: dict[str, Any], filler: float) -> tuple[Array, Array, Array]:
    """Windows [N, C, *OUT, *KERNEL] of `x`, and which of their places are in the padded input, and in the input."""
    rank = x.ndim - 2
    shape = values["kernel_shape"]
    strides = values.get("strides") or [1] * rank
    dilations = values.get("dilations") or [1] * rank
    kernel = [(size - 1) * dilation + 1 for size, dilation in zip(shape, dilations, strict=True)]
    pads = _pads(values, x.shape[2:], kernel, strides)
    outs = []
    for axis in range(rank):
        n, begin, end = x.shape[2 + axis], pads[axis], pads[rank + axis]
        room = n + begin + end - kernel[axis]
        out = (-(-room // strides[axis]) if values.get("ceil_mode") else room // strides[axis]) + 1
        if values.get("ceil_mode") and (out - 1) * strides[axis] >= n + begin:
            out -= 1
        outs.append(out)
    result = np.full((*x.shape[:2], *outs, *shape), filler, x.dtype)
    padded, inside = (np.zeros((*outs, *shape), bool) for _ in range(2))
    for place in itertools.product(*(range(size) for size in shape)):
        within, source, target = [], [], []
        for axis in range(rank):
            at = place[axis] * dilations[axis] + np.arange(outs[axis]) * strides[axis] - pads[axis]
            within.append((at >= -pads[axis]) & (at < x.shape[2 + axis] + pads[rank + axis]))
            good = np.flatnonzero((at >= 0) & (at < x.shape[2 + axis]))
            source.append(at[good])
            target.append(good)
        padded[(..., *place)] = functools.reduce(np.logical_and.outer, within)
        inside[(*np.ix_(*target), *place)] = True
        result[(slice(None), slice(None), *np.ix_(*target), *place)] = x[(slice(None), slice(None), *np.ix_(*source))]
    return result, padded, inside
