"""A pooling behind a product, in the same kernel: a workgroup computes a patch of the image that the pooling reads, and
of that, in shared memory, its part of the pooling's result. Pixels that two patches share are computed twice.

The pooling keeps its workload and its schedule, which says how many of its pixels a workgroup has:

    {kind = "pooled", tile = {oh = 7, ow = 7}}

The product's is another workload: its rows and columns of pixels are patches, and pixels within a patch, of which there
are as many as its tile has rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dlas_mlir.codegen.gpu.product import NotAProduct, layout_of
from dlas_mlir.codegen.gpu.schedule import GpuSchedule
from dlas_mlir.codegen.index import print_form
from dlas_mlir.codegen.schedule import ScheduleError
from dlas_mlir.codegen.workload import Access, Loop, Stage, Workload
from dlas_mlir.ir.strides import Floor, Form

KIND = "pooled"


class PooledSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of a pooling in the kernel of the product before it. tile: the pixels of its result that a workgroup computes, of
    each of its loops that has a window (none: it has one pixel)."""

    tile: dict[str, int] = {}
    kind: str = KIND

    def __hash__(self) -> int:
        return hash((self.kind, *sorted(self.tile.items())))

    def to_value(self) -> dict[str, Any]:
        """The JSON form as Python values."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """The canonical JSON form."""
        return msgspec.json.encode(self.to_value(), order="sorted").decode()

    def problem(self, workload: Workload) -> str | None:
        """Why this cannot be the schedule of `workload`, whatever the product, or None."""
        for loop, size in self.tile.items():
            if loop not in workload.parallel:
                return f"tile: `{loop}` is no loop of the result; they are {', '.join(workload.parallel)}"
            if not 1 <= size <= workload.extents[loop]:
                return f"tile: {size} of the {workload.extents[loop]} iterations of `{loop}`"
        return None


def read(value: Any, workload: Workload) -> PooledSchedule:
    """The schedule that `to_value` wrote, for `workload`. Raises ScheduleError naming the key and what is allowed."""
    try:
        found = msgspec.convert(value, PooledSchedule)
    except msgspec.ValidationError as error:
        raise ScheduleError(str(error)) from None
    if (why := found.problem(workload)) is not None:
        raise ScheduleError(why)
    return found


@dataclass(frozen=True)
class PooledNest:
    """What a pooling does in the kernel of the product before it."""

    workload: Workload
    schedule: PooledSchedule
    remark: str = ""

    def __str__(self) -> str:
        tile = " x ".join(str(size) for size in self.schedule.tile.values()) or "1"
        return f"of {tile} pixels: {', '.join(self.workload.reductions)} in the shared memory of the product before"


def refusal(workload: Workload) -> str | None:
    """Why `workload` is no pooling that a product's kernel can do, whatever the product, or None."""
    read = [item for item in workload.root.inputs if item is not None]
    if workload.producer is not None or workload.sparsity is not None or workload.root.dot is not None:
        return "it reads what another kernel computes for it, or has an encoding or an instruction of its own"
    if len(read) != 1 or not isinstance(read[0], Access) or not workload.reductions:
        return "it is no reduction of one tensor"
    if any(any((*o.low, *o.high, *o.at)) or o.into is not None for o in workload.outputs):
        return "its result is padded, or a part of another tensor"
    for number, stage in enumerate(workload.stages):
        for item in (stage.initial, *(stage.inputs if number else ())):
            if isinstance(item, Access):
                if item.tensor == read[0].tensor:
                    return "behind the pooling it reads what it pools"
                try:
                    layout = layout_of(workload, item, workload.tensors[item.tensor].element)
                except NotAProduct as error:
                    return f"behind the pooling {error}"
                if layout.guards or layout.groups:
                    return "behind the pooling it reads beyond the ends of an operand, or groups of channels"
    return None


@dataclass(frozen=True)
class Side:
    """One dimension of the image between the two: `loop` of the product, of `size` pixels; result number p of `count`
    of the pooling's loop `pooled` (empty: there is one) reads pixel p * stride + r * dilation + first for r < taps of
    its loop `window` (empty: one tap)."""

    loop: str
    size: int
    pooled: str
    count: int
    stride: int
    window: str
    taps: int
    dilation: int
    first: int

    def reads(self, tile: int) -> int:
        """How many pixels so many results read."""
        return (tile - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    @property
    def beyond(self) -> bool:
        """Whether a result reads pixels that there are not."""
        return self.first < 0 or (self.count - 1) * self.stride + self.first + self.reads(1) > self.size


@dataclass(frozen=True)
class Pooling:
    """How the pooling `workload` reads the result of a product: `sides` are the dimensions that it has a window over;
    `kept` are the others, the product's loop and its own, of which the last are columns."""

    workload: Workload
    sides: tuple[Side, ...]
    kept: tuple[tuple[str, str], ...]

    @staticmethod
    def of(product: Workload, workload: Workload) -> Pooling | str:
        """How `workload` reads the one result of `product`, or why it cannot be in its kernel."""
        if (why := refusal(workload)) is not None:
            return why
        if len(product.outputs) != 1 or any(
            any((*o.low, *o.high, *o.at)) or o.into is not None for o in product.outputs
        ):
            return "what it reads is one of several results, padded, or a part of another tensor"
        access = next(item for item in workload.root.inputs if isinstance(item, Access))
        sides, kept = [], []
        dims = zip(product.out, product.outputs[0].shape, workload.forms(access), access.offsets, strict=True)
        for loop, size, form, offset in dims:
            form = form.plus(Form(offset))
            same = _same(workload, form, size)
            if loop is None or product.extents[loop] == 1:
                if any(isinstance(term, Floor) or workload.loops[term].extent > 1 for term, _ in form.terms):
                    return "it has a window over a dimension of one element"
            elif same is not None:
                kept.append((loop, same))
            elif isinstance(side := _side(workload, loop, size, form), str):
                return side
            else:
                sides.append(side)
        return Pooling._checked(Pooling(workload, tuple(sides), tuple(kept)), product)

    @staticmethod
    def _checked(found: Pooling, product: Workload) -> Pooling | str:
        workload = found.workload
        used = [loop for side in found.sides for loop in (side.pooled, side.window) if loop]
        used += [own for _, own in found.kept]
        many = [loop for loop in workload.names if workload.extents[loop] > 1]
        if sorted(used) != sorted(many):
            return "its loops are not those of windows, and of what it keeps"
        if not 1 <= len(found.sides) <= 2 or not found.kept:
            return "it has a window over one or two dimensions, and keeps channels"
        wide = [loop for loop in product.out if loop is not None and product.extents[loop] > 1]
        if found.kept[-1][0] != wide[-1] or [own for own in workload.out if own in many][-1] != found.kept[-1][1]:
            return "its channels are not beside each other in what it reads and in its result"
        if [loop for loop, _ in found.kept[:-1]] != wide[: len(found.kept) - 1]:
            return "it has a window over images"
        return found

    @property
    def column(self) -> str:
        """The pooling's loop of channels."""
        return self.kept[-1][1]

    def tile(self, schedule: PooledSchedule) -> tuple[int, ...]:
        """Results of a workgroup along each side."""
        return tuple(schedule.tile.get(side.pooled, 1) for side in self.sides)

    def tiles(self, schedule: PooledSchedule) -> tuple[int, ...]:
        """Workgroups along each side."""
        return tuple(-(-side.count // size) for side, size in zip(self.sides, self.tile(schedule), strict=True))

    def patch(self, schedule: PooledSchedule, rows: int) -> tuple[int, ...] | str:
        """The pixels along each side that a workgroup of `rows` computes: powers of two, the first one as large as can
        be; or why there are too few."""
        needed = [side.reads(size) for side, size in zip(self.sides, self.tile(schedule), strict=True)]
        found = [1 << (size - 1).bit_length() for size in needed]
        if math.prod(found) > rows or rows % math.prod(found):
            pixels, patch = " x ".join(map(str, needed)), " x ".join(map(str, found))
            return f"tile: it reads {pixels} pixels of the product, in a patch of {patch}; a workgroup computes {rows}"
        found[0] *= rows // math.prod(found)
        return tuple(found)

    def patched(self, product: Workload, schedule: PooledSchedule, patch: Sequence[int]) -> Workload:
        """`product` with loops over patches, and over the pixels of one, instead of those over pixels. It has pixels
        beyond the image's ends; its result is laid out in that order."""
        kept, sides = [loop for loop, _ in self.kept], [side.loop for side in self.sides]
        extents = {**product.extents}
        for side, across, pixels in zip(self.sides, self.tiles(schedule), patch, strict=True):
            extents |= {patch_of(side): across, pixel_of(side): pixels}
        parallel = [*kept[:-1], *map(patch_of, self.sides), *map(pixel_of, self.sides), kept[-1]]
        names = [*parallel, *(loop for loop in product.names if loop not in (*kept, *sides))]
        loops = tuple(
            Loop(name, extents[name], "reduction" if name in product.reductions else "parallel") for name in names
        )
        replaced = {}
        for side, size in zip(self.sides, self.tile(schedule), strict=True):
            terms = {(names.index(patch_of(side)), side.stride * size), (names.index(pixel_of(side)), 1)}
            replaced[side.loop] = Form(side.first, frozenset(terms))

        def moved(item: Any) -> Any:
            if not isinstance(item, Access):
                return item
            forms = [_substituted(form, product.names, names, replaced) for form in product.forms(item)]
            return msgspec.structs.replace(item, index=tuple(print_form(form, names) for form in forms))

        def changed(stage: Stage) -> Stage:
            return msgspec.structs.replace(stage, inputs=tuple(map(moved, stage.inputs)), initial=moved(stage.initial))

        shape = tuple(extents[name] for name in parallel)
        none = (0,) * len(shape)
        (output,) = product.outputs
        return msgspec.structs.replace(
            product,
            loops=loops,
            out=tuple(parallel),
            stages=tuple(map(changed, product.stages)),
            outputs=(msgspec.structs.replace(output, shape=shape, low=none, high=none, at=none),),
        )


def patch_of(side: Side) -> str:
    """The loop over patches along a side."""
    return f"{side.loop}_patch"


def pixel_of(side: Side) -> str:
    """The loop over the pixels of a patch along a side."""
    return f"{side.loop}_pixel"


def problem(product: Workload, chosen: GpuSchedule, workload: Workload, schedule: PooledSchedule) -> str | None:
    """Why `workload` cannot be pooled by `schedule` in the kernel that `chosen` makes of `product`, or None."""
    if isinstance(pooling := Pooling.of(product, workload), str):
        return pooling
    if chosen.split > 1 or chosen.halo:
        return "split, halo: a product that is pooled has neither"
    if isinstance(patch := pooling.patch(schedule, chosen.tile.rows), str):
        return patch
    return chosen.problem(pooling.patched(product, schedule, patch))


def _same(workload: Workload, form: Form, size: int) -> str | None:
    """The parallel loop that `form` is, over all `size` positions; None where it is something else."""
    if form.constant or len(form.terms) != 1:
        return None
    ((term, factor),) = form.terms
    if factor != 1 or not isinstance(term, int):
        return None
    loop = workload.loops[term]
    return loop.name if loop.kind == "parallel" and loop.extent == size else None


def _side(workload: Workload, loop: str, size: int, form: Form) -> Side | str:
    terms = {}
    for term, factor in form.terms:
        if isinstance(term, Floor):
            return "it divides a loop to index what it reads"
        if workload.loops[term].extent > 1:
            if workload.loops[term].kind in terms:
                return "two of its loops run over one dimension"
            terms[workload.loops[term].kind] = (workload.names[term], factor)
    pooled, stride = terms.get("parallel", ("", 1))
    window, dilation = terms.get("reduction", ("", 1))
    if stride < 1 or dilation < 1:
        return "it reads backwards"
    count = workload.extents[pooled] if pooled else 1
    taps = workload.extents[window] if window else 1
    return Side(loop, size, pooled, count, stride, window, taps, dilation, form.constant)


def _substituted(form: Form, old: Sequence[str], new: Sequence[str], replaced: dict[str, Form]) -> Form:
    """`form` over the loops `new` instead of `old`, where those in `replaced` are forms over `new`. Floors hold none of
    those."""
    found = Form(form.constant)
    for term, factor in form.terms:
        if isinstance(term, Floor):
            inner = _substituted(term.form, old, new, replaced)
            found = found.plus(inner.floordiv(term.divisor).times(factor))
        else:
            name = old[term]
            own = replaced[name] if name in replaced else Form(0, frozenset({(new.index(name), 1)}))
            found = found.plus(own.times(factor))
    return found
