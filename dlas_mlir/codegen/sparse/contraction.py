"""What a sparse contraction is: its operands, its loops, and its weights as rows of non-zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.sparse.places import Places
from dlas_mlir.codegen.sparse.rows import Rows, compress
from dlas_mlir.codegen.stages import Point
from dlas_mlir.ir import affine
from dlas_mlir.ir.constants import Constants
from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class Contraction:
    """The root of `region`, in blocks of `block` output channels (the loop `channel`)."""

    region: Region
    nest: Nest
    weights: Access
    places: Places
    block: int
    channel: int

    @staticmethod
    def of(region: Region, nest: Nest) -> Contraction:
        """Raises PassError for a region or a nest that no kernel of non-zeros can do."""
        sparsity = nest.workload.sparsity
        assert sparsity is not None
        data, weights = region.root.inputs[:2]
        if len(region.root.inputs) != 2 or not isinstance(data, Access) or not isinstance(weights, Access):
            raise PassError("a sparse contraction reads activations and weights", region.op)
        channel = _channel_loop(nest, weights, sparsity.block)
        pixels = tuple(axis.dim for axis in nest.cache if axis.dim != channel)
        return Contraction(region, nest, weights, Places(data, nest, pixels), sparsity.block, channel)

    @property
    def chunks(self) -> int:
        """In how many parts the outermost reduction is done, one after the other."""
        return math.prod(axis.count for axis in self.nest.chunk)

    def rows(self, narrow: bool = True) -> Rows:
        """The non-zeros; with `narrow` their places have 16 bits where that is enough. Raises PassError where
        the weights are not constant, or the activations are not at constant distances."""
        extents, reductions = self.nest.extents, [axis.dim for axis in self.nest.reduce]
        array = Constants(self.region.op).read(self.weights.view.source)
        if array is None or any(self.weights.view.offsets):
            raise PassError("the weights of a sparse contraction are not constant")
        taps = np.indices([extents[loop] for loop in reductions]).reshape(len(reductions), -1)
        loops: list = [0] * len(self.nest.extents)
        loops[self.channel] = np.arange(extents[self.channel])[:, None]
        for loop, positions in zip(reductions, taps, strict=True):
            loops[loop] = positions[None, :]
        shape = (extents[self.channel], taps.shape[1])
        matrix = array[tuple(np.broadcast_to(affine.evaluate(expr, loops), shape) for expr in self.weights.exprs)]
        self.places.check()
        return compress(matrix, np.broadcast_to(self.places.at(loops), shape), self.block, self.chunks, narrow)

    def points(self) -> list[Point]:
        """The vectors of a register tile: each of pixels, for all channels of the block. Vectors overlap where they do
        not divide the tile."""
        nest = self.nest
        rows = [loop for loop in self.places.pixels if loop != nest.lane.dim]
        points = []
        for combination in np.ndindex(*(nest.tiles[loop] for loop in rows)):
            offsets = [0] * len(nest.extents)
            for loop, offset in zip(rows, combination, strict=True):
                offsets[loop] = int(offset)
            for start in self._starts(offsets):
                for channel in range(self.block):
                    offsets[nest.lane.dim], offsets[self.channel] = start, channel
                    points.append(tuple(offsets))
        return points

    def _starts(self, row: list[int]) -> list[int]:
        """Where vectors begin in the tile of the vector loop. One that is wider than the tile has idle lanes: behind it
        or, in the last row, before it, where there is something to be read."""
        nest, places = self.nest, self.places
        lanes, width = nest.lanes, nest.tiles[nest.lane.dim]
        idle = lanes - width
        if idle <= 0:
            return [min(start, width - lanes) for start in range(0, width, lanes)]
        if width != nest.extents[nest.lane.dim]:
            raise PassError("only a vector of whole rows may have idle lanes")
        highest = places.last
        for loop in places.pixels:
            if loop != nest.lane.dim:
                highest -= int(places.along(loop, nest.tiles[loop] - 1) - places.along(loop, row[loop]))
        if highest + idle < places.size:
            return [0]
        if places.distance(row) + places.first >= idle:
            return [-idle]
        raise PassError("idle lanes would read beyond the activations")


def _channel_loop(nest: Nest, weights: Access, block: int) -> int:
    """The loop of output channels, which is the innermost parallel one."""
    *outer, channel = (axis.dim for axis in nest.cache)
    read = set().union(*(affine.dims_of(expr) for expr in weights.exprs))
    if any(loop in read and nest.extents[loop] > 1 for loop in outer):
        raise PassError("the output channels of a sparse contraction are its innermost parallel loop")
    if nest.tiles[channel] != block or channel == nest.lane.dim:
        raise PassError("the register tile of output channels is not the block of the encoding")
    return channel
