"""dlas-lower-spatial-pack: the spatial-pack primitive for convolutions without groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._packed import dense_channels, packed_convolution, unpacked_input_convolution
from dlas_mlir.passes.primitives import NOT_SPATIAL, Primitive, packed_block

_FEW_CHANNELS = 4


@dataclass(frozen=True)
class SpatialPack(Primitive):
    """Lower convolutions marked `spatial-pack` to the packed form: activations NCHWc, weights OIHWio.

    Channel counts that the block does not divide are padded with zero weights. The input of up to four channels (an
    image) is read unpacked. The layout is that of Georganas et al., SC 2018, and of TVM's spatial pack.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "spatial-pack"}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x4x58x58x16xf32>
    %pw = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [16, 16] : ... -> tensor<4x4x3x3x16x16xf32>
    %py = linalg.generic {dlas.layer = "conv1", dlas.primitive = "spatial-pack"} ins(%px, %pw) outs(...)
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "spatial-pack"

    block: int = option(0, "channels in a block; 0: what the target loads as one vector", minimum=0)

    def applies(self, shape: ConvShape, target: Target) -> SpatialPack | str:
        if shape.linear:
            return NOT_SPATIAL
        if shape.groups > 1:
            return "it has groups (see grouped-spatial-pack and depthwise)"
        block = packed_block(self.block, shape, target)
        return replace(self, block=block)

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        if convolution.shape.in_channels <= _FEW_CHANNELS:
            return unpacked_input_convolution(convolution, self.block)
        channels = dense_channels(self.block, self.block, convolution.shape.in_channels)
        c_tile = self.block if channels.blocks > 1 else channels.depth
        weights = build.pack(convolution.weights_oihw(), [1, 0], [c_tile, self.block])
        return packed_convolution(convolution, channels, weights)


LowerSpatialPackPass = SpatialPack.as_pass()
