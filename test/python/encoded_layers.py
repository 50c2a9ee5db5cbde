"""Layers with encoded weights in every named form, made by the passes, and what PyTorch computes for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from iree.compiler import ir

from dlas_mlir.ir import build, conv
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.sparsity import Encoding
from dlas_mlir.opt.pipeline import parse_pipeline

CSR, BSR, NM = Encoding("csr"), Encoding("bsr", block=4), Encoding("nm", n=2, m=4)


@dataclass(frozen=True)
class Layer:
    """A named operation with the shapes of its operands."""

    op: str
    data: tuple[int, ...]
    weights: tuple[int, ...]
    result: tuple[int, ...]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)

    def module(self) -> str:
        """A function of the data and the accumulator; the weights are constants."""
        values = np.random.default_rng(0).standard_normal(self.weights).astype(np.float32)
        x, w, y = (f"tensor<{'x'.join(map(str, shape))}xf32>" for shape in (self.data, self.weights, self.result))
        attributes = ""
        if self.op != "matmul":
            attributes = ", ".join(
                f"{name} = dense<[{a}, {b}]> : vector<2xi64>"
                for name, (a, b) in (("strides", self.strides), ("dilations", self.dilations))
            )
        return f"""
  func.func @main(%x: {x}, %start: {y}) -> {y} attributes {{llvm.emit_c_interface}} {{
    %w = arith.constant dense<"0x{values.tobytes().hex()}"> : {w}
    %y = linalg.{self.op} {{{attributes}}} ins(%x, %w : {x}, {w}) outs(%start : {y}) -> {y}
    return %y : {y}
  }}"""


# Two blocks at least: of a dimension with a single block the sparsifier makes a constant, and then fails.
LAYERS = {
    "3x3": Layer("conv_2d_nchw_fchw", (1, 8, 7, 9), (12, 8, 3, 3), (1, 12, 5, 7)),
    "1x1": Layer("conv_2d_nchw_fchw", (1, 16, 5, 6), (8, 16, 1, 1), (1, 8, 5, 6)),
    "strided": Layer("conv_2d_nchw_fchw", (2, 8, 9, 11), (12, 8, 3, 3), (2, 12, 4, 4), (2, 2), (1, 2)),
    "hwcf": Layer("conv_2d_nhwc_hwcf", (1, 7, 9, 8), (3, 3, 8, 12), (1, 5, 7, 12)),
    "fhwc": Layer("conv_2d_nhwc_fhwc", (1, 7, 9, 8), (12, 3, 3, 8), (1, 5, 7, 12)),
    "gfchw": Layer("conv_2d_ngchw_gfchw", (1, 2, 8, 7, 9), (2, 8, 8, 3, 3), (1, 2, 8, 5, 7)),
    "fgchw": Layer("conv_2d_ngchw_fgchw", (1, 2, 8, 7, 9), (8, 2, 8, 3, 3), (1, 2, 8, 5, 7)),
    "gfhwc": Layer("conv_2d_nhwgc_gfhwc", (1, 7, 9, 2, 8), (2, 8, 3, 3, 8), (1, 5, 7, 2, 8)),
    "linear": Layer("matmul", (3, 24), (24, 20), (3, 20)),
    "chw": Layer("depthwise_conv_2d_nchw_chw", (1, 12, 7, 9), (12, 3, 3), (1, 12, 5, 7)),
    "hwc": Layer("depthwise_conv_2d_nhwc_hwc", (1, 7, 9, 12), (3, 3, 12), (1, 5, 7, 12)),
    "hwcm": Layer("depthwise_conv_2d_nhwc_hwcm", (1, 7, 9, 6), (3, 3, 6, 8), (1, 5, 7, 6, 8)),
}


def encoded_module(layer: Layer, encoding: Encoding, after: str = "") -> ir.Module:
    """The layer, pruned and encoded by the passes."""
    module = ir.Module.parse(layer.module())
    numbers = f"n={encoding.n} m={encoding.m}" if encoding.m else ""
    block = f"block={encoding.block}" if encoding.format == "bsr" else ""
    passes = [
        f"dlas-prune-weights{{sparsity=0.6 {block or numbers}}}",
        f"dlas-encode-sparsity{{format={encoding.format} threshold=0.4 depthwise=true {block or numbers}}}",
    ]
    parse_pipeline(",".join([*passes, after] if after else passes)).run(module)
    return module


def convolution_of(module: ir.Module) -> conv.Convolution:
    (found,) = [view for op in build.operations(module) if (view := conv.view(op)) is not None]
    return found


def data_of(layer: Layer) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.standard_normal(shape).astype(np.float32) for shape in (layer.data, layer.result)]


def by_pytorch(layer: Layer, view: conv.Convolution, inputs: list[np.ndarray]) -> np.ndarray:
    """The result in the layer's own shape, in double precision, from the dense weights behind the encoding."""
    weights = torch.from_numpy(view.constant_oihw(Constants(view.op)).astype(np.float64))
    data, _, out = view.forms
    x, start = (torch.from_numpy(array.astype(np.float64)) for array in inputs)
    letters = [letter for letter in "ngchw" if letter in data]
    image = (view.shape.batch, view.shape.in_channels, *view.shape.in_size)
    x = x.permute([data.index(letter) for letter in letters]).reshape(image)
    y = torch.nn.functional.conv2d(x, weights, stride=layer.strides, dilation=layer.dilations, groups=view.shape.groups)
    letters = [letter for letter in "ngfhw" if letter in out]
    sizes = dict(zip(out, layer.result, strict=True))
    y = y.reshape([sizes[letter] for letter in letters]).permute([letters.index(letter) for letter in out])
    return (y + start).numpy()
