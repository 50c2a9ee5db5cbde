"""dlas-lower-implicit-gemm: convolutions and linear layers as products of matrices that are not written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.gpu.rule import LEAST_COLUMNS
from dlas_mlir.codegen.target import GpuTarget, Target
from dlas_mlir.codegen.workload import element_bits
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes.primitive._matrices import (
    WIDTHS,
    last_in_chunks,
    linear_by_rows,
    multiplies_matrices,
    whole_chunks,
)
from dlas_mlir.passes.primitives import Primitive, initial, mark


@dataclass(frozen=True)
class ImplicitGemm(Primitive):
    """Lower convolutions marked `implicit-gemm` to one loop nest that a GPU's kernels see as a product of matrices:
    pixels times output channels, summed over taps and channels. Activations are channels-last, as one block of all
    channels; weights are [K, R, S, C], so that both factors have neighbours in what is summed over.
    On a GPU channels are filled up with zeros to 16 bytes, which are copied at once. With strides, the channels of as
    many neighbouring pixels as a stride has are filled up instead, if they fit: the three of two pixels of an image to
    eight of float16. The columns of a window are half as many then (7 taps are 4 times 2, of which the weights of the
    last are zero: it reads a pixel beside the window, which must be finite).

    After Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014).

    Groups are products of their own, where an output channel's group says which input channels it reads.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm"}
        ins(%x, %w : tensor<1x64x58x58xf16>, tensor<64x64x3x3xf16>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x1x58x58x64xf16>
    %pw = linalg.transpose %w : ... -> tensor<64x3x3x64xf16>
    %py = linalg.generic {dlas.primitive = "implicit-gemm"} ins(%px, %pw) outs(...) -> tensor<1x1x56x56x64xf32>
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "implicit-gemm"

    def applies(self, shape: ConvShape, target: Target) -> ImplicitGemm | str:
        if isinstance(target, GpuTarget) and not target.matrix_instructions:
            return f"{target.name} has no products of small matrices (see direct and gemm)"
        if isinstance(target, GpuTarget) and _is_small(shape, target):
            return "it is a product of a few numbers, which threads have done before (see direct)"
        return self if shape.groups == 1 else _groups_refusal(shape, target) or self

    def layout_of_images(self) -> str:
        return "nhwc"

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        if convolution.shape.linear:
            return linear_by_rows(convolution)
        channels = whole_chunks(convolution.shape) if isinstance(target, GpuTarget) else convolution.shape.in_channels
        pixels = _neighbours(convolution.shape) if isinstance(target, GpuTarget) else 1
        return _convolution(convolution, channels // pixels, pixels)


LowerImplicitGemmPass = ImplicitGemm.as_pass()


def _is_small(shape: ConvShape, target: GpuTarget) -> bool:
    """Whether a convolution is of single pixels, and its weights are read by one multiprocessor before a launch of its
    own has begun: the layers of squeeze-and-excite."""
    if shape.linear or shape.groups > 1 or (*shape.in_size, *shape.out_size, *shape.kernel) != (1,) * 6:
        return False
    weights = shape.in_channels * shape.out_channels * (element_bits(shape.element) // 8)
    return weights <= target.cost.far_bytes * (target.cost.launch_cycles + target.cost.start_cycles)


def _groups_refusal(shape: ConvShape, target: Target) -> str | None:
    """Why groups are not done as products of matrices, one for each, or None."""
    if not isinstance(target, GpuTarget):
        return "it has groups (see direct, grouped-spatial-pack and depthwise)"
    if not multiplies_matrices(shape, target):
        return f"it has groups, and {target.name} has no products of small matrices of {shape.element}"
    if shape.group_in % WIDTHS[shape.element]:
        return f"groups of {shape.group_in} input channels are no whole 16 bytes"
    if shape.group_out % LEAST_COLUMNS:
        return f"groups of {shape.group_out} output channels are no multiple of {LEAST_COLUMNS}"
    return None


def _neighbours(shape: ConvShape) -> int:
    """How many pixels of a row are copied as one, whose channels are 16 bytes together: as many as the stride, where
    they fit, and the image is whole numbers of them; else one."""
    pixels, width = shape.strides[1], WIDTHS.get(shape.element, 1)
    last = (shape.out_size[1] - 1) * pixels + _whole_taps(shape, pixels)
    fits = width % pixels == 0 and shape.in_channels <= width // pixels
    whole = shape.in_size[1] % pixels == 0 and last <= shape.in_size[1]
    plain = shape.groups == 1 and shape.kernel[1] > 1 and shape.dilations[1] == 1
    return pixels if fits and whole and plain else 1


def _whole_taps(shape: ConvShape, pixels: int) -> int:
    """The columns of the window, and as many more as make whole groups of `pixels`."""
    return -(-shape.kernel[1] // pixels) * pixels


def _convolution(convolution: Convolution, channels: int, pixels: int) -> ir.Value:
    """[N, 1, H, W, C] x [K, R, S, C] to [N, 1, OH, OW, K], where `pixels` of a row are one whose channels they have,
    `channels` each."""
    if pixels > 1:
        return _by_neighbours(convolution, channels, pixels)
    shape = convolution.shape
    n, kb, oh, ow, k, r, s, c = (affine.dim(i) for i in range(8))
    (sh, sw), (dh, dw) = shape.strides, shape.dilations
    first = ir.AffineExpr.get_floor_div(k, shape.group_out) * shape.group_in
    channel = c if shape.groups == 1 else first + c
    # Zeros in both factors fill channels up: they are multiplied.
    data = build.pack(convolution.input_nchw(), [1], [channels], unread=channels == shape.in_channels)
    weights = last_in_chunks(convolution, channels)
    return _product(convolution, data, weights, [n, kb, oh * sh + r * dh, ow * sw + s * dw, channel])


def _by_neighbours(convolution: Convolution, channels: int, pixels: int) -> ir.Value:
    shape = convolution.shape
    n, kb, oh, ow, _, r, s, c = (affine.dim(i) for i in range(8))
    packed = build.pack(convolution.input_nchw(), [1], [channels])
    rows, columns = shape.in_size
    apart = [shape.batch, 1, rows, columns // pixels, pixels, channels]
    data = build.expand(packed, [[0], [1], [2], [3, 4], [5]], apart)
    data = build.collapse(data, [[0], [1], [2], [3], [4, 5]])
    taps = _whole_taps(shape, pixels)
    more = [0, channels - shape.in_channels, 0, taps - shape.kernel[1]]
    weights = convolution.weights_oihw()
    weights = build.pad(weights, [0] * 4, more, build.zero(build.element_type(weights)))
    weights = build.transpose(weights, [0, 2, 3, 1])
    apart = [shape.out_channels, shape.kernel[0], taps // pixels, pixels, channels]
    weights = build.collapse(build.expand(weights, [[0], [1], [2, 3], [4]], apart), [[0], [1], [2], [3, 4]])
    row = oh * shape.strides[0] + r * shape.dilations[0]
    return _product(convolution, data, weights, [n, kb, row, ow + s, c])


def _product(convolution: Convolution, data: ir.Value, weights: ir.Value, read: list[ir.AffineExpr]) -> ir.Value:
    """The sum of products of `data`, read where `read` says, and weights [K, R, S, C]."""
    shape = convolution.shape
    n, kb, oh, ow, k, r, s, c = (affine.dim(i) for i in range(8))
    result = [shape.batch, 1, *shape.out_size, shape.out_channels]
    start = initial(convolution, result, lambda value: build.pack(value, [1], [shape.out_channels], unread=True))
    product = build.generic(
        [data, weights],
        start,
        [read, [k, r, s, c], [n, kb, oh, ow, k]],
        ["parallel"] * 5 + ["reduction"] * 3,
        convolution.multiply_accumulate,
        ("n", "kb", "oh", "ow", "k", "r", "s", "c"),
    )
    mark(product, convolution)
    return build.unpack(product.results[0], [1], [shape.batch, shape.out_channels, *shape.out_size])
