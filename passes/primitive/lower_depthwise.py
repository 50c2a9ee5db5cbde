"""dlas-lower-depthwise: the depthwise form of spatial pack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._packed import KB, Channels, K, packed_convolution
from dlas_mlir.passes.primitives import Primitive, packed_block


@dataclass(frozen=True)
class Depthwise(Primitive):
    """Lower convolutions marked `depthwise` to the packed form with one block of channels per step.

    Lane k of an output block reads lane k of the input block, or lane k / m with a channel multiplier m that divides
    the block.

    Before:
    ```mlir
    %1 = linalg.depthwise_conv_2d_nchw_chw {dlas.primitive = "depthwise"}
        ins(%x, %w : tensor<1x32x58x58xf32>, tensor<32x3x3xf32>) outs(%zeros) -> tensor<1x32x56x56xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x2x58x58x16xf32>
    %pw = linalg.pack %w4 inner_dims_pos = [1, 0] inner_tiles = [1, 16] : ... -> tensor<2x1x3x3x1x16xf32>
    %py = linalg.generic {dlas.layer = "conv", dlas.primitive = "depthwise"} ins(%px, %pw) outs(...)
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x32x56x56xf32>
    ```
    """

    name: ClassVar[str] = "depthwise"

    block: int = option(0, "channels in a block; 0: what the target loads as one vector", minimum=0)

    def applies(self, shape: ConvShape, target: Target) -> Depthwise | str:
        if not shape.depthwise:
            return "it is not depthwise"
        block, multiplier = packed_block(self.block, shape, target), shape.group_out
        if block % multiplier:
            return f"its channel multiplier {multiplier} does not divide {block}"
        return replace(self, block=block)

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        block, m = self.block, convolution.shape.group_out
        k, kb = affine.dim(K), affine.dim(KB)
        if m == 1:
            channels = Channels(block, block, 1, 1, kb, k)
        else:
            # Output block kb lies in input block kb / m, in its part kb % m.
            inner = (kb % m) * (block // m) + ir.AffineExpr.get_floor_div(k, m)
            channels = Channels(block, block, 1, 1, ir.AffineExpr.get_floor_div(kb, m), inner)
        weights = build.pack(convolution.weights_oihw(), [1, 0], [1, block])
        return packed_convolution(convolution, channels, weights)


LowerDepthwisePass = Depthwise.as_pass()
