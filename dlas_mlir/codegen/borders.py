"""The padding around a kernel's results: in the tile of a workgroup, and apart where a dimension is split."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.dialects import arith, scf

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.region import Output
from dlas_mlir.codegen.tiles import Tiles
from dlas_mlir.ir import affine


@dataclass(frozen=True)
class Edge:
    """The padding on one side of a split dimension, and which of the dimension's workgroups writes it."""

    workgroup: ir.Value
    which: int
    start: int
    size: int


# One entry for each dimension: the edge that a border is at, or None for all of the tile.
Box = tuple[Edge | None, ...]


@dataclass(frozen=True)
class Borders:
    """Writes the padding of results. `workgroups` and `bases` hold for each split loop which workgroup along it this
    one is, and where its part begins."""

    tiles: Tiles
    workgroups: dict[int, ir.Value]
    bases: dict[int, ir.Value]

    def fill(self, output: Output, tile: ir.Value) -> ir.Value:
        """`tile` with the padding of the dimensions that are not split."""
        shape = self.tiles.shape(output)
        for i, loop in enumerate(self.tiles.out_loops):
            if self.tiles.nest.is_split(loop):
                continue
            strips = ((0, output.low[i]), (shape[i] - output.high[i], output.high[i]))
            for start, size in strips:
                if size:
                    offsets, sizes = [0] * len(shape), list(shape)
                    offsets[i], sizes[i] = start, size
                    tile = self._filled(tile, output, offsets, sizes)
        return tile

    def store(self, output: Output, tile: ir.Value, target: ir.Value) -> None:
        """Store the tile, and around split dimensions each strip and each corner, by the workgroup at that edge."""
        whole: Box = (None,) * len(self.tiles.out_loops)
        dispatch.store(tile, target, self._offsets(output, whole))
        for box in itertools.product(*self._edges(output)):
            if any(box):
                self._store_border(output, target, box)

    def _edges(self, output: Output) -> list[list[Edge | None]]:
        """For each dimension: all of the tile, and the edges that have padding."""
        nest = self.tiles.nest
        last = {axis.dim: axis.count - 1 for axis in nest.workgroup}
        edges: list[list[Edge | None]] = []
        for i, loop in enumerate(self.tiles.out_loops):
            edges.append([None])
            if loop is not None and nest.is_split(loop):
                number, extent = self.workgroups[loop], nest.extents[loop]
                before = Edge(number, 0, 0, output.low[i])
                after = Edge(number, last[loop], output.low[i] + extent, output.high[i])
                edges[i] += [edge for edge in (before, after) if edge.size]
        return edges

    def _store_border(self, output: Output, target: ir.Value, box: Box) -> None:
        branch = scf.IfOp(_is_at(box))
        with ir.InsertionPoint(branch.then_block):
            shape = [edge.size if edge else size for edge, size in zip(box, self.tiles.shape(output), strict=True)]
            border = build.empty(shape, output.type.element_type)
            border = self._filled(border, output, [0] * len(shape), shape)
            dispatch.store(border, target, self._offsets(output, box))
            scf.yield_([])

    def _offsets(self, output: Output, box: Box) -> list[int | ir.Value]:
        """Where a border is in the result; the tile itself without an edge."""
        offsets: list[int | ir.Value] = []
        for i, (edge, loop) in enumerate(zip(box, self.tiles.out_loops, strict=True)):
            base = None if loop is None else self.bases.get(loop)
            shift = output.low[i] + output.at[i]
            if edge or base is None:
                offsets.append(output.at[i] + (edge.start if edge else 0))
            else:
                offsets.append(build.plus(base, shift) if shift or any(box) else base)
        return offsets

    def _filled(self, tile: ir.Value, output: Output, offsets: list[int], sizes: list[int]) -> ir.Value:
        """`tile` with the padding in the box at `offsets` of `sizes`."""
        assert output.pad is not None
        last = len(sizes) - 1
        width = min(self.tiles.nest.lanes, 1 << (sizes[last].bit_length() - 1))
        vector = build.splat(output.pad, width)

        def nest(dim: int, indices: list[ir.Value], carried: list[ir.Value]) -> list[ir.Value]:
            if dim > last:
                return [build.write_vector(vector, carried[0], indices)]
            step = width if dim == last else 1

            def body(iv: ir.Value, inner: list[ir.Value]) -> list[ir.Value]:
                if dim == last and sizes[dim] % step:
                    iv = build.minimum([affine.dim(0), affine.constant(sizes[dim] - step)], [iv])
                at = build.plus(iv, offsets[dim]) if offsets[dim] else iv
                return nest(dim + 1, [*indices, at], inner)

            if sizes[dim] == step:
                return nest(dim + 1, [*indices, build.index(offsets[dim])], carried)
            return build.for_loop(sizes[dim], step, carried, body)

        return nest(0, [], [tile])[0]


def _is_at(box: Box) -> ir.Value:
    """Whether this workgroup is at all the edges of `box`."""
    equal = arith.CmpIPredicate.eq
    conditions = [arith.cmpi(equal, edge.workgroup, build.index(edge.which)) for edge in box if edge]
    condition = conditions[0]
    for other in conditions[1:]:
        condition = arith.andi(condition, other)
    return condition
