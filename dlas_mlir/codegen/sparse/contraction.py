"""What a sparse contraction is: its operands, its loops, and its weights as rows of non-zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.sparse.attribute import Sparse
from dlas_mlir.codegen.sparse.places import Places
from dlas_mlir.codegen.sparse.rows import Rows, compress
from dlas_mlir.codegen.stages import Point
from dlas_mlir.codegen.tiling import Tiling
from dlas_mlir.ir import affine
from dlas_mlir.ir.constants import Constants
from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class Contraction:
    """The root of `region`, in blocks of `block` output channels (the loop `channel`), its outermost reduction in
    `chunks`."""

    region: Region
    tiling: Tiling
    weights: Access
    places: Places
    block: int
    channel: int
    chunks: int

    @staticmethod
    def of(region: Region, tiling: Tiling) -> Contraction:
        """Raises PassError for a region or a tiling that no kernel of non-zeros can do."""
        sparse = Sparse.of(region.root.op)
        assert sparse is not None
        data, weights = region.root.inputs[:2]
        if len(region.root.inputs) != 2 or not isinstance(data, Access) or not isinstance(weights, Access):
            raise PassError("a sparse contraction reads activations and weights", region.op)
        channel = _channel_loop(tiling, weights, sparse.block)
        chunk_loop = region.reductions[0]
        chunk = tiling.register[chunk_loop] if _can_hold_sums(region, tiling) else tiling.extents[chunk_loop]
        return Contraction(
            region=region,
            tiling=tiling,
            weights=weights,
            places=Places(data, tiling, tuple(loop for loop in tiling.parallel if loop != channel)),
            block=sparse.block,
            channel=channel,
            chunks=tiling.extents[chunk_loop] // chunk,
        )

    def rows(self) -> Rows:
        """The non-zeros. Raises PassError where the weights are not constant, or the activations are not at constant
        distances."""
        extents, reductions = self.tiling.extents, self.region.reductions
        array = Constants(self.region.op).read(self.weights.view.source)
        if array is None or any(self.weights.view.offsets):
            raise PassError("the weights of a sparse contraction are not constant")
        taps = np.indices([extents[loop] for loop in reductions]).reshape(len(reductions), -1)
        loops: list = [0] * self.tiling.loops
        loops[self.channel] = np.arange(extents[self.channel])[:, None]
        for loop, positions in zip(reductions, taps, strict=True):
            loops[loop] = positions[None, :]
        shape = (extents[self.channel], taps.shape[1])
        matrix = array[tuple(np.broadcast_to(affine.evaluate(expr, loops), shape) for expr in self.weights.exprs)]
        self.places.check()
        return compress(matrix, np.broadcast_to(self.places.at(loops), shape), self.block, self.chunks)

    def points(self) -> list[Point]:
        """The vectors of a register tile: each of pixels, for all channels of the block. Vectors overlap where they do
        not divide the tile."""
        tiling = self.tiling
        rows = [loop for loop in self.places.pixels if loop != tiling.vector]
        points = []
        for combination in np.ndindex(*(tiling.register[loop] for loop in rows)):
            offsets = [0] * tiling.loops
            for loop, offset in zip(rows, combination, strict=True):
                offsets[loop] = int(offset)
            for start in self._starts(offsets):
                for channel in range(self.block):
                    offsets[tiling.vector], offsets[self.channel] = start, channel
                    points.append(tuple(offsets))
        return points

    def _starts(self, row: list[int]) -> list[int]:
        """Where vectors begin in the tile of the vector loop. One that is wider than the tile has idle lanes: behind it
        or, in the last row, before it, where there is something to be read."""
        tiling, places = self.tiling, self.places
        lanes, width = tiling.lanes, tiling.register[tiling.vector]
        idle = lanes - width
        if idle <= 0:
            return [min(start, width - lanes) for start in range(0, width, lanes)]
        if width != tiling.extents[tiling.vector]:
            raise PassError("only a vector of whole rows may have idle lanes")
        highest = places.last
        for loop in places.pixels:
            if loop != tiling.vector:
                highest -= int(places.along(loop, tiling.register[loop] - 1) - places.along(loop, row[loop]))
        if highest + idle < places.size:
            return [0]
        if places.distance(row) + places.first >= idle:
            return [-idle]
        raise PassError("idle lanes would read beyond the activations")


def _channel_loop(tiling: Tiling, weights: Access, block: int) -> int:
    """The loop of output channels."""
    read = set().union(*(affine.dims_of(expr) for expr in weights.exprs))
    found = [loop for loop in sorted(tiling.parallel) if loop in read and tiling.extents[loop] > 1]
    found = found or [tiling.parallel[-1]]
    if len(found) != 1 or tiling.parallel[-1] != found[0]:
        raise PassError("the output channels of a sparse contraction are its innermost parallel loop")
    if tiling.register[found[0]] != block or found[0] == tiling.vector:
        raise PassError("the register tile of output channels is not the block of the encoding")
    return found[0]


def _can_hold_sums(region: Region, tiling: Tiling) -> bool:
    """Whether the sums of a chunk can be left in the result: its elements are the accumulator's, lanes together, and no
    other workgroup writes there meanwhile."""
    output = region.outputs[0]
    same = output.type.element_type == ir.RankedTensorType(region.root.result.type).element_type
    alone = all(tiling.extents[loop] % tiling.workgroup[loop] == 0 for loop in tiling.parallel)
    return same and alone and region.out_loops[-1] == tiling.vector
