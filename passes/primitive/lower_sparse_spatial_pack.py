"""dlas-lower-sparse-spatial-pack: activations packed in spatial tiles, and a sparse direct convolution inside each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.simt import nonzeros
from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.conv import Convolution
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.opt.base import option
from dlas_mlir.passes.primitive._sparse import SparsePrimitive, contraction, group_channel, padded_to, start_nchw
from dlas_mlir.passes.primitives import NOT_SPATIAL

_floor = ir.AffineExpr.get_floor_div


@dataclass(frozen=True)
class SparseSpatialPack(SparsePrimitive):
    """Lower convolutions marked `sparse-spatial-pack` to a packing of the activations in spatial tiles, each with the
    halo that its taps read, [N, OH/v, C, V, W], and a contraction that reads each tile of v rows of the output from one
    contiguous piece of memory. With a column stride s, columns of the same remainder by s lie beside each other in it.

    v is the largest divisor of the output's rows with which a tile takes half of the second-level cache (on a GPU the
    least of 8 and more), or the option `rows`. The layout is that of the spatial pack of TVM for Arm CPUs, of which the
    DLAS study had a sparse variant.

    Before:
    ```mlir
    %s = "sparse_tensor.convert"(%w) : (tensor<64x64x3x3xf32>) -> tensor<64x64x3x3xf32, #csr>
    %1 = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-spatial-pack"}
        ins(%x, %s : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32, #csr>) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    After:
    ```mlir
    %tiles = linalg.generic ins(%x) outs(...) -> tensor<1x4x64x16x1x58xf32>
    %1 = linalg.generic {dlas.primitive = "sparse-spatial-pack", dlas.sparse = {block = 1, nonzeros = 3686},
        indexing_maps = [(n, k, oh, ow, c, fh, fw) -> (n, oh floordiv 14, c, oh mod 14 + fh, 0, ow + fw), ...]}
        ins(%tiles, %w) outs(%zeros) -> tensor<1x64x56x56xf32>
    ```
    """

    name: ClassVar[str] = "sparse-spatial-pack"

    rows: int = option(0, "rows of the output in a tile, a divisor of all; 0: by the target's cache", minimum=0)

    def applies(self, shape: ConvShape, target: Target) -> SparsePrimitive | str:
        if shape.linear and shape.encoding:
            return NOT_SPATIAL
        if self.rows and shape.out_size[0] % self.rows:
            return f"tiles of {self.rows} rows do not divide {shape.out_size[0]}"
        found = super().applies(shape, target)
        return found if isinstance(found, str) else replace(self, rows=self.rows or _rows(shape, target))

    def lower(self, convolution: Convolution, target: Target) -> ir.Value:
        n, k, oh, ow, c, fh, fw = (affine.dim(i) for i in range(7))
        (sh, sw), (dh, dw) = convolution.shape.strides, convolution.shape.dilations
        rows, tiles = self.rows, _tiles(convolution, self.rows)
        column = [affine.constant(0), ow + fw * dw]
        if sw > 1:
            column = [(fw * dw) % sw, ow + _floor(fw * dw, sw)]
        row = (
            [_floor(oh, rows), (oh % rows) * sh + fh * dh]
            if rows < convolution.shape.out_size[0]
            else [
                affine.constant(0),
                oh * sh + fh * dh,
            ]
        )
        maps = [
            [n, row[0], group_channel(convolution, k, c), row[1], *column],
            [k, c, fh, fw],
            [n, k, oh, ow],
        ]
        inputs = [tiles, convolution.weights_oihw()]
        return contraction(convolution, inputs, start_nchw(convolution), maps, "n", "k", "oh", "ow", "c", "r", "s")


LowerSparseSpatialPackPass = SparseSpatialPack.as_pass()


def _halo(shape: ConvShape, rows: int) -> int:
    """Rows of the input that a tile of `rows` rows of the output reads."""
    return (rows - 1) * shape.strides[0] + (shape.kernel[0] - 1) * shape.dilations[0] + 1


def _rows(shape: ConvShape, target: Target) -> int:
    height = shape.out_size[0]
    fitting = [rows for rows in range(1, height + 1) if height % rows == 0]
    if not isinstance(target, CpuTarget):
        # As many as a thread may have.
        return min((rows for rows in fitting if rows >= nonzeros.ROWS[-1]), default=height)
    row_bytes = shape.in_channels * shape.in_size[1] * 4
    most = target.cost.resident_share * target.l2_bytes
    return max((rows for rows in fitting if _halo(shape, rows) * row_bytes <= most), default=fitting[0])


def _tiles(convolution: Convolution, rows: int) -> ir.Value:
    """[N, C, H, W] to [N, OH/v, C, V, s, W/s]."""
    data = convolution.input_nchw()
    n, c, _, w = ir.RankedTensorType(data.type).shape
    stride = convolution.shape.strides[1]
    width = -(-w // stride)
    data = padded_to(data, width * stride)
    batch, tile, channel, row, phase, column = dims = [affine.dim(i) for i in range(6)]
    shape = [n, convolution.shape.out_size[0] // rows, c, _halo(convolution.shape, rows), stride, width]
    source = [batch, channel, tile * (rows * convolution.shape.strides[0]) + row, column * stride + phase]
    return build.generic(
        [data],
        build.empty(shape, convolution.element),
        [source, dims],
        ["parallel"] * 6,
        lambda value, _: value,
        ("n", "t", "c", "h", "p", "w"),
    ).results[0]
