"""dlas-lower-winograd: 3x3 convolutions by Winograd's minimal filtering, in tiles of the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants, constant
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitives import NO_BLOCK, NOT_SPATIAL, Estimate, Primitive, block_of, initial, mark


@dataclass(frozen=True)
class _Transforms:
    """Those of F(m, 3), by which y = out ((kernel g) * (data d)): `data` [m + 2, m + 2] of a line of the input,
    `kernel` [m + 2, 3] of one of the weights, `out` [m, m + 2] of what their products sum up to."""

    data: Sequence[Sequence[float]]
    kernel: Sequence[Sequence[float]]
    out: Sequence[Sequence[float]]


# Lavin and Gray, section 4. The larger the tile, the larger the numbers, and the more bits are lost.
_TRANSFORMS = {
    2: _Transforms(
        data=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        kernel=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        out=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: _Transforms(
        data=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        kernel=(
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        out=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}


@dataclass(frozen=True)
class Winograd(Primitive):
    """Lower 3x3 convolutions marked `winograd` to Winograd's minimal filtering F(m x m, 3x3): (m + 2)^2 products for
    m^2 results, where the sum over the taps has 9 m^2. The input is transformed in overlapping tiles, first along
    columns and then along rows; for each of the (m + 2)^2 places of a tile there is a matrix product over the channels,
    with weights that are transformed at compile time; the last operation brings its results back to pixels.

    After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016).

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "winograd"}
        ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x4x58x58x16xf32>
    %a = linalg.generic ins(%px, %data : ..., tensor<6x6xf32>) outs(...) -> tensor<1x4x14x6x58x16xf32>
    %b = linalg.generic ins(%a, %data) outs(...) -> tensor<6x6x4x1x14x14x16xf32>
    %v = tensor.collapse_shape %b [[0, 1], [2], [3, 4, 5], [6]] : ... into tensor<36x4x196x16xf32>
    %c = linalg.generic {dlas.primitive = "winograd"} ins(%v, %u : ..., tensor<36x4x4x16x16xf32>) outs(...)
    %m = tensor.expand_shape %c [[0, 1], [2], [3, 4, 5], [6]] : ... into tensor<6x6x4x1x14x14x16xf32>
    %py = linalg.generic ins(%m, %out : ..., tensor<4x4x6x6xf32>) outs(...) -> tensor<1x4x56x56x16xf32>
    %1 = linalg.unpack %py inner_dims_pos = [1] inner_tiles = [16] : ... -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "winograd"

    block: int = option(0, "channels in a block; 0: the lanes of the target's vectors", minimum=0)
    tile: int = option(4, "rows and columns of the output in a tile: 2 or 4", minimum=2, maximum=4)

    def applies(self, shape: ConvShape, target: Target) -> Winograd | str:
        if shape.linear:
            return NOT_SPATIAL
        if shape.groups > 1:
            return "it has groups"
        if shape.kernel != (3, 3) or shape.strides != (1, 1) or shape.dilations != (1, 1):
            return "it is no 3x3 convolution without strides and dilations"
        if {shape.element, shape.weights, shape.accumulator} != {"f32"} or not shape.constant:
            return "its weights are no constants in float32, or its input is of another type"
        if self.tile not in _TRANSFORMS:
            return f"there is no transform for tiles of {self.tile}"
        block = block_of(self.block, target)
        if block is None:
            return NO_BLOCK
        if shape.in_channels % block or shape.out_channels % block:
            return f"blocks of {block} do not divide its channels"
        return replace(self, block=block)

    @classmethod
    def variants(cls, target: Target) -> tuple[Primitive, ...]:
        return (cls(), cls(tile=2))

    def estimate(self, shape: ConvShape, target: Target) -> Estimate | None:
        """The products, and what is moved around them: the image in lines and then in tiles, for each input channel;
        products and results, for each output channel; the weights, for each pair. It costs more the further beyond the
        cache that is, or where other threads have computed it."""
        if not isinstance(target, CpuTarget):
            return None
        side, (down, across), cost = self.tile + 2, self._tiles(shape), target.cost
        tiles, grown = shape.batch * down * across, side / self.tile
        pixels, weights = tiles * self.tile**2, side**2 * shape.in_channels * shape.out_channels
        # Each place of a tile has a matrix of weights of its own, which comes from beyond the cache by itself.
        far = cost.winograd_weight_far * side**2
        return Estimate(
            tiles * weights
            + _of_images(pixels * shape.in_channels * (grown + grown**2), cost.winograd_input, target)
            + _of_images(pixels * shape.out_channels * (grown**2 + 1), cost.winograd_output, target)
            + weights * (cost.winograd_weight + far * _beyond(weights / target.threads, target) ** 2)
            + cost.winograd_start * target.threads
        )

    def _tiles(self, shape: ConvShape) -> tuple[int, int]:
        """The tiles of an image, down and across."""
        oh, ow = shape.out_size
        return -(-oh // self.tile), -(-ow // self.tile)

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        shape = convolution.shape
        data = self._transformed_input(convolution)
        product = self._products(convolution, data)
        pixels = self._transformed_back(convolution, product)
        return build.unpack(pixels, [1], shape.result_nchw)

    def _transformed_input(self, convolution: Convolution) -> ir.Value:
        """[places of a tile, C/c, tiles, c]."""
        shape, tile, lanes, dim = convolution.shape, self.tile, self.block, affine.dim
        side, blocks, (down, across) = tile + 2, shape.in_channels // lanes, self._tiles(shape)
        # Tiles over the border: what is computed of this is not written.
        rest = [count * tile - size for count, size in zip((down, across), shape.out_size, strict=True)]
        image = convolution.input_nchw()
        if any(rest):
            image = build.pad(image, [0] * 4, [0, 0, *rest], build.zero(convolution.element))
        packed = build.pack(image, [1], [lanes])
        matrix = constant(np.array(_TRANSFORMS[tile].data, np.float32))
        n, cb, ty, y, w, c, tap = (dim(i) for i in range(7))
        columns = _contraction(
            [packed, matrix],
            _zeros([shape.batch, blocks, down, side, across * tile + 2, lanes]),
            [[n, cb, ty * tile + tap, w, c], [y, tap], [n, cb, ty, y, w, c]],
            ("n", "cb", "ty", "y", "w", "c", "r"),
        )
        y, x, cb, n, ty, tx, c, tap = (dim(i) for i in range(8))
        places = _contraction(
            [columns.results[0], matrix],
            _zeros([side, side, blocks, shape.batch, down, across, lanes]),
            [[n, cb, ty, y, tx * tile + tap, c], [x, tap], [y, x, cb, n, ty, tx, c]],
            ("y", "x", "cb", "n", "ty", "tx", "c", "s"),
        )
        return build.collapse(places.results[0], [[0, 1], [2], [3, 4, 5], [6]])

    def _products(self, convolution: Convolution, data: ir.Value) -> ir.Value:
        """[rows of a tile, columns, K/k, N, tiles down, tiles across, k]: what there is at each place of each tile."""
        shape, side, lanes = convolution.shape, self.tile + 2, self.block
        blocks, (down, across) = shape.out_channels // lanes, self._tiles(shape)
        p, kb, t, k, cb, c = (affine.dim(i) for i in range(6))
        product = _contraction(
            [data, constant(self._transformed_weights(convolution))],
            _zeros([side * side, blocks, shape.batch * down * across, lanes]),
            [[p, cb, t, c], [p, kb, cb, c, k], [p, kb, t, k]],
            ("p", "kb", "t", "k", "cb", "c"),
            reductions=2,
        )
        mark(product, convolution)
        tiles = [shape.batch, down, across]
        return build.expand(product.results[0], [[0, 1], [2], [3, 4, 5], [6]], [side, side, blocks, *tiles, lanes])

    def _transformed_weights(self, convolution: Convolution) -> np.ndarray:
        """[places of a tile, K/k, C/c, c, k]."""
        shape, lanes = convolution.shape, self.block
        weights = convolution.constant_oihw(Constants(convolution.op)).astype(np.float64)
        kernel = np.array(_TRANSFORMS[self.tile].kernel)
        places = np.einsum("yr,kcrs,xs->yxkc", kernel, weights, kernel).astype(np.float32)
        blocked = places.reshape(-1, shape.out_channels // lanes, lanes, shape.in_channels // lanes, lanes)
        return blocked.transpose(0, 1, 3, 4, 2)

    def _transformed_back(self, convolution: Convolution, product: ir.Value) -> ir.Value:
        """[N, K/k, OH, OW, k], added to the initial accumulator."""
        shape, tile, lanes = convolution.shape, self.tile, self.block
        out = np.array(_TRANSFORMS[tile].out, np.float32)
        matrix = constant(np.einsum("py,qx->pqyx", out, out))
        sizes = [shape.batch, shape.out_channels // lanes, *shape.out_size, lanes]
        start = initial(convolution, sizes, lambda value: build.pack(value, [1], [lanes], unread=True))
        n, kb, oh, ow, k, y, x = (affine.dim(i) for i in range(7))
        floor = ir.AffineExpr.get_floor_div
        pixels = _contraction(
            [product, matrix],
            start,
            [[y, x, kb, n, floor(oh, tile), floor(ow, tile), k], [oh % tile, ow % tile, y, x], [n, kb, oh, ow, k]],
            ("n", "kb", "oh", "ow", "k", "y", "x"),
            reductions=2,
        )
        return pixels.results[0]


LowerWinogradPass = Winograd.as_pass()


def _of_images(count: float, near: float, target: CpuTarget) -> float:
    """What it costs to write, or read, `count` elements that the kernels hand to one another."""
    others = target.cost.winograd_shared if target.threads > 1 else 0.0
    return count * (near + target.cost.winograd_far * max(others, _beyond(count, target)) ** 2)


def _beyond(count: float, target: CpuTarget) -> float:
    """How often the cache has to be doubled until `count` elements of float32 stay in it."""
    room = max(1.0, target.cost.winograd_share * target.l2_bytes)
    return math.log2(max(1.0, 4 * count / room))


def _zeros(sizes: list[int]) -> ir.Value:
    return build.fill(build.zero(ir.F32Type.get()), sizes)


def _contraction(
    inputs: Sequence[ir.Value],
    start: ir.Value,
    maps: Sequence[Sequence[ir.AffineExpr]],
    loops: Sequence[str],
    reductions: int = 1,
) -> ir.OpView:
    """The sum of products over the last `reductions` of `loops`."""
    kinds = ["parallel"] * (len(loops) - reductions) + ["reduction"] * reductions
    return build.generic(inputs, start, maps, kinds, build.multiply_accumulate, loops)
