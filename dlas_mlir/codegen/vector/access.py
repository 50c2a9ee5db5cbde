"""Reading and writing the lanes of a vector through an indexing map."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dot
from dlas_mlir.codegen.region import Access
from dlas_mlir.ir import affine, strides
from dlas_mlir.ir import build as tensors
from dlas_mlir.ir.strides import Span


@dataclass(frozen=True)
class Position:
    """Where a kernel stands: for each loop an index value (None: its first iteration) plus a constant."""

    values: tuple[ir.Value | None, ...]
    constants: tuple[int, ...]

    def at(self, loop: int, extra: int) -> Position:
        """This position, moved on by `extra` iterations of `loop`."""
        constants = list(self.constants)
        constants[loop] += extra
        return Position(self.values, tuple(constants))

    def moved(self, loop: int, value: ir.Value) -> Position:
        """This position with `loop` at the index `value`."""
        values = list(self.values)
        values[loop] = value
        return Position(tuple(values), self.constants)

    def plus(self, offsets: Sequence[int]) -> Position:
        """This position, moved on by an offset for each loop."""
        return Position(self.values, tuple(a + b for a, b in zip(self.constants, offsets, strict=True)))

    def index(self, expr: ir.AffineExpr, offset: int = 0) -> ir.Value:
        """The index value of `expr` + `offset` here."""
        result, operands = self.resolve(expr, offset)
        return build.apply(result, operands)

    def resolve(self, expr: ir.AffineExpr, offset: int = 0) -> tuple[ir.AffineExpr, list[ir.Value]]:
        """`expr` + `offset` here as an expression over index values."""
        used = sorted(loop for loop in affine.dims_of(expr) if self.values[loop] is not None)
        replaced = [affine.constant(constant) for constant in self.constants]
        for place, loop in enumerate(used):
            replaced[loop] = affine.dim(place) + affine.constant(self.constants[loop])
        result = affine.substitute(expr, replaced, len(used)) + affine.constant(offset)
        result = ir.AffineExpr.simplify_affine_expr(result, len(used), 0)
        operands = [self.values[loop] for loop in used]
        return result, [operand for operand in operands if operand is not None]


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


class Reader:
    """Loads the vectors of a kernel's inputs, each distinct one once per block. `spans` holds for each loop where the
    value of a position may be, if it has one."""

    def __init__(self, tensors: dict[ir.Value, ir.Value], vector: int, lanes: int, spans: Sequence[Span]) -> None:
        self.tensors = tensors
        self.vector, self.lanes, self.spans = vector, lanes, spans
        self._lanes: dict[tuple, Lanes] = {}
        self._done: dict[tuple, ir.Value] = {}
        self._flat: dict[tuple[ir.Value, int], ir.Value] = {}

    def forget(self) -> dict[tuple, ir.Value]:
        """Start a new block: what was loaded before may not dominate it. Returns the memory for `restore`."""
        before, self._done = self._done, {}
        return before

    def restore(self, memory: dict[tuple, ir.Value]) -> None:
        """Go back to an outer block."""
        self._done = memory

    def read(self, access: Access, position: Position) -> ir.Value:
        """The vector of `access` whose first lane is at `position`."""
        key = (access, _places(access.exprs, position, self.vector))
        if key not in self._done:
            self._done[key] = self._load(access, position)
        return self._done[key]

    def _lanes_of(self, access: Access, position: Position) -> Lanes:
        loops = range(len(position.values))
        known = tuple(position.values[loop] is None for loop in loops)
        key = (access.exprs, position.constants, known)
        if key not in self._lanes:
            at = [(Span(0, 0) if known[loop] else self.spans[loop]).plus(position.constants[loop]) for loop in loops]
            self._lanes[key] = lanes_of(access.exprs, self.vector, self.lanes, at)
        return self._lanes[key]

    def _load(self, access: Access, position: Position) -> ir.Value:
        lanes = self._lanes_of(access, position)
        if access.dot is not None:
            lanes = lanes.in_groups(access.dot.width)
        if lanes.broadcast:
            return self._broadcast(self._scalar(access, position))
        if lanes.contiguous:
            return self._vector(access, position, 0, self.lanes)
        if lanes.offsets is None:
            return self._gather(access, position)
        return self._shuffled(access, position, lanes.offsets)

    def _indices(self, access: Access, position: Position, extra: int = 0) -> list[ir.Value]:
        last = len(access.exprs) - 1
        return [
            position.index(expr, access.view.offsets[i] + (extra if i == last else 0))
            for i, expr in enumerate(access.exprs)
        ]

    def _scalar(self, access: Access, position: Position) -> ir.Value:
        if access.dot is not None:
            group = self._vector(access, position, 0, 1)
            return ir.Operation.create(
                "vector.extract",
                results=[ir.VectorType(group.type).element_type],
                operands=[group],
                attributes={"static_position": ir.DenseI64ArrayAttr.get([0])},
            ).result
        source = self.tensors[access.view.source]
        element = ir.RankedTensorType(source.type).element_type
        indices = self._indices(access, position)
        return ir.Operation.create("tensor.extract", results=[element], operands=[source, *indices]).result

    def _broadcast(self, scalar: ir.Value) -> ir.Value:
        kind = ir.VectorType.get([self.lanes], scalar.type)
        return ir.Operation.create("vector.broadcast", results=[kind], operands=[scalar]).result

    def _vector(self, access: Access, position: Position, extra: int, lanes: int) -> ir.Value:
        source, width = self.tensors[access.view.source], access.dot.width if access.dot else 1
        exprs = len(access.exprs)
        if exprs < ir.RankedTensorType(source.type).rank:
            source = self._collapsed(access.view.source, exprs)
        vector = build.read_vector(source, self._indices(access, position, extra * width), lanes * width)
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
        scalars = [self._scalar(access, position.at(self.vector, lane)) for lane in range(self.lanes)]
        kind = ir.VectorType.get([self.lanes], scalars[0].type)
        return ir.Operation.create("vector.from_elements", results=[kind], operands=scalars).result

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
            mask = [start + offset for offset in offsets]
            return self._shuffle(first, first, mask)
        if window <= lanes:
            first = self._vector(access, position, least, window)
            return self._shuffle(first, first, list(offsets))
        first = self._vector(access, position, least, lanes)
        second = self._vector(access, position, least + window - lanes, lanes)
        shift = 2 * lanes - window
        return self._shuffle(first, second, [o if o < lanes else o + shift for o in offsets])

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

    def _shuffle(self, first: ir.Value, second: ir.Value, mask: list[int]) -> ir.Value:
        element = ir.VectorType(first.type).element_type
        return ir.Operation.create(
            "vector.shuffle",
            results=[ir.VectorType.get([len(mask)], element)],
            operands=[first, second],
            attributes={"mask": ir.DenseI64ArrayAttr.get(mask)},
        ).result


def _places(exprs: Sequence[ir.AffineExpr], position: Position, *loops: int) -> tuple:
    """What of `position` decides where `exprs` are, and where it is in `loops`."""
    read = set().union(*(affine.dims_of(expr) for expr in exprs), loops) if exprs else set()
    return tuple((loop, position.constants[loop], position.values[loop]) for loop in sorted(read))


def write(
    vector: ir.Value, tile: ir.Value, indices: list[ir.Value], lanes: int, lane_dim: int, scattered: bool
) -> ir.Value:
    """`tile` with the lanes written along dimension `lane_dim`: at once if it is the last, else one by one."""
    if not scattered:
        return build.write_vector(vector, tile, indices)
    element = ir.VectorType(vector.type).element_type
    for lane in range(lanes):
        scalar = ir.Operation.create(
            "vector.extract",
            results=[element],
            operands=[vector],
            attributes={"static_position": ir.DenseI64ArrayAttr.get([lane])},
        ).result
        place = list(indices)
        place[lane_dim] = build.apply(affine.dim(0) + affine.constant(lane), [indices[lane_dim]])
        tile = ir.Operation.create("tensor.insert", results=[tile.type], operands=[scalar, tile, *place]).result
    return tile
