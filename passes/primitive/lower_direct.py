"""dlas-lower-direct: the direct convolution, NCHW as imported or channels-last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.base import option
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.target import Target
from dlas_mlir.passes.primitive._lower import LowerPrimitivePass, is_filled_with_zero, mark
from dlas_mlir.passes.primitive._packed import KB, C, Channels, K, packed_convolution, unpacked_input_convolution

_floor = ir.AffineExpr.get_floor_div


@dataclass(frozen=True)
class LowerDirectPass(LowerPrimitivePass):
    """Lower convolutions marked `direct` to one loop nest without a blocked layout or a buffer of columns.

    `layout=nhwc` keeps activations channels-last ([N, 1, H, W, C]: one block of all channels) and vectorises over
    output channels. `layout=nchw` leaves activations as the importer made them and vectorises over columns; so are
    convolutions done whose groups a vector of output channels would straddle (12 channels in 16 lanes, say), and on a
    target without CPU vectors all whose groups have several output channels, with a loop over the groups.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After, with `layout=nhwc`:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x1x58x58x64xf32>
    %pw = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [64, 64] : ... -> tensor<1x1x3x3x64x64xf32>
    %py = linalg.generic {dlas.primitive = "direct"} ins(%px, %pw) outs(...) -> tensor<1x1x56x56x64xf32>
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "dlas-lower-direct"
    primitive: ClassVar[str] = "direct"

    layout: str = option("nhwc", "the layout of activations", choices=("nhwc", "nchw"))

    def refusal(self, convolution: Convolution, target: Target) -> str | None:
        return "a linear layer has no spatial dimensions" if convolution.linear else None

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        lanes = target.lanes() or 1
        if not target.lanes() and convolution.groups > 1 and convolution.group_out > 1:
            return _nchw_by_groups(convolution)
        if self.layout == "nchw" or _straddles(convolution, lanes):
            return _nchw(convolution)
        k_tile = -(-convolution.out_channels // lanes) * lanes
        if convolution.in_channels <= 4 and convolution.groups == 1:
            return unpacked_input_convolution(convolution, k_tile)
        c_tile = -(-convolution.in_channels // lanes) * lanes
        if convolution.groups == 1:
            channels = Channels(c_tile, k_tile, 1, c_tile, affine.dim(KB), affine.dim(C))
            weights = build.pack(convolution.weights_oihw(), [1, 0], [c_tile, k_tile])
        else:
            size_in, size_out = convolution.group_in, convolution.group_out
            # The filler lanes of the output read as if there were more groups.
            c_tile = max(c_tile, -(-k_tile // size_out) * size_in)
            inner = affine.dim(K) if size_in == size_out == 1 else _floor(affine.dim(K), size_out) * size_in
            inner = inner if size_in == 1 else inner + affine.dim(C)
            channels = Channels(c_tile, k_tile, 1, size_in, affine.dim(KB), inner)
            weights = build.pack(convolution.weights_oihw(), [1, 0], [size_in, k_tile])
        return packed_convolution(convolution, channels, weights)


def _straddles(convolution: Convolution, lanes: int) -> bool:
    """Whether a vector of output channels would hold a part of a group beside another."""
    size = convolution.group_out
    return convolution.groups > 1 and bool(size % lanes and lanes % size)


def _nchw(convolution: Convolution) -> ir.Value:
    """[N, C, H, W] x [K, C/G, R, S] as it is."""
    n, k, oh, ow, c, fh, fw = (affine.dim(i) for i in range(7))
    channel = c
    if convolution.groups > 1:
        channel = _floor(k, convolution.group_out) * convolution.group_in + c
        if convolution.group_in == convolution.group_out == 1:
            channel = k
    maps = [[n, channel, *_pixel(convolution, (oh, ow), (fh, fw))], [k, c, fh, fw], [n, k, oh, ow]]
    shape = [convolution.batch, convolution.out_channels, *convolution.out_size]
    return _loops(convolution, convolution.weights_oihw(), maps, shape)


def _nchw_by_groups(convolution: Convolution) -> ir.Value:
    """The same with a loop over groups: the index of the channel is a sum, for compilers that do not take the division
    which finds an output channel's group."""
    n, g, k, oh, ow, c, fh, fw = (affine.dim(i) for i in range(8))
    channel = g * convolution.group_in + c
    maps = [[n, channel, *_pixel(convolution, (oh, ow), (fh, fw))], [g, k, c, fh, fw], [n, g, k, oh, ow]]
    shape = [convolution.batch, convolution.groups, convolution.group_out, *convolution.out_size]
    sizes = [*shape[1:3], convolution.group_in, *convolution.kernel]
    weights = build.expand(convolution.weights_oihw(), [[0, 1], [2], [3], [4]], sizes)
    return build.collapse(_loops(convolution, weights, maps, shape), [[0], [1, 2], [3], [4]])


def _pixel(
    convolution: Convolution,
    out: tuple[ir.AffineExpr, ir.AffineExpr],
    tap: tuple[ir.AffineExpr, ir.AffineExpr],
) -> list[ir.AffineExpr]:
    """The row and column of the input that a pixel of the output reads."""
    strides, dilations = convolution.strides, convolution.dilations
    return [out[i] * strides[i] + tap[i] * dilations[i] for i in range(2)]


def _loops(convolution: Convolution, weights: ir.Value, maps: list[list[ir.AffineExpr]], shape: list[int]) -> ir.Value:
    if is_filled_with_zero(convolution.initial):
        start = build.fill(build.zero(convolution.element), shape)
    else:
        start = convolution.initial_nchw()
        start = start if len(shape) == 4 else build.expand(start, [[0], [1, 2], [3], [4]], shape)
    kinds = ["parallel"] * len(shape) + ["reduction"] * 3
    generic = build.generic([convolution.input_nchw(), weights], start, maps, kinds, build.multiply_accumulate)
    mark(generic, convolution)
    return generic.results[0]
