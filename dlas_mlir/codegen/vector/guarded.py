"""Reading lanes where some may lie beyond the ends of a tensor: there is a constant."""

from __future__ import annotations

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.codegen import build
from dlas_mlir.codegen.position import Position
from dlas_mlir.codegen.region import Access
from dlas_mlir.codegen.vector.reader import Reader
from dlas_mlir.ir import affine
from dlas_mlir.ir.strides import Span, form_of


class GuardedReader(Reader):
    """A Reader of padding that nobody has written. What is read beyond an end is read at the end, and then replaced:
    all threads load at the same time, and no load waits for a branch."""

    def _load(self, access: Access, position: Position) -> ir.Value:
        outside, loop = access.view.outside, self.vectors.loop
        guarded = [] if outside is None else self._guarded(access, position)
        if outside is None or not guarded:
            return super()._load(access, position)
        lanes = self._lanes_of(access, position)
        if lanes.broadcast:
            return build.broadcast(build.lane(self._chosen(access, position, guarded, outside, 1), 0), self.lanes)
        if lanes.contiguous and not any(loop in affine.dims_of(access.exprs[dim]) for dim in guarded):
            return self._chosen(access, position, guarded, outside, self.lanes)
        each = [self._chosen(access, position.at(loop, lane), guarded, outside, 1) for lane in range(self.lanes)]
        return build.from_scalars([build.lane(vector, 0) for vector in each])

    def _guarded(self, access: Access, position: Position) -> list[int]:
        """The dimensions in which some lanes may be beyond an end."""
        spans = []
        for loop, (value, constant) in enumerate(zip(position.values, position.constants, strict=True)):
            base = Span(0, 0) if value is None else self.spans[loop]
            more = self.lanes - 1 if loop == self.vectors.loop else 0
            spans.append(Span(base.low, base.high + more).plus(constant))
        found = []
        for dim, (expr, offset, size) in enumerate(zip(access.exprs, access.view.offsets, _shape(access), strict=True)):
            form = form_of(expr)
            span = None if form is None else form.span(spans).plus(offset)
            if span is None or span.low < 0 or span.high >= size:
                found.append(dim)
        return found

    def _chosen(
        self, access: Access, position: Position, guarded: list[int], outside: ir.Attribute, lanes: int
    ) -> ir.Value:
        """`lanes` neighbours from `position` on, all of which are inside, or `outside` where all are not."""
        indices, shape = self.indices(access, position), _shape(access)
        inside = None
        for dim in guarded:
            index, last = indices[dim], affine.constant(shape[dim] - 1)
            # As numbers without a sign, negative ones are large.
            fits = arith.cmpi(arith.CmpIPredicate.ult, index, build.index(shape[dim]))
            inside = fits if inside is None else arith.andi(inside, fits)
            near = build.minimum([affine.dim(0), last], [index])
            indices[dim] = build.maximum([affine.dim(0), affine.constant(0)], [near])
        read = build.read_vector(self.source(access), indices, lanes)
        condition = build.broadcast(inside, lanes) if inside is not None else None
        return read if condition is None else arith.select(condition, read, build.splat(outside, lanes))


def _shape(access: Access) -> list[int]:
    return list(ir.RankedTensorType(access.view.source.type).shape)
