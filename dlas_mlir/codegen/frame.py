"""The dispatch around a kernel: what it captures and updates, its grid, the parts of its workgroups, and the padding of
its results. What fills the tiles of a workgroup is another's: each backend has a function for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from iree.compiler import ir

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.borders import Borders
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Output, Region
from dlas_mlir.codegen.tiles import Tiles
from dlas_mlir.ir import affine
from dlas_mlir.opt.base import PassError

# Tells the empty tiles of a kernel apart.
_RESULT = "dlas.result"


@dataclass(frozen=True)
class Workgroup:
    """What a workgroup computes with: where its part begins, the `tensors` that were loaded of what is captured, and
    the `tiles` of the results."""

    place: Place
    tensors: dict[ir.Value, ir.Value]
    tiles: Tiles


# Fills the tiles of one workgroup: gets the empty ones, and returns those with the results in them.
Fill = Callable[[Workgroup, list[ir.Value]], list[ir.Value]]


class Sharing(Protocol):
    """How the parts of a kernel, the steps of its workgroup axes, are shared out. Both get the axes, the last one
    fastest."""

    def grid(self, axes: Sequence[Axis]) -> list[int]:
        """The workgroups along each dimension of the grid, the fastest first."""
        ...

    def numbers(self, axes: Sequence[Axis]) -> Iterator[ir.Value]:
        """Which step of each axis this is, at the insertion point; the last axis' first."""
        ...


class ByWorkgroups:
    """One part for each workgroup, and a dimension of the grid for each axis."""

    def grid(self, axes: Sequence[Axis]) -> list[int]:
        """The steps of each axis."""
        return [axis.count for axis in reversed(axes)]

    def numbers(self, axes: Sequence[Axis]) -> Iterator[ir.Value]:
        """The workgroup's number along each dimension."""
        return (dispatch.workgroup_id(dimension) for dimension in range(len(axes)))


def captured(region: Region) -> list[ir.Value]:
    """The tensors that a region reads, each once, but for those that only its producer reads. Raises PassError where it
    updates one of them or of those, or one twice."""
    found = list(dict.fromkeys(item.view.source for item in region.operands() if isinstance(item, Access)))
    updated = [output.into for output in region.outputs if output.into is not None]
    made = captured(region.producer) if region.producer else []
    if len(set(updated)) != len(updated) or set(updated) & {*found, *made}:
        raise PassError("a buffer that is updated cannot be read or updated again by a kernel", region.op)
    return found


def emit_frame(
    region: Region,
    nest: Nest,
    reads: Sequence[ir.Value],
    fill: Fill,
    *,
    sharing: Sharing | None = None,
    outside: bool = False,
) -> ir.Operation:
    """The flow.dispatch.workgroups that does `region`, reading `reads`, at the insertion point. `outside` says that
    `fill` can read beyond the ends of tensors. An error of `fill` leaves nothing behind."""
    sharing = sharing or ByWorkgroups()
    outputs = region.outputs
    if not outside and _reads_outside(region):
        raise PassError("a kernel of this kind reads nothing beyond the ends of a tensor", region.op)

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        loaded = [dispatch.load(source, value.type) for source, value in zip(sources, reads, strict=True)]
        store_part(region, nest, dict(zip(reads, loaded, strict=True)), fill, targets, sharing)

    results, updates = [output.type for output in outputs], [output.into for output in outputs]
    return dispatch.dispatch(sharing.grid(nest.workgroup), reads, results, updates, body)


def _reads_outside(region: Region) -> bool:
    """Whether it, or its producer, reads beyond the ends of a tensor."""
    own = any(isinstance(item, Access) and item.view.outside is not None for item in region.operands())
    return own or (region.producer is not None and _reads_outside(region.producer))


def store_part(
    region: Region,
    nest: Nest,
    tensors: dict[ir.Value, ir.Value],
    fill: Fill,
    targets: Sequence[ir.Value],
    sharing: Sharing,
) -> None:
    """Compute the part of `region` that is this workgroup's by `sharing`, and store it to `targets`."""
    outputs, tiles = region.outputs, Tiles(region.out_loops, nest)
    borders = borders_of(tiles, sharing)
    start = Position.start(len(nest.extents))
    bases = tuple(borders.bases.get(loop) for loop in range(len(nest.extents)))
    place = Place(Position(bases, start.constants), start)
    held = _empty(tiles, outputs)
    held = [borders.fill(output, tile) for output, tile in zip(outputs, held, strict=True)]
    held = fill(Workgroup(place, tensors, tiles), held)
    for output, tile, target in zip(outputs, held, targets, strict=True):
        borders.store(output, tile, target)


def _empty(tiles: Tiles, outputs: Sequence[Output]) -> list[ir.Value]:
    """A tile for each output, of which no two are alike: where two results begin with the same writes (rows that are
    all padding, for one), iree-compile makes one of these, and of what follows some in the memory of the other result.
    """
    held = [tiles.empty(output) for output in outputs]
    if len(held) > 1:
        i64 = ir.IntegerType.get_signless(64)
        for number, tile in enumerate(held):
            tile.owner.attributes[_RESULT] = ir.IntegerAttr.get(i64, number)
    return held


def borders_of(tiles: Tiles, sharing: Sharing) -> Borders:
    """Which workgroup this is, and where its part begins, along each loop that is split."""
    workgroups: dict[int, ir.Value] = {}
    bases: dict[int, ir.Value] = {}
    axes = tiles.nest.workgroup
    for axis, number in zip(reversed(axes), sharing.numbers(axes), strict=True):
        workgroups[axis.dim] = number
        start = affine.dim(0) * affine.constant(axis.step)
        if axis.overlaps:
            bases[axis.dim] = build.minimum([start, affine.constant(axis.extent - axis.step)], [number])
        else:
            bases[axis.dim] = build.apply(start, [number])
    return Borders(tiles, workgroups, bases)
