"""The lanes of a vector: how an indexing map lays them out in memory, and which of them hold something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.position import Position
from dlas_mlir.ir import strides
from dlas_mlir.ir.strides import Span


@dataclass(frozen=True)
class Lanes:
    """How the lanes of a vector lie in the last dimension: at `offsets` from its first lane; None: scattered."""

    offsets: tuple[int, ...] | None

    def in_groups(self, width: int) -> Lanes:
        """The same in units of `width` elements."""
        if self.offsets is None or any(offset % width for offset in self.offsets):
            return Lanes(None)
        return Lanes(tuple(offset // width for offset in self.offsets))

    @property
    def broadcast(self) -> bool:
        return self.offsets is not None and not any(self.offsets)

    @property
    def contiguous(self) -> bool:
        return self.offsets == tuple(range(len(self.offsets or ())))


def lanes_of(exprs: Sequence[ir.AffineExpr], vector: int, lanes: int, spans: Sequence[Span]) -> Lanes:
    """How the lanes of `vector` lie, where the position of loop i is somewhere in `spans[i]`."""
    found = [strides.offsets(expr, vector, lanes, spans) for expr in exprs]
    if any(offsets is None or any(offsets) for offsets in found[:-1]):
        return Lanes(None)
    return Lanes(found[-1] if found else (0,) * lanes)


@dataclass(frozen=True)
class Vectors:
    """Vectors of `lanes` iterations of `loop`, of which `busy` hold something: the others are idle, where the loop is
    shorter than a vector. They stand behind the busy ones, or before them where a vector begins at a negative
    position."""

    loop: int
    lanes: int
    busy: int

    @staticmethod
    def full(loop: int, lanes: int) -> Vectors:
        """Vectors all of whose lanes hold something."""
        return Vectors(loop, lanes, lanes)

    @property
    def idle(self) -> bool:
        """Whether there are idle lanes."""
        return self.busy < self.lanes

    def first(self, position: Position) -> int:
        """The first busy lane of the vector at `position`."""
        return max(0, -position.constants[self.loop]) if self.idle else 0

    def pieces(self, position: Position) -> list[tuple[int, int]]:
        """The busy lanes as (first, count): all of them, or two powers of two that overlap."""
        if not self.idle:
            return [(0, self.lanes)]
        first = self.first(position)
        count = 1 << (self.busy.bit_length() - 1)
        return [(first, count), (first + self.busy - count, count)]

    def joined(self, position: Position, part: Callable[[int, int], ir.Value]) -> ir.Value:
        """The vector at `position`, of what `part` (of a first lane and a number of lanes) reads."""
        pieces = self.pieces(position)
        vectors = [part(start, count) for start, count in pieces]
        if len(vectors) == 1:
            return vectors[0]
        (first, count), (second, _) = pieces
        mask = [0] * self.lanes
        for lane in range(first, second + count):
            mask[lane] = lane - first if lane < first + count else lane - second + count
        return build.shuffle(vectors[0], vectors[1], mask)

    def parts(self, position: Position, vector: ir.Value) -> Iterator[tuple[int, ir.Value]]:
        """The busy lanes of `vector`, which stands at `position`, in vectors of their own: each with its first lane."""
        for first, count in self.pieces(position):
            yield first, build.shuffle(vector, vector, range(first, first + count)) if self.idle else vector
