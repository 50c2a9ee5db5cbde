"""What computes a tensor of a workload (Workload.producer), in the kernel that reads it.

A depthwise convolution writes as much as it reads and does little in between; the 1x1 convolution behind it reads all
that again. In one kernel, a step of the outermost loops over what is read (a row of the image) has the producer's
results computed for it first, into memory that stays in the first-level cache:

    for the outermost loops that decide which part of the tensor is read
      part = producer's loops and stages, for what this step reads
      for the other loops: register tiles, that read `part`
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.frame import Workgroup
from dlas_mlir.codegen.loops import over_tiles
from dlas_mlir.codegen.nest import Axis, Nest
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.codegen.region import Access, Region
from dlas_mlir.codegen.register_tile import RegisterTile, points_of
from dlas_mlir.codegen.schedule import Schedule, ScheduleError
from dlas_mlir.codegen.stages import Stages
from dlas_mlir.codegen.taps import borders_of
from dlas_mlir.codegen.tiles import Tiles
from dlas_mlir.codegen.vector.lanes import Vectors
from dlas_mlir.codegen.vector.reader import Reader
from dlas_mlir.codegen.workload import Access as Read
from dlas_mlir.codegen.workload import Producer, Workload, element_bits
from dlas_mlir.ir import affine
from dlas_mlir.ir.strides import Form

# iree-compile puts what a kernel keeps for itself on the stack, and refuses more there.
_MOST_BYTES = 32768
# Tells the empty part from the empty tiles of results.
_PART = "dlas.part"


@dataclass(frozen=True)
class Within:
    """The producer's part of a kernel: `axes` of the reader's nest are around it, `nest` is that of the part. `limited`
    has the dimensions of its result of which there is but a part, each with the reader's loop that says where it
    begins and the producer's loop that begins there."""

    axes: tuple[Axis, ...]
    nest: Nest
    limited: Mapping[int, tuple[int, int]]

    @staticmethod
    def of(nest: Nest) -> Within:
        """That of a schedule that has a producer. Raises ScheduleError that says why it cannot be in one kernel."""
        workload, schedule = nest.workload, nest.schedule
        assert isinstance(schedule, Schedule)
        assert workload.producer is not None
        assert schedule.producer is not None
        if schedule.prefetch:
            raise ScheduleError("prefetch: a kernel that has its producer within fetches nothing ahead")
        loops = _loops(workload, workload.producer)
        chosen = set(filter(None, loops))

        def is_around(axis: Axis) -> bool:
            return axis.count == 1 or (axis.loop in chosen and not (axis.first_apart or axis.last_apart))

        axes = tuple(itertools.takewhile(is_around, nest.cache))
        steps = {axis.loop: axis.step for axis in axes if axis.count > 1}
        made = workload.producer.workload
        limited: dict[int, tuple[int, int]] = {}
        parts: dict[str, int] = {}
        for dim, (loop, own) in enumerate(zip(loops, made.out, strict=True)):
            if loop is None or own is None:
                continue
            part = steps.get(loop, schedule.part_of(loop, workload.extents[loop]))
            if part < made.extents[own]:
                limited[dim] = (workload.names.index(loop), made.names.index(own))
                parts[own] = part
        begins = tuple((own, nest.spans[loop].step) for loop, own in limited.values())
        own_nest = replace(Nest.of(made, _for_part(schedule.producer, made, parts)), begins=begins)
        size = _bytes(own_nest)
        if size > _MOST_BYTES:
            raise ScheduleError(
                f"apart: {size} bytes of what the producer computes are read by a step of the outermost loops; "
                f"within a kernel there is room for {_MOST_BYTES}"
            )
        return Within(axes, own_nest, limited)

    def begins(self, place: Place) -> dict[int, ir.Value]:
        """Where the part begins, by dimension of the producer's result."""
        return {dim: place.here.index(affine.dim(loop)) for dim, (loop, _) in self.limited.items()}

    def computed(self, producer: Region, workgroup: Workgroup, begins: Mapping[int, ir.Value]) -> ir.Value:
        """The part."""
        nest, (output,) = self.nest, producer.outputs
        start = Position.start(len(nest.extents))
        here = start
        for dim, (_, own) in self.limited.items():
            here = here.moved(own, begins[dim])
        tiles = Tiles(producer.out_loops, nest)
        reader = Reader(workgroup.tensors, Vectors.full(nest.lane.dim, nest.lanes), nest.spans)
        stages = Stages(producer, Workgroup(Place(here, start), workgroup.tensors, tiles), reader)
        borders = borders_of(nest.workload)

        def register_tile(place: Place, carried: list[ir.Value]) -> list[ir.Value]:
            return RegisterTile(nest, stages, points_of(producer, nest, place), borders).computed(place, carried)

        empty = tiles.empty(output)
        # A result of the kernel may be of the same type: two tensors all the same, to be in memory of their own.
        empty.owner.attributes[_PART] = ir.UnitAttr.get()
        (part,) = over_tiles(nest.cache, Place(here, start), [empty], register_tile)
        return part


class PartReader(Reader):
    """Reads `source` from the part of it that begins at `begins`, by dimension."""

    source_of_part: ir.Value
    begins: Mapping[int, ir.Value]

    def __init__(self, reader: Reader, source: ir.Value, part: ir.Value, begins: Mapping[int, ir.Value]) -> None:
        super().__init__({**reader.tensors, source: part}, reader.vectors, reader.spans)
        self.source_of_part, self.begins = source, begins

    def indices(self, access: Access, position: Position, extra: int = 0) -> list[ir.Value]:
        """Where in the tensor, or in the part of it, what belongs to `position` is."""
        found = super().indices(access, position, extra)
        if access.view.source != self.source_of_part:
            return found
        for dim, begin in self.begins.items():
            found[dim] = build.apply(affine.dim(0) - affine.dim(1), [found[dim], begin])
        return found


def problem(workload: Workload, schedule: Schedule) -> str | None:
    """Why the producer cannot be in the kernel, or None: it is a kernel of its own, or there is none."""
    if workload.producer is None or schedule.apart:
        return None
    try:
        Within.of(Nest.of(workload, schedule))
    except ScheduleError as error:
        return str(error)
    return None


def times_computed(workload: Workload, schedule: Schedule) -> int:
    """How many workgroups compute the same results of a producer that is within, as they read the same."""
    assert workload.producer is not None
    chosen = _loops(workload, workload.producer)
    split = ((workload.extents[loop], part) for loop, part in schedule.distribute if loop not in chosen)
    return math.prod(-(-extent // part) for extent, part in split)


def rows_of(workload: Workload) -> list[str]:
    """The loops that decide what of the producer's result is read, outermost first, but for the innermost one: with
    these outermost, rows of it are a part."""
    assert workload.producer is not None
    chosen = [loop for loop in _loops(workload, workload.producer) if loop is not None and workload.extents[loop] > 1]
    return chosen[:-1]


def _loops(workload: Workload, producer: Producer) -> list[str | None]:
    """For each dimension of the producer's result the parallel loop by which it is read, if it is one alone."""
    reads = [item for item in workload.root.inputs if isinstance(item, Read) and item.tensor == producer.tensor]
    others = [
        item
        for stage in workload.stages
        for item in (*stage.inputs, stage.initial)
        if isinstance(item, Read) and item.tensor == producer.tensor
    ]
    if len(reads) != 1 or len(others) != 1:
        raise ScheduleError("apart: what the producer computes is read more than once")
    (read,) = reads
    if read.outside or any(read.offsets) or read.shape != workload.tensors[read.tensor].shape:
        raise ScheduleError("apart: of what the producer computes a part is read, or what is around it")
    return [_loop(workload, form) for form in workload.forms(read)]


def _loop(workload: Workload, form: Form) -> str | None:
    """The parallel loop that an index is, but for loops of one iteration."""
    terms = [(term, factor) for term, factor in form.terms if not (isinstance(term, int) and _is_unit(workload, term))]
    if form.constant or len(terms) != 1:
        return None
    ((term, factor),) = terms
    if not isinstance(term, int) or factor != 1:
        return None
    loop = workload.names[term]
    return loop if loop in workload.parallel else None


def _is_unit(workload: Workload, dim: int) -> bool:
    return workload.loops[dim].extent == 1


def _for_part(schedule: Schedule, workload: Workload, parts: Mapping[str, int]) -> Schedule:
    """The producer's schedule for parts of its loops. Raises ScheduleError where vectors do not fill one."""
    tile = {loop: min(size, parts.get(loop, size)) for loop, size in schedule.tile}
    return Schedule.of(
        workload,
        kind=schedule.kind,
        vector=schedule.vector,
        lanes=schedule.lanes,
        order=schedule.order,
        distribute=parts,
        tile=tile,
        peel=schedule.peel,
    )


def _bytes(nest: Nest) -> int:
    """The size of the part that the producer's nest computes."""
    workload = nest.workload
    (output,) = workload.outputs
    parts = dict(zip(workload.names, nest.parts, strict=True))
    sizes: Sequence[int] = [1 if loop is None else parts[loop] for loop in workload.out]
    return math.prod(sizes) * element_bits(workload.stages[output.stage].element) // 8
