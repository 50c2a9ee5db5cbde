"""What the sparse primitives share: which layers they take, and how the root of what they build is marked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen.simt import nonzeros
from dlas_mlir.codegen.sparse.attribute import FACTORS, count_blocks, set_sparsity
from dlas_mlir.codegen.target import CpuTarget, GpuTarget, Target
from dlas_mlir.codegen.workload import Sparsity
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.pads import Padding
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes.primitives import Estimate, Primitive, initial, mark


@dataclass(frozen=True)
class SparsePrimitive(Primitive):
    """Base of the primitives that do layers with encoded weights, and no others."""

    def applies(self, shape: ConvShape, target: Target) -> SparsePrimitive | str:
        if shape.encoding is None:
            return "its weights have no sparsity encoding that is known"
        if shape.accumulator != "f32" or not {shape.element, shape.weights} <= _elements(target):
            return f"weights of {shape.weights} have no sparse kernel"
        if shape.depthwise:
            return "a depthwise convolution has too few weights for each pixel"
        if shape.group_out % shape.encoding.block:
            return f"blocks of {shape.encoding.block} do not divide {shape.group_out} output channels"
        return self if shape.constant else "its weights are not constant"

    def estimate(self, shape: ConvShape, target: Target) -> Estimate | None:
        """The share of the weights that is stored, at the speed at which it is as fast as a dense kernel at the
        target's break-even point; None where nobody has counted the zeros."""
        if shape.encoding is None or shape.zeros is None:
            return None
        least = _break_even(shape, shape.encoding.block, target)
        stored, even = 1 - shape.zeros, 1 - least
        work = shape.macs * stored / even if even else math.inf if stored else 0.0
        return Estimate(work, f"{shape.zeros:.0%} zeros, {shape.encoding.describe()} pays off from {least:.0%} on")


def _elements(target: Target) -> set[str]:
    """What kernels of non-zeros multiply on a target."""
    return set(FACTORS) & set(target.elements) if isinstance(target, GpuTarget) else {"f32"}


def _break_even(shape: ConvShape, block: int, target: Target) -> float:
    if isinstance(target, GpuTarget):
        return nonzeros.break_even(block, shape.element, target)
    assert isinstance(target, CpuTarget)
    return target.break_even(block)


def group_channel(convolution: Convolution, k: ir.AffineExpr, c: ir.AffineExpr, taps: int = 1) -> ir.AffineExpr:
    """The input channel that is channel `c` of the group of output channel `k`, where a channel has `taps` rows."""
    if convolution.shape.groups == 1:
        return c
    return ir.AffineExpr.get_floor_div(k, convolution.shape.group_out) * (convolution.shape.group_in * taps) + c


def contraction(
    convolution: Convolution, inputs: list[ir.Value], start: ir.Value, maps: list[list[ir.AffineExpr]], *loops: str
) -> ir.Value:
    """The root of what a sparse primitive builds: the input times the constant weights, summed over the loops behind
    those of the result. It becomes a kernel that skips the zeros of the weights."""
    kinds = ["parallel"] * len(maps[-1]) + ["reduction"] * (len(loops) - len(maps[-1]))
    generic = build.generic(inputs, start, maps, kinds, build.multiply_accumulate, loops)
    mark(generic, convolution)
    encoding = convolution.shape.encoding
    assert encoding is not None
    array = convolution.constant_oihw(Constants(convolution.op))
    found = Sparsity(encoding.block, count_blocks(array, encoding.block))
    set_sparsity(generic.operation, found)
    return generic.results[0]


def start_nchw(convolution: Convolution) -> ir.Value:
    """The initial accumulator [N, K, OH, OW]."""
    return initial(convolution, convolution.shape.result_nchw, lambda value: value)


def columns_apart(data: ir.Value, stride: int) -> ir.Value:
    """[N, C, H, W] as [N, C, H, s, W/s]: column s*w + p is column w of phase p, so that the pixels of a row of the
    output are neighbours. W is padded to a multiple of s with zeros."""
    n, c, h, w = ir.RankedTensorType(data.type).shape
    width = -(-w // stride)
    data = padded_to(data, width * stride)
    dims = [affine.dim(i) for i in range(5)]
    return build.generic(
        [data],
        build.empty([n, c, h, stride, width], build.element_type(data)),
        [[*dims[:3], dims[4] * stride + dims[3]], dims],
        ["parallel"] * 5,
        lambda value, _: value,
        ("n", "c", "h", "p", "w"),
    ).results[0]


def padded_to(data: ir.Value, width: int) -> ir.Value:
    """`data` with zeros behind its columns up to `width`, as part of the padding that it may have."""
    missing = width - ir.RankedTensorType(data.type).shape[3]
    if not missing:
        return data
    padding = Padding.of(build.defining(data))
    zero = build.zero(build.element_type(data))
    if padding is not None and padding.constant == ir.FloatAttr.get(build.element_type(data), 0.0):
        *others, last = padding.high
        return build.pad(padding.source, padding.low, [*others, last + missing], zero)
    return build.pad(data, [0] * 4, [0, 0, 0, missing], zero)
