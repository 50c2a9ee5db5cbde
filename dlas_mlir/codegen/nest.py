"""`Nest`: the loop nest that follows from a workload and a schedule; what emitters write out.

for workgroup in oh by 7 (8), kb by 2 (2)           workgroup axes, the last one fastest
  for ow in 56 by 14                                 cache axes: over register tiles, within the workgroup's part
    acc[2 kb][14 ow] x 16 lanes of k                 register axes and the lane axis
    for cb in 4                                      reduce axes
      for c in 16: unrolled                          unrolled axes
        acc += in0 * in1
    epilogue, store
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

from dlas_mlir.codegen.schedule import AnySchedule, LoopSchedule, Schedule
from dlas_mlir.codegen.taps import borders_of
from dlas_mlir.codegen.workload import Access, Computed, Operand, Producer, Stage, Workload
from dlas_mlir.ir.strides import Span

Role = Literal["workgroup", "cache", "register", "lane", "reduce", "unroll", "chunk"]


class AnyNest(Protocol):
    """What the nests of all backends have; they print as pseudo-code."""

    @property
    def workload(self) -> Workload:
        """What it computes."""
        ...

    @property
    def schedule(self) -> AnySchedule:
        """How."""
        ...

    @property
    def remark(self) -> str:
        """What of the schedule is not obeyed."""
        ...


@dataclass(frozen=True)
class Axis:
    """One loop of the nest: `count` steps of `step` iterations of loop `loop` (number `dim` of the workload), over
    `extent` of them. Where `step` does not divide it, the last step is moved back and overlaps the one before, or does
    what is left if it stands apart. `first_apart`, `last_apart`: that step is code of its own."""

    loop: str
    dim: int
    role: Role
    extent: int
    step: int
    first_apart: bool = False
    last_apart: bool = False

    @property
    def count(self) -> int:
        """How many steps it has."""
        return -(-self.extent // self.step)

    @property
    def overlaps(self) -> bool:
        """Whether the last step repeats some iterations of the one before."""
        return self.extent % self.step != 0 and not self.last_apart


@dataclass(frozen=True)
class Nest:
    """All axes, from the outermost in, by role. `lane` is the vector's; `register` holds those of the tile that is
    computed together, with the vectors of the vector loop among them (in steps of its lanes). The `chunk` of a sparse
    contraction is around the innermost `cache` axis, that of output channels. `remark` says what of the schedule is not
    obeyed. `begins` has loops, by number, whose parts are not where workgroups would have them, and a number of whose
    multiples all of these begin at."""

    workload: Workload
    schedule: LoopSchedule
    workgroup: tuple[Axis, ...]
    cache: tuple[Axis, ...]
    chunk: tuple[Axis, ...]
    reduce: tuple[Axis, ...]
    unroll: tuple[Axis, ...]
    register: tuple[Axis, ...]
    lane: Axis
    remark: str = ""
    begins: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(workload: Workload, schedule: LoopSchedule) -> Nest:
        """The nest of a schedule that fits (Schedule.problem), of dense kernels; other backends make theirs of it."""
        dims = {name: dim for dim, name in enumerate(workload.names)}
        extents = workload.extents

        def axis(loop: str, role: Role, extent: int, step: int) -> Axis:
            return Axis(loop, dims[loop], role, extent, step)

        def part(loop: str) -> int:
            return schedule.part_of(loop, extents[loop])

        def cache(loop: str) -> Axis:
            first, last = _apart(workload, schedule, dims[loop])
            return replace(axis(loop, "cache", part(loop), schedule.tile_of(loop)), first_apart=first, last_apart=last)

        # Loops of one iteration are nowhere but in the indices.
        order = (*(name for name in workload.names if name not in schedule.order), *schedule.order)
        parallel = [loop for loop in order if loop not in workload.reductions]
        reductions = [loop for loop in order if loop in workload.reductions]
        if workload.root.dot is not None:
            # The innermost loop of a dot product is in the instruction.
            reductions.remove(workload.names[-1])
        unrolled = [loop for loop in reductions if schedule.tile_of(loop) > 1]
        lanes = schedule.lanes
        return Nest(
            workload,
            schedule,
            workgroup=tuple(axis(x, "workgroup", extents[x], part(x)) for x in parallel if part(x) != extents[x]),
            cache=tuple(map(cache, parallel)),
            chunk=(),
            reduce=tuple(axis(x, "reduce", extents[x], schedule.tile_of(x)) for x in reductions),
            unroll=tuple(axis(x, "unroll", schedule.tile_of(x), 1) for x in unrolled),
            register=tuple(
                axis(x, "register", schedule.tile_of(x), lanes if x == schedule.vector else 1)
                for x in workload.parallel
                if schedule.tile_of(x) > (lanes if x == schedule.vector else 1)
            ),
            lane=axis(schedule.vector, "lane", min(lanes, schedule.tile_of(schedule.vector)), 1),
        )

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """The iterations of each loop, by its number."""
        return tuple(loop.extent for loop in self.workload.loops)

    @cached_property
    def parts(self) -> tuple[int, ...]:
        """How many of them one workgroup does; all of a reduction."""
        schedule, reductions = self.schedule, self.workload.reductions
        return tuple(
            loop.extent if loop.name in reductions else schedule.part_of(loop.name, loop.extent)
            for loop in self.workload.loops
        )

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """How many of them one register tile has; of a reduction, how many follow each other without a loop."""
        return tuple(map(self.schedule.tile_of, self.workload.names))

    @property
    def lanes(self) -> int:
        """The lanes of a vector, idle ones too, where the tile of the vector loop is narrower."""
        return self.schedule.lanes

    def is_in_instruction(self, dim: int) -> bool:
        """Whether loop number `dim` is done by the instruction of a dot product."""
        return self.workload.root.dot is not None and dim == len(self.extents) - 1

    def is_split(self, dim: int | None) -> bool:
        """Whether several workgroups share loop number `dim` (None: a dimension of one element)."""
        return dim is not None and self.parts[dim] != self.extents[dim]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Where register tiles begin in each loop. What was moved back for the last one makes the step smaller."""
        apart, begins = {axis.dim for axis in self.cache if axis.last_apart}, dict(self.begins)
        return tuple(
            _span(extent, part, tile, begins.get(dim), dim in apart)
            for dim, (extent, part, tile) in enumerate(zip(self.extents, self.parts, self.tiles, strict=True))
        )

    def origins(self, dim: int) -> list[int]:
        """Where register tiles begin in loop number `dim`, one by one."""
        extent, part, tile = self.extents[dim], self.parts[dim], self.tiles[dim]
        starts = [min(start, part - tile) for start in range(0, part, tile)]
        return [min(base, extent - part) + start for base in range(0, extent, part) for start in starts]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        depth = 0

        def line(text: str) -> str:
            return "  " * depth + text

        if self.workgroup:
            grid = ", ".join(f"{axis.loop} by {axis.step} ({axis.count})" for axis in self.workgroup)
            yield line(f"for workgroup in {grid}")
            depth += 1
        blocks = self.cache[-1:] if self.chunk else ()
        for axis in (*self.cache[: len(self.cache) - len(blocks)], *self.chunk, *blocks):
            if axis.count > 1:
                yield line(_loop(axis))
                depth += 1
        if self.workload.producer is not None:
            yield line(self._producer(self.workload.producer))
        tile = "".join(f"[{axis.count} {axis.loop}]" for axis in self.register)
        yield line(f"acc{tile} x {self.lane.extent} lanes of {self.lane.loop} = {self._initial()}")
        inner = depth
        if self.workload.sparsity is not None:
            yield line(f"for the non-zeros of {', '.join(axis.loop for axis in self.reduce)}")
            depth += 1
        else:
            for axis in self.reduce:
                if axis.count > 1:
                    yield line(_loop(axis))
                    depth += 1
            for axis in self.unroll:
                yield line(f"for {axis.loop} in {axis.extent}: unrolled")
                depth += 1
        yield line(f"acc = {_call(self.workload, self.workload.root)}")
        depth = inner
        for number, stage in enumerate(self.workload.stages[1:], 1):
            yield line(f"stage{number} = {_call(self.workload, stage)}")
        for output in self.workload.outputs:
            value = f"stage{output.stage}" if output.stage else "acc"
            into = "" if output.into is None else f" into tensor{output.into}"
            padded = ", padded" if any((*output.low, *output.high)) else ""
            yield line(f"store {value}{into}{padded}")

    def _producer(self, producer: Producer) -> str:
        apart = isinstance(self.schedule, Schedule) and self.schedule.apart
        how = "by a kernel of its own" if apart else "what is read within the outermost loops that it depends on"
        return f"tensor{producer.tensor} = {_call(producer.workload, producer.workload.root)}: {how}"

    def _initial(self) -> str:
        item = self.workload.root.initial
        return "none" if item is None else _operand(self.workload, item)


def _span(extent: int, part: int, tile: int, begin: int | None, last_apart: bool) -> Span:
    begins = () if part == extent else (part, extent - part) if begin is None else (begin,)
    inside = (tile, *(() if last_apart else (part - tile,))) if tile != part else ()
    return Span(0, extent - tile, math.gcd(*begins, *inside))


def _apart(workload: Workload, schedule: LoopSchedule, dim: int) -> tuple[bool, bool]:
    """Whether the first and the last tile of a loop are code of their own: where it is peeled, and they have less to
    compute than the others."""
    loop = workload.names[dim]
    extent = workload.extents[loop]
    part, tile = schedule.part_of(loop, extent), schedule.tile_of(loop)
    if loop not in schedule.peel or part <= tile:
        return False, False
    # Which part of a split loop is at a border is not known before the kernel runs.
    border = part == extent and any(dim in border.loops for border in borders_of(workload))
    return border, border or part % tile != 0


def _loop(axis: Axis) -> str:
    if axis.role == "chunk":
        return f"for chunk of {axis.step} {axis.loop} in {axis.extent}"
    by = f" by {axis.step}" if axis.step > 1 else ""
    apart = " and ".join(name for name, is_so in (("first", axis.first_apart), ("last", axis.last_apart)) if is_so)
    moved = ", the last one moved back" if axis.overlaps else ""
    return f"for {axis.loop} in {axis.extent}{by}{moved}{f', the {apart} one apart' if apart else ''}"


def _operand(workload: Workload, item: Operand) -> str:
    if isinstance(item, Access):
        index = ", ".join(
            f"{text} + {offset}" if offset else text for text, offset in zip(item.index, item.offsets, strict=True)
        )
        return f"tensor{item.tensor}[{index}]"
    if isinstance(item, Computed):
        return f"stage{item.stage}" if item.stage else "acc"
    return item.value


def _call(workload: Workload, stage: Stage) -> str:
    names = " ".join(step.op.partition(".")[2] for step in stage.body) or "copy"
    operands = [_operand(workload, item) for item in stage.inputs if item is not None]
    return f"{stage.dot or names}({', '.join(operands)})"
