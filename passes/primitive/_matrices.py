"""Layers as products of matrices on a GPU's instructions: what those want of channels and weights."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.codegen.gpu.instructions import INSTRUCTIONS
from dlas_mlir.codegen.gpu.product import BYTES, CHUNK
from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes.primitives import initial, mark

# How many elements are copied at once, of what instructions multiply.
WIDTHS = {unit.operand: CHUNK // BYTES[unit.operand] for unit in INSTRUCTIONS.values()}


def multiplies_matrices(shape: ConvShape, target: Target) -> bool:
    """Whether `target` has products of small matrices of the layer's operands."""
    if not isinstance(target, GpuTarget):
        return False
    known = [INSTRUCTIONS[name] for name in target.matrix_instructions if name in INSTRUCTIONS]
    return any(unit.operand == shape.element for unit in known)


def whole_chunks(shape: ConvShape) -> int:
    """Its input channels, and as many more as fill 16 bytes, which kernels copy at once."""
    width = WIDTHS.get(shape.element, 1)
    return -(-shape.in_channels // width) * width


def last_in_chunks(convolution: Convolution, channels: int) -> ir.Value:
    """Its weights as [K, R, S, C], with zeros behind them up to `channels` input channels, where they have fewer and no
    groups."""
    shape = convolution.shape
    if channels == shape.in_channels:
        return build.transpose(convolution.weights_oihw(), [0, 2, 3, 1])
    packed = build.pack(convolution.weights_oihw(), [1], [channels])
    return build.collapse(packed, [[0, 1], [2], [3], [4]])


def linear_by_rows(convolution: Convolution) -> ir.Value:
    """A linear layer as [N, C] x [K, C]; returns [N, K, 1, 1]."""
    shape = convolution.shape
    n, k, c = (affine.dim(i) for i in range(3))
    result = [shape.batch, shape.out_channels]
    generic = build.generic(
        [convolution.input, build.collapse(convolution.weights_oihw(), [[0], [1, 2, 3]])],
        initial(convolution, result, lambda value: build.collapse(value, [[0], [1, 2, 3]])),
        [[n, c], [k, c], [n, k]],
        ["parallel", "parallel", "reduction"],
        convolution.multiply_accumulate,
        ("n", "k", "c"),
    )
    mark(generic, convolution)
    return build.expand(generic.results[0], [[0], [1, 2, 3]], [*result, 1, 1])
