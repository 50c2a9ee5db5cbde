"""dlas-lower-sparse-gemm: convolutions as a sparse matrix times im2col's, and linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.passes.primitive._sparse import SparsePrimitive, contraction, group_channel, start_nchw


@dataclass(frozen=True)
class SparseGemm(SparsePrimitive):
    """Lower convolutions marked `sparse-gemm` to the product of the sparse matrix of the weights [K, C/G*R*S] and the
    matrix of the pixels [C*R*S, OH*OW], which an im2col operation writes out (its pixels stay rows and columns, so that
    what follows is fused). A 1x1 convolution with unit strides, and a linear layer, reads its input as it is.

    im2col after Chellapilla et al., "High Performance Convolutional Neural Networks for Document Processing" (2006).

    Before:
    ```mlir
    %s = "sparse_tensor.convert"(%w) : (tensor<64x64x3x3xf32>) -> tensor<64x64x3x3xf32, #csr>
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-gemm"}
        ins(%x, %s : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32, #csr>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %taps = linalg.generic {dlas.im2col} ins(%x) outs(...) -> tensor<1x64x3x3x56x56xf32>
    %columns = tensor.collapse_shape %taps [[0], [1, 2, 3], [4], [5]] : ... into tensor<1x576x56x56xf32>
    %rows = tensor.collapse_shape %w [[0], [1, 2, 3]] : ... into tensor<64x576xf32>
    %1 = linalg.generic {dlas.primitive = "sparse-gemm", dlas.sparse = {block = 1, nonzeros = 3686}}
        ins(%columns, %rows) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "sparse-gemm"

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        if convolution.shape.linear:
            return _linear(convolution)
        n, k, oh, ow, d = (affine.dim(i) for i in range(5))
        columns, taps = convolution.input_nchw(), convolution.shape.kernel[0] * convolution.shape.kernel[1]
        if convolution.shape.kernel != (1, 1) or convolution.shape.strides != (1, 1):
            columns = build.collapse(_im2col(convolution, columns), [[0], [1, 2, 3], [4], [5]])
        rows = build.collapse(convolution.weights_oihw(), [[0], [1, 2, 3]])
        maps = [[n, group_channel(convolution, k, d, taps), oh, ow], [k, d], [n, k, oh, ow]]
        return contraction(convolution, [columns, rows], start_nchw(convolution), maps, "n", "k", "oh", "ow", "crs")


LowerSparseGemmPass = SparseGemm.as_pass()


def _linear(convolution: Convolution) -> ir.Value:
    """[N, C] x [K, C] as it is."""
    n, k, c = (affine.dim(i) for i in range(3))
    rows = build.collapse(convolution.weights_oihw(), [[0], [1, 2, 3]])
    maps = [[n, c], [k, c], [n, k]]
    result = contraction(convolution, [convolution.input, rows], convolution.initial, maps, "n", "k", "c")
    shape = [convolution.shape.batch, convolution.shape.out_channels, 1, 1]
    return build.expand(result, [[0], [1, 2, 3]], shape)


def _im2col(convolution: Convolution, data: ir.Value) -> ir.Value:
    """[N, C, H, W] to [N, C, R, S, OH, OW]."""
    n, c, fh, fw, oh, ow = (affine.dim(i) for i in range(6))
    (sh, sw), (dh, dw) = convolution.shape.strides, convolution.shape.dilations
    shape = [
        convolution.shape.batch,
        convolution.shape.in_channels,
        *convolution.shape.kernel,
        *convolution.shape.out_size,
    ]
    columns = build.generic(
        [data],
        build.empty(shape, convolution.element),
        [[n, c, oh * sh + fh * dh, ow * sw + fw * dw], [n, c, fh, fw, oh, ow]],
        ["parallel"] * 6,
        lambda value, _: value,
        ("n", "c", "r", "s", "oh", "ow"),
    )
    columns.operation.attributes["dlas.im2col"] = ir.UnitAttr.get()
    return columns.results[0]
