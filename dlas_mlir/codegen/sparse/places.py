"""Where a sparse contraction reads its activations, in their flattened tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.region import Access
from dlas_mlir.ir import affine
from dlas_mlir.ir.linalg import shape_of
from dlas_mlir.ir.strides import Form, form_of
from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class Places:
    """The places of the activations `data`. `pixels` are the parallel loops but that of output channels."""

    data: Access
    nest: Nest
    pixels: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements the flattened tensor has."""
        return math.prod(shape_of(self.data.view.source))

    @property
    def first(self) -> int:
        """The place of the first pixel's first tap."""
        return int(self.at([0] * len(self.nest.extents)))

    @property
    def last(self) -> int:
        """The place of the last pixel's last tap."""
        return int(self.at([extent - 1 for extent in self.nest.extents]))

    def at(self, loops: list) -> np.ndarray:
        """The place for arrays of loop positions."""
        place, view = np.int64(0), self.data.view
        for expr, offset, stride in zip(self.data.exprs, view.offsets, self._strides(), strict=True):
            place = place + (affine.evaluate(expr, loops) + offset) * stride
        return np.asarray(place)

    def along(self, loop: int, positions: int | np.ndarray) -> np.ndarray:
        """How far from the first pixel those at `positions` of one loop are."""
        at: list = [0] * len(self.nest.extents)
        at[loop] = np.asarray(positions)
        return self.at(at) - self.first

    def distance(self, offsets: Sequence[int]) -> int:
        """How far the pixel at `offsets` in a register tile is from its first one."""
        distance = 0
        for loop in self.pixels:
            if loop == self.nest.lane.dim and self.nest.lanes > 1:
                distance += offsets[loop]
            else:
                distance += int(self.along(loop, offsets[loop]))
        return distance

    def pixel(self) -> ir.AffineExpr:
        """The place of a pixel's first tap, less the offset of the slice that is read, as an expression of loops."""
        zero, loops = affine.constant(0), range(len(self.nest.extents))
        pixels = [affine.dim(loop) if loop in self.pixels else zero for loop in loops]
        place = zero
        for expr, stride in zip(self.data.exprs, self._strides(), strict=True):
            place = place + affine.substitute(expr, pixels, len(pixels)) * stride
        return place

    def check(self) -> None:
        """A tap is equally far from the first one wherever the pixel is, and so are the pixels of each register tile
        from its first. Those of a vector are neighbours. Raises PassError where it is not so."""
        if not self._is_separable():
            raise PassError("the taps of a sparse contraction are not at constant distances from its pixels")
        for loop in self.pixels:
            tile = np.arange(self.nest.tiles[loop])
            origins = np.array(self.nest.origins(loop))[:, None]
            moved = self.along(loop, origins + tile) - self.along(loop, origins)
            if np.any(moved != self.along(loop, tile)):
                raise PassError("the register tile of a sparse contraction does not fit the layout of its activations")
            if loop == self.nest.lane.dim and self.nest.lanes > 1 and np.any(self.along(loop, tile) != tile):
                raise PassError("the lanes of a sparse contraction are not neighbours in its activations")

    def _is_separable(self) -> bool:
        """Whether the place is a sum of what each loop of pixels adds by itself, and of what all others do."""
        place, pixels = Form(0), set(self.pixels)
        for expr, stride in zip(self.data.exprs, self._strides(), strict=True):
            form = form_of(expr)
            if form is None:
                return False
            place = place.plus(form.times(stride))
        parts = [Form(0, frozenset({part})).dims() for part in place.terms]
        return all(len(dims) == 1 or not dims & pixels for dims in parts)

    def _strides(self) -> list[int]:
        strides = [1]
        for size in reversed(shape_of(self.data.view.source)[1:]):
            strides.insert(0, strides[0] * size)
        return strides
