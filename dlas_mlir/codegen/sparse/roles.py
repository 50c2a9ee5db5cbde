"""What the loops of a sparse contraction are to its schedules: pixels in lanes, output channels in blocks, and sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlas_mlir.codegen.workload import Access, Sparsity, Workload
from dlas_mlir.ir.strides import Form

ELEMENT_BYTES = 4


@dataclass(frozen=True)
class SparseRoles:
    """A workload with sparse weights: the root's first input holds the activations, the second the weights."""

    workload: Workload

    @property
    def sparsity(self) -> Sparsity:
        """The blocks of weights that are not zero."""
        assert self.workload.sparsity is not None
        return self.workload.sparsity

    def _access(self, number: int) -> Access:
        item = self.workload.root.inputs[number]
        assert isinstance(item, Access)
        return item

    @cached_property
    def channel(self) -> str:
        """The loop over output channels."""
        weights = self.workload.loops_of(self._access(1))
        return next(loop for loop in self.workload.out if loop in weights and loop is not None)

    @cached_property
    def pixels(self) -> tuple[str, ...]:
        """The loops over pixels."""
        return tuple(loop for loop in self.workload.out if loop is not None and loop != self.channel)

    @property
    def vector(self) -> str:
        """The loop whose iterations are lanes."""
        return self.pixels[-1]

    @property
    def row(self) -> str | None:
        """The loop over rows of pixels; None where there is but one loop of pixels."""
        return self.pixels[-2] if len(self.pixels) > 1 else None

    @property
    def order(self) -> tuple[str, ...]:
        """The parallel loops from the outermost in."""
        return (*self.pixels, self.channel)

    @property
    def width(self) -> int:
        return self.workload.extents[self.vector]

    @property
    def height(self) -> int:
        return 1 if self.row is None else self.workload.extents[self.row]

    @property
    def depth(self) -> int:
        """The extent of the outermost reduction, which is done in chunks."""
        return self.workload.extents[self.workload.reductions[0]]

    @cached_property
    def window(self) -> int:
        """The taps of one channel."""
        return math.prod(self.workload.extents[loop] for loop in self.workload.reductions[1:])

    @cached_property
    def period(self) -> int:
        """How many rows of pixels are equally far from each other in the activations: those of a packed tile."""
        if self.row is None or self.height == 1:
            return 1
        distances = np.diff(self._place({self.row: np.arange(self.height)}))
        changes = np.flatnonzero(distances != distances[0])
        return int(changes[0]) + 1 if changes.size else self.height

    @cached_property
    def _last(self) -> Form:
        return self.workload.forms(self._access(0))[-1]

    @property
    def lies_in_lanes(self) -> bool:
        """Whether the innermost dimension of the activations follows the vector loop."""
        return self.workload.names.index(self.vector) in self._last.dims()

    def _place(self, positions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Where the activation is, in bytes, for arrays of positions of some loops; the others are at 0."""
        access = self._access(0)
        loops = [positions.get(name, np.int64(0)) for name in self.workload.names]
        place, stride = np.int64(0), ELEMENT_BYTES
        shape = self.workload.tensors[access.tensor].shape
        for form, size in zip(reversed(self.workload.forms(access)), reversed(shape), strict=True):
            place = place + form.at(loops) * stride
            stride *= size
        return np.asarray(place)

    def lines(self, rows: int, columns: int, size: int, *inner: str) -> int:
        """Cache lines of `size` bytes of the activations that a tile of `rows` x `columns` pixels reads of one channel
        (step of the outermost reduction), for all taps of the reductions `inner`, the first of the others."""
        grid = np.indices([rows, columns, *(self.workload.extents[loop] for loop in inner)])
        positions = dict(zip((self.vector, *inner), grid[1:], strict=True))
        if self.row is not None:
            positions[self.row] = grid[0]
        return len(np.unique(self._place(positions) // size))
