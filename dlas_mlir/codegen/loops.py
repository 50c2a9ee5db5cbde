"""The loops of a kernel. An axis of one step is no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.nest import Axis
from dlas_mlir.codegen.position import Place
from dlas_mlir.ir import affine

Values = list[ir.Value]


def over_tiles(axes: Sequence[Axis], place: Place, carried: Values, body: Callable[[Place, Values], Values]) -> Values:
    """Loops from the outermost in, over parts of a workgroup's work. `body` gets where each part begins, and what is
    carried. The first and the last step stand before and behind the loop where the axis says so."""
    if not axes:
        return body(place, carried)
    axis, *rest = axes
    if axis.count == 1:
        return over_tiles(rest, place, carried, body)
    first, stop = int(axis.first_apart), axis.count - int(axis.last_apart)
    if first:
        carried = over_tiles(rest, place.at(axis.dim, 0), carried, body)

    def iteration(iv: ir.Value, inner: Values) -> Values:
        if axis.overlaps:
            iv = build.minimum([affine.dim(0), affine.constant(axis.extent - axis.step)], [iv])
        return over_tiles(rest, place.advanced(axis.dim, iv), inner, body)

    if stop - first == 1:
        carried = over_tiles(rest, place.at(axis.dim, first * axis.step), carried, body)
    elif stop > first:
        low, step = build.index(first * axis.step), build.index(axis.step)
        high = build.index(stop * axis.step if axis.last_apart else axis.extent)
        carried = build.for_range(low, high, step, carried, iteration)
    if axis.last_apart:
        start = stop * axis.step
        last = place.at(axis.dim, start).with_part(axis.dim, axis.extent - start)
        carried = over_tiles(rest, last, carried, body)
    return carried
