"""Reading the lanes of vectors through indexing maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build, dot
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.region import Access
from dlas_mlir.codegen.vector.lanes import Lanes, Vectors, lanes_of
from dlas_mlir.ir import affine
from dlas_mlir.ir import build as tensors
from dlas_mlir.ir.strides import Span


class Reader:
    """Loads the vectors of a kernel's inputs, each distinct one once per block. `tensors` holds what was loaded of each
    captured tensor, `spans` for each loop where the value of a position may be, if it has one."""

    def __init__(self, tensors: dict[ir.Value, ir.Value], vectors: Vectors, spans: Sequence[Span]) -> None:
        self.tensors = tensors
        self.vectors, self.lanes, self.spans = vectors, vectors.lanes, spans
        self._lanes: dict[tuple, Lanes] = {}
        self._done: dict[tuple, ir.Value] = {}
        self._flat: dict[tuple[ir.Value, int], ir.Value] = {}
        # A loop whose last step is written out behind it: an index value is none of that.
        self.apart: int | None = None

    def forget(self) -> dict[tuple, ir.Value]:
        """Start a new block: what was loaded before may not dominate it. Returns the memory for `restore`."""
        before, self._done = self._done, {}
        return before

    def restore(self, memory: dict[tuple, ir.Value]) -> None:
        """Go back to an outer block."""
        self._done = memory

    def read(self, access: Access, position: Position) -> ir.Value:
        """The vector of `access` whose first lane is at `position`."""
        key = (access, _places(access.exprs, position, self.vectors.loop))
        if key not in self._done:
            self._done[key] = self._without_filler(access, position, self._load(access, position))
        return self._done[key]

    def _without_filler(self, access: Access, position: Position, vector: ir.Value) -> ir.Value:
        """What was read for a dot product, with zeros for what the last step of a loop reads beyond the loop's end."""
        rest = access.rest
        if access.dot is None or rest is None:
            return vector
        begin, extra = position.values[rest.loop], position.constants[rest.loop]
        if begin is None:
            return dot.without_filler(access.dot, vector, rest.real, None) if extra == rest.last else vector
        if rest.loop == self.apart:
            return vector
        is_last = arith.cmpi(arith.CmpIPredicate.eq, begin, build.index(rest.last - extra))
        return dot.without_filler(access.dot, vector, rest.real, is_last)

    def flat(self, source: ir.Value) -> ir.Value:
        """All of a captured tensor in one dimension."""
        return self._collapsed(source, 1) if ir.RankedTensorType(source.type).rank > 1 else self.tensors[source]

    def _lanes_of(self, access: Access, position: Position) -> Lanes:
        loops = range(len(position.values))
        known = tuple(position.values[loop] is None for loop in loops)
        key = (access.exprs, position.constants, known)
        if key not in self._lanes:
            at = [(Span(0, 0) if known[loop] else self.spans[loop]).plus(position.constants[loop]) for loop in loops]
            self._lanes[key] = lanes_of(access.exprs, self.vectors.loop, self.lanes, at)
        return self._lanes[key]

    def _load(self, access: Access, position: Position) -> ir.Value:
        lanes = self._lanes_of(access, position)
        if access.dot is not None:
            lanes = lanes.in_groups(access.dot.width)
        if lanes.broadcast:
            return build.broadcast(self._scalar(access, position), self.lanes)
        if lanes.contiguous:
            return self.vectors.joined(position, lambda first, count: self._vector(access, position, first, count))
        if lanes.offsets is None or self.vectors.idle:
            return self._gather(access, position)
        return self._shuffled(access, position, lanes.offsets)

    def source(self, access: Access) -> ir.Value:
        """The tensor that vectors of `access` are read from: one dimension for each of its indices."""
        source, exprs = access.view.source, len(access.exprs)
        return self._collapsed(source, exprs) if exprs < ir.RankedTensorType(source.type).rank else self.tensors[source]

    def indices(self, access: Access, position: Position, extra: int = 0) -> list[ir.Value]:
        """Where in it what belongs to `position` is, `extra` elements on."""
        last = len(access.exprs) - 1
        return [
            position.index(expr, access.view.offsets[i] + (extra if i == last else 0))
            for i, expr in enumerate(access.exprs)
        ]

    def _scalar(self, access: Access, position: Position) -> ir.Value:
        if access.dot is not None:
            return build.lane(self._vector(access, position, 0, 1), 0)
        return build.extract(self.tensors[access.view.source], self.indices(access, position))

    def _vector(self, access: Access, position: Position, extra: int, lanes: int) -> ir.Value:
        """`lanes` neighbours from `extra` lanes behind `position` on."""
        width = access.dot.width if access.dot else 1
        indices = self.indices(access, position, extra * width)
        vector = build.read_vector(self.source(access), indices, lanes * width)
        return vector if access.dot is None else dot.as_lanes(access.dot, vector, access.signed)

    def _collapsed(self, source: ir.Value, rank: int) -> ir.Value:
        """The tensor with its last dimensions as one, where it was loaded."""
        key = (source, rank)
        if key not in self._flat:
            loaded = self.tensors[source]
            full = ir.RankedTensorType(loaded.type).rank
            groups = [[i] for i in range(rank - 1)] + [list(range(rank - 1, full))]
            with ir.InsertionPoint.after(loaded.owner):
                self._flat[key] = tensors.collapse(loaded, groups)
        return self._flat[key]

    def _gather(self, access: Access, position: Position) -> ir.Value:
        """The lanes one by one; idle ones hold what the first busy one does."""
        loop, first = self.vectors.loop, self.vectors.first(position)
        lanes = range(first, first + self.vectors.busy)
        scalars = {lane: self._scalar(access, position.at(loop, lane)) for lane in lanes}
        return build.from_scalars([scalars.get(lane, scalars[first]) for lane in range(self.lanes)])

    def _shuffled(self, access: Access, position: Position, offsets: tuple[int, ...]) -> ir.Value:
        """Lanes in a window: one or two contiguous loads and a shuffle."""
        least = min(offsets)
        offsets = tuple(offset - least for offset in offsets)
        window, lanes = max(offsets) + 1, self.lanes
        if window > 2 * lanes:
            return self._gather(access, position)
        start = self._aligned_start(access, position, least, window)
        if start is not None:
            first = self._whole_vector(access, position, start - least)
            return build.shuffle(first, first, [start + offset for offset in offsets])
        if window <= lanes:
            first = self._vector(access, position, least, window)
            return build.shuffle(first, first, offsets)
        first = self._vector(access, position, least, lanes)
        second = self._vector(access, position, least + window - lanes, lanes)
        shift = 2 * lanes - window
        return build.shuffle(first, second, [o if o < lanes else o + shift for o in offsets])

    def _aligned_start(self, access: Access, position: Position, least: int, window: int) -> int | None:
        """Where the window starts in the last dimension, if that is known and lies in the dimension's first vector.
        `least` is how far its start is from the first lane."""
        used = affine.dims_of(access.exprs[-1])
        if any(position.values[loop] is not None for loop in used) or access.view.offsets[-1]:
            return None
        start = affine.evaluate(access.exprs[-1], position.constants)
        size = ir.RankedTensorType(access.view.source.type).shape[-1]
        if access.dot is not None:
            if start % access.dot.width:
                return None
            start, size = start // access.dot.width, size // access.dot.width
        start += least
        return start if size >= self.lanes and start + window <= self.lanes else None

    def _whole_vector(self, access: Access, position: Position, first: int) -> ir.Value:
        """The vector from element 0 of the last dimension on, shared by all windows in it; the first lane is at element
        `first`."""
        outer = dataclasses.replace(access, exprs=(*access.exprs[:-1], affine.constant(0)))
        key = ("whole", outer, _places(access.exprs[:-1], position))
        if key not in self._done:
            self._done[key] = self._vector(access, position, -first, self.lanes)
        return self._done[key]


def _places(exprs: Sequence[ir.AffineExpr], position: Position, *loops: int) -> tuple:
    """What of `position` decides where `exprs` are, and where it is in `loops`."""
    read = set().union(*(affine.dims_of(expr) for expr in exprs), loops) if exprs else set()
    return tuple((loop, position.constants[loop], position.values[loop]) for loop in sorted(read))
