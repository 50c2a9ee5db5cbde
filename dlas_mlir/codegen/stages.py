"""The stages of a kernel on vectors: what they start from, what they compute, and their results written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dot
from dlas_mlir.codegen.frame import Workgroup
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Output, Region, Stage
from dlas_mlir.codegen.vector.body import BodyEmitter
from dlas_mlir.codegen.vector.reader import Reader

# The offset of a vector in a register tile, for each loop.
Point = tuple[int, ...]
# The vectors that a stage has computed, by its result: one for each point.
Computed = dict[ir.Value, list[ir.Value]]


@dataclass(frozen=True)
class Stages:
    """The stages of `region`, computed for all points of a register tile."""

    region: Region
    workgroup: Workgroup
    reader: Reader

    def initial(
        self, stage: Stage, here: Position, points: Sequence[Point], computed: Computed | None = None
    ) -> list[ir.Value]:
        """What the last argument of a stage's body is, for each point; nothing where it is not used."""
        initial = stage.initial
        if initial is None:
            return []
        if isinstance(initial, Access):
            return [self.reader.read(initial, here.plus(point)) for point in points]
        if isinstance(initial, ir.Value):
            return (computed or {})[initial]
        return [build.splat(initial, self.reader.lanes) for _ in points]

    def evaluate(
        self,
        stage: Stage,
        here: Position,
        points: Sequence[Point],
        accumulators: list[ir.Value],
        emitter: BodyEmitter,
        computed: Computed | None = None,
    ) -> list[ir.Value]:
        """The result of a stage's body at each point; `accumulators` are its last arguments, if it uses them."""
        results = []
        for place, point in enumerate(points):
            arguments: list[ir.Value | None] = []
            for item in stage.inputs:
                if isinstance(item, Access):
                    arguments.append(self.reader.read(item, here.plus(point)))
                elif isinstance(item, ir.Value):
                    arguments.append((computed or {})[item][place])
                else:
                    arguments.append(None if item is None else build.splat(item, self.reader.lanes))
            if stage.dot is not None:
                results.append(dot.emit(stage.dot, arguments, accumulators[place]))
            else:
                accumulator = accumulators[place] if accumulators else None
                results.append(emitter.emit(stage.body, [*arguments, accumulator]))
        return results

    def finish(
        self, place: Place, points: Sequence[Point], values: list[ir.Value], tiles: list[ir.Value]
    ) -> list[ir.Value]:
        """The stages behind the root, whose results are `values`; and what the kernel gives, written to its tiles."""
        emitter = BodyEmitter(self.reader.lanes)
        computed = {self.region.root.result: values}
        for stage in self.region.stages[1:]:
            initial = self.initial(stage, place.here, points, computed)
            computed[stage.result] = self.evaluate(stage, place.here, points, initial, emitter, computed)
        outputs = zip(self.region.outputs, tiles, strict=True)
        return [self.write(output, tile, place.inside, points, computed[output.value]) for output, tile in outputs]

    def write(
        self, output: Output, tile: ir.Value, inside: Position, points: Sequence[Point], values: list[ir.Value]
    ) -> ir.Value:
        """`tile` with a vector at each point."""
        for point, value in zip(points, values, strict=True):
            tile = self.workgroup.tiles.write(output, tile, inside.plus(point), value, self.reader.vectors)
        return tile
