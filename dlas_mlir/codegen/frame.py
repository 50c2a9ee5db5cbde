"""The dispatch around a kernel: what it captures and updates, its grid, the parts of its workgroups, and the padding of
its results. What fills the tiles of a workgroup is another's: each backend has a function for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iree.compiler import ir

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.borders import Borders
from dlas_mlir.codegen.nest import Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.tiles import Tiles
from dlas_mlir.ir import affine
from dlas_mlir.opt.base import PassError


@dataclass(frozen=True)
class Workgroup:
    """What a workgroup computes with: where its part begins, the `tensors` that were loaded of what is captured, and
    the `tiles` of the results."""

    place: Place
    tensors: dict[ir.Value, ir.Value]
    tiles: Tiles


# Fills the tiles of one workgroup: gets the empty ones, and returns those with the results in them.
Fill = Callable[[Workgroup, list[ir.Value]], list[ir.Value]]


def captured(region: Region) -> list[ir.Value]:
    """The tensors that a region reads, each once. Raises PassError where it updates one of them, or one twice."""
    accesses = [item for stage in region.stages for item in (*stage.inputs, stage.initial)]
    found = list(dict.fromkeys(item.view.source for item in accesses if isinstance(item, Access)))
    updated = [output.into for output in region.outputs if output.into is not None]
    if len(set(updated)) != len(updated) or set(updated) & set(found):
        raise PassError("a buffer that is updated cannot be read or updated again by a kernel", region.op)
    return found


def emit_frame(region: Region, nest: Nest, reads: Sequence[ir.Value], fill: Fill) -> ir.Operation:
    """The flow.dispatch.workgroups that does `region`, reading `reads`, at the insertion point. An error of `fill`
    leaves nothing behind."""
    outputs = region.outputs
    accesses = [item for stage in region.stages for item in (*stage.inputs, stage.initial)]
    if any(isinstance(item, Access) and item.view.outside is not None for item in accesses):
        raise PassError("a kernel of this kind reads nothing beyond the ends of a tensor", region.op)

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        loaded = [dispatch.load(source, value.type) for source, value in zip(sources, reads, strict=True)]
        tiles = Tiles(region.out_loops, nest)
        borders = _borders(tiles)
        start = Position.start(len(nest.extents))
        bases = tuple(borders.bases.get(loop) for loop in range(len(nest.extents)))
        place = Place(Position(bases, start.constants), start)
        held = [tiles.empty(output) for output in outputs]
        held = [borders.fill(output, tile) for output, tile in zip(outputs, held, strict=True)]
        held = fill(Workgroup(place, dict(zip(reads, loaded, strict=True)), tiles), held)
        for output, tile, target in zip(outputs, held, targets, strict=True):
            borders.store(output, tile, target)

    grid = [axis.count for axis in reversed(nest.workgroup)]
    results, updates = [output.type for output in outputs], [output.into for output in outputs]
    return dispatch.dispatch(grid, reads, results, updates, body)


def _borders(tiles: Tiles) -> Borders:
    """Which workgroup this is, and where its part begins, along each loop that is split."""
    workgroups: dict[int, ir.Value] = {}
    bases: dict[int, ir.Value] = {}
    for dimension, axis in enumerate(reversed(tiles.nest.workgroup)):
        number = workgroups[axis.dim] = dispatch.workgroup_id(dimension)
        start = affine.dim(0) * affine.constant(axis.step)
        if axis.overlaps:
            bases[axis.dim] = build.minimum([start, affine.constant(axis.extent - axis.step)], [number])
        else:
            bases[axis.dim] = build.apply(start, [number])
    return Borders(tiles, workgroups, bases)
