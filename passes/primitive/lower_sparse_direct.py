"""dlas-lower-sparse-direct: the direct convolution that skips zero weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes.primitive._sparse import SparsePrimitive, columns_apart, contraction, group_channel, start_nchw
from dlas_mlir.passes.primitives import NOT_SPATIAL


@dataclass(frozen=True)
class SparseDirect(SparsePrimitive):
    """Lower convolutions marked `sparse-direct` to a loop nest on NCHW activations, as imported, with the pixels of a
    row in the lanes. `dlas.sparse` on it says that dlas-lower-dispatches is to run over the non-zero weights only.

    A convolution with a column stride s reads its input with columns of the same remainder by s beside each other, one
    copy that is visible as an operation of its own.

    After Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning" (ICLR 2017).

    Before:
    ```mlir
    %s = "sparse_tensor.convert"(%w) : (tensor<64x64x3x3xf32>) -> tensor<64x64x3x3xf32, #csr>
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct"}
        ins(%x, %s : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32, #csr>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %1 = linalg.generic {dlas.primitive = "sparse-direct", dlas.sparse = {block = 1, nonzeros = 3686}}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "sparse-direct"

    def applies(self, shape: ConvShape, target: Target) -> SparsePrimitive | str:
        return NOT_SPATIAL if shape.linear and shape.encoding else super().applies(shape, target)

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        n, k, oh, ow, c, fh, fw = (affine.dim(i) for i in range(7))
        (sh, sw), (dh, dw) = convolution.shape.strides, convolution.shape.dilations
        data, column = convolution.input_nchw(), [ow + fw * dw]
        if sw > 1:
            data = columns_apart(data, sw)
            column = [(fw * dw) % sw, ow + ir.AffineExpr.get_floor_div(fw * dw, sw)]
        maps = [
            [n, group_channel(convolution, k, c), oh * sh + fh * dh, *column],
            [k, c, fh, fw],
            [n, k, oh, ow],
        ]
        inputs = [data, convolution.weights_oihw()]
        return contraction(convolution, inputs, start_nchw(convolution), maps, "n", "k", "oh", "ow", "c", "r", "s")


LowerSparseDirectPass = SparseDirect.as_pass()
