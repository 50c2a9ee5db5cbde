"""The packed convolution: activations [N, C/c, H, W, c], weights [K/k, C/c, R, S, c, k], one linalg.generic."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.passes.primitives import initial, mark

# The loops, parallel ones first. CI is the block of input channels, C the channel in it.
N, KB, OH, OW, K, CI, FH, FW, C = range(9)
KINDS = ["parallel"] * 5 + ["reduction"] * 4
_LOOPS = ("n", "kb", "oh", "ow", "k", "cb", "r", "s", "c")
# Where the input is read unpacked.
_UNPACKED_LOOPS = ("n", "kb", "oh", "ow", "k", "c", "r", "s")


@dataclass(frozen=True)
class Channels:
    """Which input channels an output channel reads: `block` and `inner` index the packed input (over the loops),
    `c_tile` is the block of input channels of the layout, `blocks` and `depth` are the extents of CI and C.

    No real output may read a filler lane, not even to multiply it by zero: it may hold an infinity or a NaN."""

    c_tile: int
    k_tile: int
    blocks: int
    depth: int
    block: ir.AffineExpr
    inner: ir.AffineExpr


def spatial(convolution: Convolution) -> tuple[ir.AffineExpr, ir.AffineExpr]:
    """The row and column of the input that are read."""
    dim, (sh, sw), (dh, dw) = affine.dim, convolution.shape.strides, convolution.shape.dilations
    return dim(OH) * sh + dim(FH) * dh, dim(OW) * sw + dim(FW) * dw


def packed_convolution(convolution: Convolution, channels: Channels, weights: ir.Value) -> ir.Value:
    """Build the packed form of `convolution` for `weights` [K/k, CI, R, S, C, k]; returns [N, K, OH, OW]."""
    data = channels_of_block(build.pack(convolution.input_nchw(), [1], [channels.c_tile], unread=True), channels)
    row, column = spatial(convolution)
    dim = affine.dim
    maps = [
        [dim(N), channels.block, row, column, channels.inner],
        [dim(KB), dim(CI), dim(FH), dim(FW), dim(C), dim(K)],
        [dim(N), dim(KB), dim(OH), dim(OW), dim(K)],
    ]
    return _finish(convolution, channels.k_tile, [data, weights], maps, KINDS, _LOOPS)


def channels_of_block(data: ir.Value, channels: Channels) -> ir.Value:
    """The packed input without the lanes behind those that the loop C runs over, where it runs over lanes."""
    shape = list(ir.RankedTensorType(data.type).shape)
    if not affine.is_dim(channels.inner, C) or channels.depth == shape[-1]:
        return data
    return build.extract_slice(data, [0] * len(shape), [*shape[:-1], channels.depth])


def unpacked_input_convolution(convolution: Convolution, k_tile: int) -> ir.Value:
    """The same with the input read as it is, [N, C, H, W]: for a network's first layer, whose few channels would
    only be padded. Weights are [K/k, C, R, S, k]."""
    weights = build.pack(convolution.weights_oihw(), [0], [k_tile])
    dim, (sh, sw), (dh, dw) = affine.dim, convolution.shape.strides, convolution.shape.dilations
    c, fh, fw = 5, 6, 7
    maps = [
        [dim(N), dim(c), dim(OH) * sh + dim(fh) * dh, dim(OW) * sw + dim(fw) * dw],
        [dim(KB), dim(c), dim(fh), dim(fw), dim(K)],
        [dim(N), dim(KB), dim(OH), dim(OW), dim(K)],
    ]
    kinds = ["parallel"] * 5 + ["reduction"] * 3
    return _finish(convolution, k_tile, [convolution.input_nchw(), weights], maps, kinds, _UNPACKED_LOOPS)


def _finish(
    convolution: Convolution,
    k_tile: int,
    inputs: list[ir.Value],
    maps: list[list[ir.AffineExpr]],
    kinds: list[str],
    loops: tuple[str, ...],
) -> ir.Value:
    n, k, (oh, ow) = convolution.shape.batch, convolution.shape.out_channels, convolution.shape.out_size
    shape = [n, -(-k // k_tile), oh, ow, k_tile]
    start = initial(convolution, shape, lambda value: build.pack(value, [1], [k_tile], unread=True))
    if convolution.shape.depthwise and sums_in_float(convolution):
        sums = _depthwise_sums_in_float(convolution, start, inputs, maps, loops)
        return build.unpack(sums, [1], [n, k, oh, ow])
    generic = build.generic(inputs, start, maps, kinds, convolution.multiply_accumulate, loops)
    mark(generic, convolution)
    return build.unpack(generic.results[0], [1], [n, k, oh, ow])


def sums_in_float(convolution: Convolution) -> bool:
    """Whether the operands are 8-bit codes, added in 32 bits, whose sums are exact in float32, which has 24 bits."""
    taps = convolution.shape.kernel[0] * convolution.shape.kernel[1] * convolution.shape.group_in
    kinds = [convolution.element, build.element_type(convolution.weights), convolution.accumulator]
    return [str(kind) for kind in kinds] == ["i8", "i8", "i32"] and taps * 255 * 255 < 2**24


def _depthwise_sums_in_float(
    convolution: Convolution,
    start: ir.Value,
    inputs: list[ir.Value],
    maps: list[list[ir.AffineExpr]],
    loops: tuple[str, ...],
) -> ir.Value:
    """Codes are converted to float32 once and then multiplied and added by one instruction, where integers would need
    two: without a sum over channels there is nothing for a dot product."""
    f32, i32 = ir.F32Type.get(), convolution.accumulator
    shape = list(ir.RankedTensorType(start.type).shape)
    to_float = [arith.sitofp if convolution.is_signed(place) else arith.uitofp for place in range(2)]

    def body(a: ir.Value, b: ir.Value, accumulator: ir.Value) -> ir.Value:
        return build.multiply_accumulate(to_float[0](f32, a), to_float[1](f32, b), accumulator)

    generic = build.generic(inputs, build.fill(build.zero(f32), shape), maps, KINDS, body, loops)
    mark(generic, convolution)
    uniform = convolution.uniform_initial()

    def integer(total: ir.Value, *first: ir.Value) -> ir.Value:
        whole = arith.fptosi(i32, total)
        if uniform is None:
            return arith.addi(first[0], whole)
        return arith.addi(arith.constant(i32, uniform), whole) if uniform.value else whole  # type: ignore[attr-defined]

    added = [start] if uniform is None else []
    identity = [affine.dim(i) for i in range(5)]
    sums = build.generic(
        [generic.results[0], *added],
        build.empty(shape, i32),
        [identity] * (2 + len(added)),
        ["parallel"] * 5,
        integer,
        loops[:5],
    )
    return sums.results[0]


def dense_channels(c_tile: int, k_tile: int, in_channels: int) -> Channels:
    """Every output channel reads every input channel. Where the block does not divide them, one loop runs over exactly
    the channels that there are, across the blocks."""
    c = affine.dim(C)
    if in_channels % c_tile:
        return Channels(c_tile, k_tile, 1, in_channels, ir.AffineExpr.get_floor_div(c, c_tile), c % c_tile)
    return Channels(c_tile, k_tile, in_channels // c_tile, c_tile, affine.dim(CI), c)
