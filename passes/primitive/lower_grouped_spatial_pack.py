"""dlas-lower-grouped-spatial-pack: spatial pack for grouped convolutions (GSPC)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.target import Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._packed import CI, KB, C, Channels, K, packed_convolution
from dlas_mlir.passes.primitives import Primitive, packed_block

_floor = ir.AffineExpr.get_floor_div


@dataclass(frozen=True)
class GroupedSpatialPack(Primitive):
    """Lower grouped convolutions marked `grouped-spatial-pack` to the packed form, in the layout of their neighbours.

    After Gibson et al., "Optimizing Grouped Convolutions on Edge Devices" (ASAP 2020), groups are no loop of their
    own here: the blocks of output channels are, and each knows the block of input channels that its group starts
    at. So no data is laid out again between grouped and ungrouped layers. There are three forms:
    - groups of whole output blocks: an output block reads the channels of its group;
    - groups within a block (4 channels in blocks of 16, say): lane k reads channel c of its own group, by a shuffle;
      what an output block reads lies in one input block;
    - all others, of integers with constant weights: an output block reads the band of blocks that its channels' groups
      touch, with zero weights between them. (Zero times an infinity of another group would be NaN.)

    Before:
    ```mlir
    %1 = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
        ins(%x, %w : tensor<1x4x32x30x30xf32>, tensor<4x32x32x3x3xf32>) outs(%zeros) -> tensor<1x4x32x28x28xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x4 inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x8x30x30x16xf32>
    %py = linalg.generic {indexing_maps = [affine_map<(n, kb, oh, ow, k, ci, fh, fw, c)
        -> (n, (kb floordiv 2) * 2 + ci, oh + fh, ow + fw, c)>, ...]} ins(%px, %pw) outs(...)
    ```
    """

    name: ClassVar[str] = "grouped-spatial-pack"

    block: int = option(0, "channels in a block; 0: what the target loads as one vector", minimum=0)

    def applies(self, shape: ConvShape, target: Target) -> GroupedSpatialPack | str:
        if shape.groups == 1:
            return "it has no groups"
        block = packed_block(self.block, shape, target)
        if not _fits(shape, block):
            if not shape.integer:
                return f"groups of {shape.group_in}->{shape.group_out} channels straddle blocks of {block}"
            if not shape.constant:
                return f"groups of {shape.group_in}->{shape.group_out} channels need constant weights"
        return replace(self, block=block)

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        shape, block = convolution.shape, self.block
        # In a band integers are added by dot products, of which a shuffle has none.
        even = _whole_blocks(shape, block) or shape.group_in == shape.group_out
        if not _fits(shape, block) or (shape.integer and shape.constant and not even):
            return packed_convolution(convolution, *_banded(convolution, block))
        channels = _exact(shape, block)
        weights = build.pack(convolution.weights_oihw(), [1, 0], [channels.depth, block])
        return packed_convolution(convolution, channels, weights)


LowerGroupedSpatialPackPass = GroupedSpatialPack.as_pass()


def _whole_blocks(shape: ConvShape, block: int) -> bool:
    return shape.group_in % block == 0 and shape.group_out % block == 0


def _fits(shape: ConvShape, block: int) -> bool:
    """Whether no group straddles blocks, so that an output channel can read the channels of its group and no others."""
    if shape.group_out % block == 0:
        return True
    # Several groups in an output block.
    return block % shape.group_out == 0 and block % (block // shape.group_out * shape.group_in) == 0


def _exact(shape: ConvShape, block: int) -> Channels:
    """The channels that each output channel's group has, and no others; for groups that fit."""
    size_in, size_out = shape.group_in, shape.group_out
    k, kb, c = affine.dim(K), affine.dim(KB), affine.dim(C)
    if _whole_blocks(shape, block):
        start = _floor(kb, size_out // block) * (size_in // block) + affine.dim(CI)
        return Channels(block, block, size_in // block, block, start, c)
    if size_out % block == 0:
        group = _floor(kb, size_out // block)
        if block % size_in == 0:
            parts = block // size_in
            return Channels(block, block, 1, size_in, _floor(group, parts), (group % parts) * size_in + c)
        channel = group * size_in + c
        return Channels(block, block, 1, size_in, _floor(channel, block), channel % block)
    # Several groups in an output block, which read `span` channels.
    span = block // size_out * size_in
    inner = _floor(k, size_out) * size_in + c
    if span == block:
        return Channels(block, block, 1, size_in, kb, inner)
    return Channels(block, block, 1, size_in, _floor(kb, block // span), (kb % (block // span)) * span + inner)


def _bands(shape: ConvShape, block: int) -> tuple[list[int], int]:
    """For each block of output channels the first block of input channels that it reads, and how many it needs."""
    size_in, size_out = shape.group_in, shape.group_out
    starts, depth = [], 0
    for first in range(0, shape.out_channels, block):
        last = min(first + block, shape.out_channels) - 1
        start = first // size_out * size_in // block
        end = (last // size_out + 1) * size_in
        starts.append(start)
        depth = max(depth, -(-end // block) - start)
    return starts, depth


def _banded(convolution: Convolution, block: int) -> tuple[Channels, ir.Value]:
    """The band of input blocks of each output block, as an affine function of it, with zeros between the groups."""
    starts, depth = _bands(convolution.shape, block)
    in_blocks = -(-convolution.shape.in_channels // block)
    size_in, size_out = convolution.shape.group_in, convolution.shape.group_out
    expr = _floor(_floor(affine.dim(KB) * block, size_out) * size_in, block) + affine.dim(CI)
    if max(starts) + depth > in_blocks:
        # The last bands would read past the end: every output block reads everything.
        starts, depth, expr = [0] * len(starts), in_blocks, affine.dim(CI)
    weights = convolution.constant_oihw(Constants(convolution.op))
    k, c, r, s = weights.shape
    packed = np.zeros((len(starts), depth, r, s, block, block), weights.dtype)
    for out in range(k):
        kb, group = out // block, out // size_out
        for channel in range(c):
            place = group * size_in + channel - starts[kb] * block
            packed[kb, place // block, :, :, place % block, out % block] = weights[out, channel]
    return Channels(block, block, depth, block, expr, affine.dim(C)), constant(packed, "weights")
