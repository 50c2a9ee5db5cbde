"""dlas-lower-direct: the direct convolution, NCHW as imported or channels-last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._packed import KB, C, Channels, K, packed_convolution, unpacked_input_convolution
from dlas_mlir.passes.primitives import NOT_SPATIAL, Primitive, block_of, initial, mark

_floor = ir.AffineExpr.get_floor_div
_LAYOUTS = ("auto", "nhwc", "nchw", "nhwgc")


@dataclass(frozen=True)
class Direct(Primitive):
    """Lower convolutions marked `direct` to one loop nest without a blocked layout or a buffer of columns.

    The option `layout` says how activations lie. `nhwc` is channels-last ([N, 1, H, W, C]: one block of all channels)
    and vectorises over output channels. `nchw` leaves activations as the importer made them and vectorises over
    columns; so are convolutions done whose groups a vector of output channels would straddle (12 channels in 16 lanes,
    say). `nhwgc` is channels-last with the groups as a loop of their own: on a target without CPU vectors this is how
    groups of several output channels are done. `auto` takes the first of them that fits.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After, in `nhwc`:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x1x58x58x64xf32>
    %pw = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [64, 64] : ... -> tensor<1x1x3x3x64x64xf32>
    %py = linalg.generic {dlas.primitive = "direct"} ins(%px, %pw) outs(...) -> tensor<1x1x56x56x64xf32>
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [64] : ... -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "direct"

    layout: str = option("auto", "the layout of activations; auto: nhwc where it fits", choices=_LAYOUTS)

    def applies(self, shape: ConvShape, target: Target) -> Direct | str:
        if shape.linear:
            return NOT_SPATIAL
        lanes = block_of(0, target)
        if self.layout == "nchw":
            return self
        if self.layout == "nhwgc":
            return self if shape.groups > 1 else "it has no groups for layout=nhwgc"
        if lanes is None and shape.groups > 1 and shape.group_out > 1:
            return replace(self, layout="nhwgc")
        return replace(self, layout="nchw" if _straddles(shape, lanes or 1) else "nhwc")

    @classmethod
    def variants(cls, target: Target) -> tuple[Primitive, ...]:
        return (cls(), cls(layout="nchw"))

    def layout_of_images(self) -> str:
        return self.layout

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        if self.layout == "nhwgc":
            return _channels_last_by_groups(convolution)
        if self.layout == "nchw":
            return _nchw(convolution)
        shape, lanes = convolution.shape, block_of(0, target) or 1
        k_tile = -(-shape.out_channels // lanes) * lanes
        if shape.in_channels <= 4 and shape.groups == 1:
            return unpacked_input_convolution(convolution, k_tile)
        c_tile = -(-shape.in_channels // lanes) * lanes
        if shape.groups == 1:
            channels = Channels(c_tile, k_tile, 1, shape.in_channels, affine.dim(KB), affine.dim(C))
            weights = build.pack(convolution.weights_oihw(), [1, 0], [shape.in_channels, k_tile])
        else:
            size_in, size_out = shape.group_in, shape.group_out
            # The filler lanes of the output read as if there were more groups.
            c_tile = max(c_tile, -(-k_tile // size_out) * size_in)
            inner = affine.dim(K) if size_in == size_out == 1 else _floor(affine.dim(K), size_out) * size_in
            inner = inner if size_in == 1 else inner + affine.dim(C)
            channels = Channels(c_tile, k_tile, 1, size_in, affine.dim(KB), inner)
            weights = build.pack(convolution.weights_oihw(), [1, 0], [size_in, k_tile])
        return packed_convolution(convolution, channels, weights)


LowerDirectPass = Direct.as_pass()


def _straddles(shape: ConvShape, lanes: int) -> bool:
    """Whether a vector of output channels would hold a part of a group beside another."""
    size = shape.group_out
    return shape.groups > 1 and bool(size % lanes and lanes % size)


def _nchw(convolution: Convolution) -> ir.Value:
    """[N, C, H, W] x [K, C/G, R, S] as it is."""
    n, k, oh, ow, c, fh, fw = (affine.dim(i) for i in range(7))
    channel = c
    if convolution.shape.groups > 1:
        channel = _floor(k, convolution.shape.group_out) * convolution.shape.group_in + c
        if convolution.shape.group_in == convolution.shape.group_out == 1:
            channel = k
    maps = [[n, channel, *_pixel(convolution, (oh, ow), (fh, fw))], [k, c, fh, fw], [n, k, oh, ow]]
    start = initial(convolution, convolution.shape.result_nchw, lambda value: value)
    loops = ("n", "k", "oh", "ow", "c", "r", "s")
    return _loops(convolution, [convolution.input_nchw(), convolution.weights_oihw()], maps, start, loops)


def _channels_last_by_groups(convolution: Convolution) -> ir.Value:
    """[N, 1, H, W, C] x [G, R, S, C/G, K/G] with a loop over groups: the index of the channel is a sum, for compilers
    that do not take the division which finds an output channel's group."""
    n, oh, ow, g, k, fh, fw, c = (affine.dim(i) for i in range(8))
    groups, size_in, size_out = convolution.shape.groups, convolution.shape.group_in, convolution.shape.group_out
    data = build.pack(convolution.input_nchw(), [1], [convolution.shape.in_channels])
    weights = build.expand(
        convolution.weights_oihw(), [[0, 1], [2], [3], [4]], [groups, size_out, size_in, *convolution.shape.kernel]
    )
    weights = build.transpose(weights, [0, 3, 4, 2, 1])
    row, column = _pixel(convolution, (oh, ow), (fh, fw))
    maps = [[n, affine.constant(0), row, column, g * size_in + c], [g, fh, fw, c, k], [n, oh, ow, g, k]]
    shape = [convolution.shape.batch, *convolution.shape.out_size, groups, size_out]
    start = initial(
        convolution,
        shape,
        lambda value: build.expand(build.transpose(value, [0, 2, 3, 1]), [[0], [1], [2], [3, 4]], shape),
    )
    loops = ("n", "oh", "ow", "g", "k", "r", "s", "c")
    result = build.collapse(_loops(convolution, [data, weights], maps, start, loops), [[0], [1], [2], [3, 4]])
    unpacked = [convolution.shape.batch, convolution.shape.out_channels, *convolution.shape.out_size]
    packed = [shape[0], 1, *shape[1:3], convolution.shape.out_channels]
    return build.unpack(build.expand(result, [[0], [1, 2], [3], [4]], packed), [1], unpacked)


def _pixel(
    convolution: Convolution,
    out: tuple[ir.AffineExpr, ir.AffineExpr],
    tap: tuple[ir.AffineExpr, ir.AffineExpr],
) -> list[ir.AffineExpr]:
    """The row and column of the input that a pixel of the output reads."""
    strides, dilations = convolution.shape.strides, convolution.shape.dilations
    return [out[i] * strides[i] + tap[i] * dilations[i] for i in range(2)]


def _loops(
    convolution: Convolution,
    inputs: list[ir.Value],
    maps: list[list[ir.AffineExpr]],
    start: ir.Value,
    loops: tuple[str, ...],
) -> ir.Value:
    kinds = ["parallel"] * len(maps[-1]) + ["reduction"] * 3
    generic = build.generic(inputs, start, maps, kinds, convolution.multiply_accumulate, loops)
    mark(generic, convolution)
    return generic.results[0]
