"""Kernels that follow each other in one launch: each workgroup does a part of all of them, the same images or rows, and
what one hands on to the next stays in memory that the workgroup shares.

Each kernel of a chain keeps its workload and its schedule. Its parts are shared out over the threads of one workgroup,
round after round, instead of over a grid; between kernels all threads wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from iree.compiler import ir
from iree.compiler.dialects import gpu

from dlas_mlir.codegen import build, dispatch
from dlas_mlir.codegen.frame import Workgroup, borders_of, captured, store_part
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Operand, Region
from dlas_mlir.codegen.register_tile import RegisterTile, points_of
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.simt import layout
from dlas_mlir.codegen.simt.joining import Joining, shared_tensor
from dlas_mlir.codegen.simt.schedule import SimtSchedule
from dlas_mlir.codegen.simt.threads import ByThreads, digits
from dlas_mlir.codegen.stages import Stages
from dlas_mlir.codegen.tiles import Tiles
from dlas_mlir.codegen.vector.guarded import GuardedReader
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.ir import affine
from dlas_mlir.ir.linalg import shape_of

# On the root of each region of a chain: its number, and how many of the first dimensions of all results are shared out
# over workgroups, one element to each.
ATTRIBUTE = "dlas.chain"


@dataclass(frozen=True)
class Link:
    """One kernel of a chain."""

    region: Region
    nest: Nest

    @property
    def schedule(self) -> SimtSchedule:
        assert isinstance(self.nest.schedule, SimtSchedule)
        return self.nest.schedule

    def outer(self, shared: int) -> list[int]:
        """The loops of the first `shared` dimensions, in their order."""
        return [loop for loop in self.region.out_loops[:shared] if loop is not None]


def shared_dimensions(regions: Sequence[Region]) -> int:
    """How many of the first dimensions of their results all kernels of a chain have in common, each element of which
    they compute of nothing but that of the kernels before."""
    shapes = [shape_of(region.root.result) for region in regions]
    most = min(map(len, shapes))
    most = next((place for place in range(most) if len({shape[place] for shape in shapes}) > 1), most)
    made: set[ir.Value] = set()
    for region in regions:
        for item in region.operands():
            if isinstance(item, Access) and item.view.source in made:
                most = min(most, _same_dimensions(region, item))
        made |= set(region.op.results)
    return most


def _same_dimensions(region: Region, item: Access) -> int:
    """How many of the first dimensions of an operand are read where the result is."""
    count = 0
    for expr, loop, size in zip(item.exprs, region.out_loops, shape_of(item.view.source), strict=False):
        if size > 1 and (loop is None or not affine.is_dim(expr, loop)):
            break
        count += 1
    return count


def emit(links: Sequence[Link], shared: int) -> ir.Operation:
    """The one dispatch of a chain, with the results of its last kernel, at the insertion point. Raises ScheduleError
    for schedules that make none."""
    if (why := problem(links, shared)) is not None:
        raise ScheduleError(why)
    *others, last = links
    made = {value for link in others for value in link.region.op.results}
    reads = list(dict.fromkeys(value for link in links for value in captured(link.region) if value not in made))
    grid = _outer_axes(last, shared)

    def body(sources: list[ir.Value], targets: list[ir.Value]) -> None:
        tensors = {value: dispatch.load(source, value.type) for source, value in zip(sources, reads, strict=True)}
        thread, number = ByThreads(last.schedule.threads).thread(), _workgroup(grid)
        for link in others:
            kept = _Inside(link, shared, tensors, made, thread, number).kept()
            tensors |= dict(zip(link.region.op.results, kept, strict=True))
        _Inside(last, shared, tensors, made, thread, number).store(targets)

    results = [output.type for output in last.region.outputs]
    return dispatch.dispatch(ByThreads(1).grid(grid), reads, results, [None] * len(results), body)


@dataclass
class _InWorkgroup(ByThreads):
    """The parts of a kernel in the workgroup number `workgroup` along the loops `outer`: one for each thread, or for
    those that have one together, in round number `turn`."""

    workgroup: ir.Value | None = None
    turn: ir.Value | None = None
    outer: tuple[int, ...] = ()

    def rounds(self, axes: Sequence[Axis]) -> int:
        """How many rounds the threads of a workgroup take."""
        return -(-math.prod(axis.count for axis in axes if axis.dim not in self.outer) // self.parts)

    def numbers(self, axes: Sequence[Axis]) -> Iterator[ir.Value]:
        """The step of each axis, the last one's first."""
        assert self.turn is not None
        inner = [axis for axis in axes if axis.dim not in self.outer]
        outer = [axis for loop in self.outer for axis in axes if axis.dim == loop]
        count = math.prod(axis.count for axis in inner)
        expr = affine.dim(0) * self.parts + self.own()
        operands = [self.turn, self.thread()]
        if count % self.parts:
            number = build.minimum([expr, affine.constant(count - 1)], operands)
        else:
            number = build.apply(expr, operands)
        found = dict(zip([axis.dim for axis in reversed(inner)], digits(inner, number), strict=True))
        if outer:
            assert self.workgroup is not None
            found |= dict(zip([axis.dim for axis in reversed(outer)], digits(outer, self.workgroup), strict=True))
        return (found[axis.dim] for axis in reversed(axes))


@dataclass
class _Inside:
    """One kernel of a chain in a workgroup. `tensors` are what it reads: those that are `made` by kernels before have
    one element in each of the `shared` first dimensions."""

    link: Link
    shared: int
    tensors: dict[ir.Value, ir.Value]
    made: set[ir.Value]
    thread: ir.Value
    number: ir.Value | None

    def store(self, targets: Sequence[ir.Value]) -> None:
        """Compute it, and store its results to `targets`."""
        region, nest = self._region(), self.link.nest

        def turn(value: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            sharing = self._sharing(value)
            store_part(
                region,
                nest,
                self.tensors,
                lambda at, tiles: self._computed(region, sharing, at, tiles),
                targets,
                sharing,
            )
            return []

        self._rounds([], turn)

    def kept(self) -> list[ir.Value]:
        """Compute it; its results in memory that the workgroup shares, once all threads are done."""
        region, nest = self._region(), self.link.nest
        tiles = Tiles(region.out_loops, nest)
        outer = self.link.outer(self.shared)
        held = []
        for output in region.outputs:
            shape = [1] * self.shared + list(output.type.shape)[self.shared :]
            held.append(shared_tensor(shape, output.type.element_type))

        def turn(value: ir.Value, tensors: list[ir.Value]) -> list[ir.Value]:
            sharing = self._sharing(value)
            bases = borders_of(tiles, sharing).bases
            start = Position.start(len(nest.extents))
            here = Position(tuple(bases.get(loop) for loop in range(len(nest.extents))), start.constants)
            inside = Position(
                tuple(None if loop in outer else bases.get(loop) for loop in range(len(nest.extents))), start.constants
            )
            return self._computed(region, sharing, Workgroup(Place(here, inside), self.tensors, tiles), tensors)

        held = self._rounds(held, turn)
        kinds = [value.type for value in held]
        return list(ir.Operation.create("iree_gpu.value_barrier", results=kinds, operands=held).results)

    def _sharing(self, turn: ir.Value) -> _InWorkgroup:
        schedule, nest = self.link.schedule, self.link.nest
        beside = bool(schedule.across) and layout.reads_along(nest.workload, schedule.across[-1][0])
        outer = tuple(self.link.outer(self.shared))
        found = _InWorkgroup(schedule.threads, schedule.joined, beside, workgroup=self.number, turn=turn, outer=outer)
        found.known(self.thread)
        return found

    def _rounds(
        self, carried: list[ir.Value], turn: Callable[[ir.Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """`turn` for each round of the threads."""
        count = self._sharing(build.index(0)).rounds(self.link.nest.workgroup)
        if count == 1:
            return turn(build.index(0), carried)

        def body(value: ir.Value, inner: list[ir.Value]) -> list[ir.Value]:
            found = turn(value, inner)
            if self.link.schedule.across:
                # What the threads have left for each other is read by all before it is written again.
                gpu.barrier()
            return found

        return build.for_loop(count, 1, carried, body)

    def _computed(self, region: Region, sharing: ByThreads, at: Workgroup, tiles: list[ir.Value]) -> list[ir.Value]:
        nest, schedule = self.link.nest, self.link.schedule
        joining = Joining(nest.workload, schedule.across, sharing) if schedule.across else None
        reader = GuardedReader(at.tensors, Vectors.full(nest.lane.dim, nest.lanes), nest.spans)
        points = points_of(region, nest, at.place)
        return RegisterTile(nest, Stages(region, at, reader), points, (), joining=joining).computed(at.place, tiles)

    def _region(self) -> Region:
        """The kernel's region, which reads what was made before at the first element of the shared dimensions."""

        def here(item: Operand | None) -> Operand | None:
            if not isinstance(item, Access) or item.view.source not in self.made:
                return item
            return replace(item, exprs=(*[affine.constant(0)] * self.shared, *item.exprs[self.shared :]))

        region = self.link.region
        stages = [
            replace(stage, inputs=tuple(map(here, stage.inputs)), initial=here(stage.initial))
            for stage in region.stages
        ]
        return replace(region, stages=stages)


def problem(links: Sequence[Link], shared: int) -> str | None:
    """Why kernels cannot be one launch, or None."""
    if len({link.schedule.threads for link in links}) > 1:
        return f"workgroups of {', '.join(str(link.schedule.threads) for link in links)} threads"
    regions = [link.region for link in links]
    if shared > (most := shared_dimensions(regions)):
        return f"{shared} shared dimensions; its kernels have {most} in common"
    for link in links:
        steps = {axis.dim: axis.step for axis in link.nest.workgroup}
        for loop in link.outer(shared):
            if link.nest.extents[loop] > 1 and steps.get(loop) != 1:
                name = link.nest.workload.names[loop]
                return f"a tile of `{name}`, of which a workgroup does one iteration"
    if not any(link.schedule.across or _inner_steps(link, shared) > 1 for link in links):
        return f"{shared} shared dimensions leave nothing to the threads of a workgroup"
    return problem_of_regions(regions)


def problem_of_regions(regions: Sequence[Region]) -> str | None:
    """Why they cannot be one launch, whatever their schedules, or None."""
    made: set[ir.Value] = set()
    for region in regions:
        for output in region.outputs:
            if output.into is not None or any((*output.low, *output.high, *output.at)):
                return "a kernel pads its result, or inserts it somewhere"
        for item in region.operands():
            if isinstance(item, Access) and item.view.source in made and not _is_plain(item):
                return "a kernel reads a part of what another one computes, or padding around it"
        made |= set(region.op.results)
    return None


def _is_plain(item: Access) -> bool:
    rank = len(shape_of(item.view.source))
    return item.view.outside is None and not any(item.view.offsets) and len(item.exprs) == rank


def _inner_steps(link: Link, shared: int) -> int:
    """The tiles of a workgroup."""
    outer = link.outer(shared)
    return math.prod(axis.count for axis in link.nest.workgroup if axis.dim not in outer)


def _outer_axes(link: Link, shared: int) -> list[Axis]:
    return [axis for loop in link.outer(shared) for axis in link.nest.workgroup if axis.dim == loop]


def _workgroup(axes: Sequence[Axis]) -> ir.Value | None:
    """The number of this workgroup among the steps of `axes`; None where there is but one."""
    count = math.prod(axis.count for axis in axes)
    if count == 1:
        return None
    across, rows = ByThreads(1).grid(axes)
    if rows == 1:
        return dispatch.workgroup_id(0)
    operands = [dispatch.workgroup_id(0), dispatch.workgroup_id(1)]
    expr = affine.dim(0) + affine.dim(1) * across
    return build.minimum([expr, affine.constant(count - 1)], operands)
