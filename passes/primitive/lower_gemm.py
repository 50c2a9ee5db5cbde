"""dlas-lower-gemm: convolutions as matrix multiplications on explicit im2col, and linear layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._matrices import last_in_chunks, linear_by_rows, multiplies_matrices, whole_chunks
from dlas_mlir.passes.primitives import Primitive, block_of, initial, mark


@dataclass(frozen=True)
class Gemm(Primitive):
    """Lower convolutions marked `gemm` to a matrix multiplication [M, D] x [D, K], M = N*OH*OW pixels and
    D = R*S*C/G, one per group. The matrix of the pixels is written out by an im2col operation; a 1x1 convolution with
    unit strides, and a linear layer, reads its input as it is. Weights are packed in panels [K/k, D, k]; on a GPU one
    panel holds them all. Where it has products of small matrices, weights are rows [K, D], so that both factors have
    neighbours in what is summed over, and channels are filled up with zeros to 16 bytes, which are copied at once.

    im2col after Chellapilla et al., "High Performance Convolutional Neural Networks for Document Processing" (2006).

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm"}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x1x58x58x64xf32>
    %columns = linalg.generic {dlas.im2col} ins(%px) outs(...) -> tensor<1x56x56x3x3x64xf32>
    %a = tensor.collapse_shape %columns [[0, 1, 2], [3, 4, 5]] : ... into tensor<3136x576xf32>
    %c = linalg.generic {dlas.primitive = "gemm"} ins(%a, %panels) outs(...) -> tensor<3136x4x16xf32>
    ```
    """

    name: ClassVar[str] = "gemm"

    panel: int = option(0, "output channels in a panel; 0: the lanes of the target's vectors, or all", minimum=0)

    def applies(self, shape: ConvShape, target: Target) -> Gemm | str:
        lanes = block_of(0, target)
        ragged = shape.group_out % 4 != 0 if lanes else shape.group_out == 1
        if shape.groups > 1 and ragged:
            return f"{shape.group_out} output channels in a group make no panel"
        panel = self.panel or lanes or shape.group_out
        while shape.groups > 1 and shape.group_out % panel:
            panel //= 2
        return replace(self, panel=panel)

    def layout_of_images(self) -> str:
        return "nhwc"

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        if convolution.shape.linear:
            return self._linear(convolution, target)
        if multiplies_matrices(convolution.shape, target):
            return _product_of_rows(convolution)
        return self._convolution(convolution, target)

    def _linear(self, convolution: Convolution, target: Target) -> ir.Value:
        if multiplies_matrices(convolution.shape, target):
            return linear_by_rows(convolution)
        n, k = convolution.shape.batch, convolution.shape.out_channels
        c = _matmul(convolution, convolution.input, self.panel, grouped=False)
        flat = build.unpack(c, [1], [n, k])
        return build.expand(flat, [[0], [1, 2, 3]], [n, k, 1, 1])

    def _convolution(self, convolution: Convolution, target: Target) -> ir.Value:
        n, k, (oh, ow) = convolution.shape.batch, convolution.shape.out_channels, convolution.shape.out_size
        data = convolution.input_nchw()
        # Channels last, as one block; a multiple of the lanes so that neighbours share the layout. What fills it up is
        # not read.
        few = convolution.shape.in_channels <= 4
        grouped = convolution.shape.groups > 1
        lanes = block_of(0, target) or 1
        width = convolution.shape.in_channels if few or grouped else -(-convolution.shape.in_channels // lanes) * lanes
        last = build.pack(data, [1], [width], unread=True)
        depth = convolution.shape.in_channels
        if _reads_input_as_it_is(convolution) and not grouped:
            a = _first_channels(build.collapse(last, [[0, 1, 2, 3], [4]]), depth)
        else:
            columns = _im2col(convolution, _first_channels(last, depth), depth // convolution.shape.groups)
            a = build.collapse(columns, [[0, 1, 2], [3], [4, 5, 6]] if grouped else [[0, 1, 2], [3, 4, 5]])
        c = _matmul(convolution, a, self.panel, grouped)
        channels = list(range(1, ir.RankedTensorType(c.type).rank))
        wide = build.collapse(c, [[0], channels])
        width = ir.RankedTensorType(wide.type).shape[1]
        image = build.expand(wide, [[0, 1, 2, 3], [4]], [n, 1, oh, ow, width])
        return build.unpack(image, [1], [n, k, oh, ow])


LowerGemmPass = Gemm.as_pass()


def _product_of_rows(convolution: Convolution) -> ir.Value:
    """[N, 1, OH, OW, D] x [K, D], and one product for each group; D in the order R, S, C of im2col. Pixels stay rows
    and columns, so that what follows is fused."""
    shape = convolution.shape
    channels = whole_chunks(shape) if shape.groups == 1 else shape.in_channels
    a = build.pack(convolution.input_nchw(), [1], [channels], unread=channels == shape.in_channels)
    if not _reads_input_as_it_is(convolution):
        grouped = shape.groups > 1
        columns = _im2col(convolution, a, channels // shape.groups)
        flat = build.collapse(columns, [[0], [1], [2], [3, 4, 5, 6] if grouped else [3, 4, 5]])
        a = build.expand(flat, [[0], [1, 2], [3], [4]], [shape.batch, 1, *_shape(flat)[1:]])
    weights = build.collapse(last_in_chunks(convolution, channels), [[0], [1, 2, 3]])
    n, kb, oh, ow, k, d = (affine.dim(i) for i in range(6))
    first = ir.AffineExpr.get_floor_div(k, shape.group_out) * _shape(weights)[1]
    result = [shape.batch, 1, *shape.out_size, shape.out_channels]
    generic = build.generic(
        [a, weights],
        initial(convolution, result, lambda value: build.pack(value, [1], [shape.out_channels], unread=True)),
        [[n, kb, oh, ow, d if shape.groups == 1 else first + d], [k, d], [n, kb, oh, ow, k]],
        ["parallel"] * 5 + ["reduction"],
        convolution.multiply_accumulate,
        ("n", "kb", "oh", "ow", "k", "rsc"),
    )
    mark(generic, convolution)
    return build.unpack(generic.results[0], [1], [shape.batch, shape.out_channels, *shape.out_size])


def _first_channels(value: ir.Value, count: int) -> ir.Value:
    """The first `count` of the last dimension."""
    shape = _shape(value)
    return value if shape[-1] == count else build.extract_slice(value, [0] * len(shape), [*shape[:-1], count])


def _reads_input_as_it_is(convolution: Convolution) -> bool:
    return convolution.shape.kernel == (1, 1) and convolution.shape.strides == (1, 1)


def _im2col(convolution: Convolution, data: ir.Value, depth: int) -> ir.Value:
    """[N, 1, H, W, C] to [N, OH, OW, (G,) R, S, C/G]."""
    (oh, ow), (r, s) = convolution.shape.out_size, convolution.shape.kernel
    (sh, sw), (dh, dw) = convolution.shape.strides, convolution.shape.dilations
    dim, grouped = affine.dim, convolution.shape.groups > 1
    shape = [convolution.shape.batch, oh, ow, *([convolution.shape.groups] if grouped else []), r, s, depth]
    rank = len(shape)
    fh, fw, c = dim(rank - 3), dim(rank - 2), dim(rank - 1)
    channel = dim(3) * depth + c if grouped else c
    source = [dim(0), affine.constant(0), dim(1) * sh + fh * dh, dim(2) * sw + fw * dw, channel]
    identity = [dim(i) for i in range(rank)]
    columns = build.generic(
        [data],
        build.empty(shape, convolution.element),
        [source, identity],
        ["parallel"] * rank,
        lambda value, _: value,
        ("n", "oh", "ow", *(["g"] if grouped else []), "r", "s", "c"),
    )
    columns.operation.attributes["dlas.im2col"] = ir.UnitAttr.get()
    return columns.results[0]


def _matmul(convolution: Convolution, a: ir.Value, panel: int, grouped: bool) -> ir.Value:
    """[M, (G,) D] x [K/k, D, k] to [M, (G,) K/k, k]."""
    dim = affine.dim
    weights = _panels(convolution, panel)
    pixels = ir.RankedTensorType(a.type).shape[0]
    if grouped:
        m, g, kb, k, d = (dim(i) for i in range(5))
        blocks = convolution.shape.group_out // panel
        shape = [pixels, convolution.shape.groups, blocks, panel]
        maps = [[m, g, d], [g, kb, d, k], [m, g, kb, k]]
        weights = build.expand(weights, [[0, 1], [2], [3]], [convolution.shape.groups, blocks, *_shape(weights)[1:]])
        kinds, loops = ["parallel"] * 4 + ["reduction"], ("m", "g", "nb", "n", "k")
    else:
        m, kb, k, d = (dim(i) for i in range(4))
        shape = [pixels, _shape(weights)[0], panel]
        maps = [[m, d], [kb, d, k], [m, kb, k]]
        kinds, loops = ["parallel"] * 3 + ["reduction"], ("m", "nb", "n", "k")
    start = initial(convolution, shape, lambda value: _start(value, shape, panel))
    generic = build.generic([a, weights], start, maps, kinds, convolution.multiply_accumulate, loops)
    mark(generic, convolution)
    return generic.results[0]


def _start(value: ir.Value, shape: list[int], panel: int) -> ir.Value:
    """The initial accumulator [N, K, OH, OW] in the layout of the product."""
    last = build.transpose(value, [0, 2, 3, 1])
    pixels = build.collapse(last, [[0, 1, 2], [3]])
    packed = build.pack(pixels, [1], [panel], unread=True)
    return packed if len(shape) == 3 else build.expand(packed, [[0], [1, 2], [3]], shape)


def _panels(convolution: Convolution, panel: int) -> ir.Value:
    """Weights as [K/k, D, k], D in the order R, S, C of im2col."""
    weights = build.transpose(convolution.weights_oihw(), [0, 2, 3, 1])
    return build.pack(build.collapse(weights, [[0], [1, 2, 3]]), [0], [panel])


def _shape(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)
