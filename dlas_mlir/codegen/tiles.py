"""The results of a kernel as one workgroup holds them: tiles of their padded shape, in which vectors are written."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.region import Output
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.ir import affine


@dataclass(frozen=True)
class Tiles:
    """The tiles of one workgroup. `out_loops` is the loop that each dimension of the results runs over (None: a
    dimension of one element)."""

    out_loops: tuple[int | None, ...]
    nest: Nest

    def shape(self, output: Output) -> list[int]:
        """A dimension that is not split carries its padding; the padding of a split one is written apart."""
        shape = []
        for i, loop in enumerate(self.out_loops):
            size = 1 if loop is None else self.nest.parts[loop]
            shape.append(size if self.nest.is_split(loop) else output.low[i] + size + output.high[i])
        return shape

    def empty(self, output: Output) -> ir.Value:
        """A tile with nothing in it."""
        return build.empty(self.shape(output), output.type.element_type)

    def place(self, output: Output, inside: Position) -> list[ir.Value]:
        """Where the position `inside` the workgroup's part is in the tile of `output`."""
        return [
            inside.index(
                affine.constant(0) if loop is None else affine.dim(loop),
                0 if self.nest.is_split(loop) else output.low[i],
            )
            for i, loop in enumerate(self.out_loops)
        ]

    def write(self, output: Output, tile: ir.Value, inside: Position, vector: ir.Value, vectors: Vectors) -> ir.Value:
        """`tile` with the busy lanes of `vector` written, which begins at the position `inside`."""
        for first, part in vectors.parts(inside, vector):
            tile = self._write(output, tile, inside.at(vectors.loop, first), part, vectors.loop)
        return tile

    def _write(self, output: Output, tile: ir.Value, inside: Position, vector: ir.Value, loop: int) -> ir.Value:
        """At once where the lanes are neighbours in the tile, else one by one."""
        indices, dim = self.place(output, inside), self.out_loops.index(loop)
        if dim == len(indices) - 1:
            return build.write_vector(vector, tile, indices)
        for lane in range(ir.VectorType(vector.type).shape[0]):
            scalar = build.lane(vector, lane)
            tile = build.insert(scalar, tile, [*indices[:dim], build.plus(indices[dim], lane), *indices[dim + 1 :]])
        return tile

    def read(self, output: Output, tile: ir.Value, inside: Position, vectors: Vectors) -> ir.Value:
        """The vector that was written at the position `inside`; its lanes are neighbours in the tile."""

        def part(first: int, lanes: int) -> ir.Value:
            return build.read_vector(tile, self.place(output, inside.at(vectors.loop, first)), lanes)

        return vectors.joined(inside, part)
