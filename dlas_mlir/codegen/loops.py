"""The loops of a kernel. An axis of one step is no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree.compiler import ir

from dlas_mlir.codegen import build
from dlas_mlir.codegen.nest import Axis
from dlas_mlir.codegen.position import Place, Position
from dlas_mlir.ir import affine

Values = list[ir.Value]


def over_tiles(axes: Sequence[Axis], place: Place, carried: Values, body: Callable[[Place, Values], Values]) -> Values:
    """Loops from the outermost in, over parts of a workgroup's work. `body` gets where each part begins, and what is
    carried."""
    if not axes:
        return body(place, carried)
    axis, *rest = axes
    if axis.count == 1:
        return over_tiles(rest, place, carried, body)

    def iteration(iv: ir.Value, inner: Values) -> Values:
        if axis.overlaps:
            iv = build.minimum([affine.dim(0), affine.constant(axis.extent - axis.step)], [iv])
        here = place.here.advanced(axis.dim, iv)
        return over_tiles(rest, Place(here, place.inside.moved(axis.dim, iv)), inner, body)

    return build.for_loop(axis.extent, axis.step, carried, iteration)


def over_sums(
    axes: Sequence[Axis],
    here: Position,
    sums: Values,
    body: Callable[[Position, Values], Values],
    apart: int | None = None,
) -> Values:
    """Loops from the outermost in, over what is summed; steps divide extents. The last step of the loop `apart` is
    written out behind it."""
    if not axes:
        return body(here, sums)
    axis, *rest = axes
    if axis.count == 1:
        return over_sums(rest, here, sums, body, apart)

    def iteration(iv: ir.Value, carried: Values) -> Values:
        return over_sums(rest, here.moved(axis.dim, iv), carried, body, apart)

    if axis.dim != apart:
        return build.for_loop(axis.extent, axis.step, sums, iteration)
    last = axis.extent - axis.step
    sums = build.for_loop(last, axis.step, sums, iteration)
    return over_sums(rest, here.at(axis.dim, last), sums, body, apart)
