"""dlas-read-in-place: what is gathered from places that are known becomes an operand that is indexed by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir

from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import Constants
from dlas_mlir.ir.evaluate import CannotEvaluate, aligned, evaluate_values, is_elementwise
from dlas_mlir.ir.linalg import indexing_maps, iterators, loop_extents
from dlas_mlir.ir.quotients import quotient_of
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class ReadInPlacePass(Pass):
    """Make an operand with an affine map of what the body of an element-wise linalg.generic extracts, if its place in
    each dimension is a known number or, for a loop i, `(i * a + b) floordiv d` (up-sampling of images, any step through
    a dimension, tables of such numbers). The element-wise operation that alone reads the result is then done in
    the same linalg.generic, and so on: interpolation of four neighbours becomes one.

    So such operations keep to the layout of their neighbours, become kernels, and write padding and their part of a
    concatenation themselves. For a GPU, iree-compile's own way with such reads stays.

    Before:
    ```mlir
    %1 = linalg.generic {indexing_maps = [(d0, d1) -> (d0, d1)]} outs(%e : tensor<4x8xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0
      %j = linalg.index 1
      %k = arith.divsi %j, %two
      %in = tensor.extract %x[%i, %k] : tensor<4x4xf32>
      linalg.yield %in
    }
    ```
    After:
    ```mlir
    %1 = linalg.generic {indexing_maps = [(d0, d1) -> (d0, d1 floordiv 2), (d0, d1) -> (d0, d1)]}
        ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%in: f32, %o: f32):
      linalg.yield %in
    }
    ```
    """

    name: ClassVar[str] = "dlas-read-in-place"

    def run(self, module: ir.Module) -> None:
        if not isinstance(Target.of(module), CpuTarget):
            return
        constants = Constants(module.operation)
        read = [new for op in build.operations(module) if (new := _read_in_place(op, constants)) is not None]
        pending = {build.identity(op): op for op in read}
        while pending:
            _, op = pending.popitem()
            while (reader := _only_reader(op)) is not None:
                pending.pop(build.identity(reader), None)
                op = _joined(op, reader)
        build.erase_dead(module)


def _read_in_place(op: ir.Operation, constants: Constants) -> ir.Operation | None:
    """`op` anew with operands for all that it extracts; None where it extracts nothing, or from elsewhere."""
    if not is_elementwise(op) or not build.is_static(op) or not _ignores_start(op):
        return None
    body = op.regions[0].blocks[0]
    extracts = [inner.operation for inner in body.operations if inner.operation.name == "tensor.extract"]
    places = [_places(op, extract, constants) for extract in extracts]
    if not places or any(found is None for found in places):
        return None
    maps, count = indexing_maps(op), len(iterators(op))
    inputs = list(op.operands)[:-1]
    added = [ir.AffineMap.get(count, 0, [place.expr for place in found]) for found in places if found is not None]

    def adapted(arguments: Sequence[ir.Value]) -> ir.Value:
        own, elements, start = arguments[: len(inputs)], arguments[len(inputs) : -1], arguments[-1]
        known = dict(zip(body.arguments, [*own, start], strict=True))
        known.update(zip([extract.result for extract in extracts], elements, strict=True))
        return _inlined(body, known)

    with ir.InsertionPoint(op), op.location:
        sources = [_part(extract.operands[0], found) for extract, found in zip(extracts, places, strict=True) if found]
    return _replaced(op, [*inputs, *sources], [*maps[:-1], *added, maps[-1]], adapted)


def _ignores_start(op: ir.Operation) -> bool:
    return not list(op.regions[0].blocks[0].arguments[-1].uses)


@dataclass(frozen=True)
class _Place:
    """An index, and the part of its dimension of the tensor that it counts in: of a loop alone (no step, no quotient)
    the range that it runs over, as linalg takes the extents of loops from such operands."""

    expr: ir.AffineExpr
    offset: int
    size: int


def _part(source: ir.Value, places: Sequence[_Place]) -> ir.Value:
    """What `places` count in."""
    sizes = [place.size for place in places]
    whole = sizes == list(ir.RankedTensorType(source.type).shape)
    return source if whole else build.extract_slice(source, [place.offset for place in places], sizes)


def _places(op: ir.Operation, extract: ir.Operation, constants: Constants) -> list[_Place] | None:
    """Where `extract` reads, by the loops of `op`, all of it within the tensor."""
    source = extract.operands[0]
    if not isinstance(source.owner, ir.Block) and source.owner.operation.block == op.regions[0].blocks[0]:
        return None
    extents, maps = loop_extents(op), indexing_maps(op)
    try:
        arrays = [constants.read(value) for value in list(op.operands)[:-1]]
        known = [
            None if array is None else aligned(array, map_, len(extents))
            for array, map_ in zip(arrays, maps, strict=False)
        ]
        tables = evaluate_values(op.regions[0].blocks[0], [*known, None], list(extract.operands)[1:], extents)
    except CannotEvaluate:
        return None
    found: list[_Place] = []
    for table, size in zip(tables, ir.RankedTensorType(source.type).shape, strict=True):
        place = _place(table, size)
        if place is None:
            return None
        found.append(place)
    return found


def _place(table: np.ndarray, size: int) -> _Place | None:
    """The index that has the values of `table`, which has a dimension for each loop."""
    if not table.size or table.min() < 0 or table.max() >= size:
        return None
    if (table == table.flat[0]).all():
        return _Place(affine.constant(int(table.flat[0])), 0, size)
    loops = [loop for loop, count in enumerate(table.shape) if count > 1]
    found = quotient_of(table.reshape(-1)) if len(loops) == 1 else None
    if found is None:
        return None
    factor, shift, whole = found
    if (factor, whole) == (1, 1):
        return _Place(affine.dim(loops[0]), shift, table.size)
    scaled = affine.dim(loops[0]) * factor + shift
    return _Place(scaled if whole == 1 else ir.AffineExpr.get_floor_div(scaled, whole), 0, size)


def _inlined(body: ir.Block, known: dict[ir.Value, ir.Value]) -> ir.Value:
    """Clone what the yielded value of `body` still needs, with what is `known` of it, and return that value."""
    *inner, end = [op.operation for op in body.operations]
    needed, kept = {end.operands[0]} - set(known), []
    for op in reversed(inner):
        if any(result in needed for result in op.results):
            kept.append(op)
            needed |= set(op.operands) - set(known)
    for op in reversed(kept):
        clone = op.clone()
        for place, value in enumerate(op.operands):
            clone.operands[place] = known.get(value, value)
        known.update(zip(op.results, clone.results, strict=True))
    return known.get(end.operands[0], end.operands[0])


def _replaced(op: ir.Operation, inputs: Sequence[ir.Value], maps: Sequence[ir.AffineMap], body: object) -> ir.Operation:
    """A linalg.generic on `inputs`, each tensor and map once and those alone that its body reads, instead of `op`."""
    keys = list(dict.fromkeys(zip(inputs, map(str, maps), strict=False)))
    places = [keys.index(key) for key in zip(inputs, map(str, maps), strict=False)]
    by_key = dict(zip(zip(inputs, map(str, maps), strict=False), maps, strict=False))

    def make(kept: Sequence[int]) -> ir.Operation:
        def adapted(*arguments: ir.Value) -> ir.Value:
            at = dict(zip(kept, arguments, strict=False))
            # What nobody reads has no argument of its own; any will do.
            return body([*(at.get(place, arguments[-1]) for place in places), arguments[-1]])  # type: ignore[operator]

        with ir.InsertionPoint(op), op.location:
            exprs = [list(by_key[keys[place]].results) for place in kept]
            return build.generic(
                [keys[place][0] for place in kept],
                op.operands[len(op.operands) - 1],
                [*exprs, list(maps[-1].results)],
                iterators(op),
                adapted,
            ).operation

    whole = make(range(len(keys)))
    arguments = whole.regions[0].blocks[0].arguments
    used = [place for place in range(len(keys)) if list(arguments[place].uses)]
    if len(used) < len(keys):
        fewer = make(used)
        whole.erase()
        whole = fewer
    op.results[0].replace_all_uses_with(whole.results[0])
    op.erase()
    return whole


def _only_reader(op: ir.Operation) -> ir.Operation | None:
    """The element-wise operation of the same loops that alone reads `op`, once."""
    uses = list(op.results[0].uses)
    if len(uses) != 1 or not is_elementwise(op) or not _ignores_start(op):
        return None
    reader, place = uses[0].owner.operation, uses[0].operand_number
    if reader.name != "linalg.generic" or reader.block != op.block or not build.is_static(reader):
        return None
    if not is_elementwise(reader) or not _ignores_start(reader) or place == len(reader.operands) - 1:
        return None
    map_ = indexing_maps(reader)[place]
    loops = [affine.dim_position(expr) for expr in map_.results if affine.is_dim(expr)]
    return reader if sorted(loops) == list(range(map_.n_dims)) and len(loops) == len(map_.results) else None


def _joined(op: ir.Operation, reader: ir.Operation) -> ir.Operation:
    """`op` done within the body of `reader`."""
    place = next(i for i, value in enumerate(reader.operands) if value == op.results[0])
    maps, own = indexing_maps(reader), indexing_maps(op)
    count = maps[-1].n_dims
    # The loop of `op` that a dimension of its result runs over is what that dimension is indexed by in `reader`.
    loops: list[ir.AffineExpr] = [affine.constant(0)] * count
    for here, there in zip(own[-1].results, maps[place].results, strict=True):
        loops[affine.dim_position(here)] = there
    moved = [
        ir.AffineMap.get(count, 0, [affine.substitute(expr, loops, count) for expr in map_.results])
        for map_ in own[:-1]
    ]
    before, behind = list(reader.operands)[:place], list(reader.operands)[place + 1 : -1]
    inputs = [*before, *list(op.operands)[:-1], *behind]

    def body(arguments: Sequence[ir.Value]) -> ir.Value:
        first, rest = arguments[:place], arguments[place : place + len(moved)]
        inner = op.regions[0].blocks[0]
        element = _inlined(inner, dict(zip(inner.arguments, [*rest, arguments[-1]], strict=True)))
        outer = reader.regions[0].blocks[0]
        all_of = [*first, element, *arguments[place + len(moved) :]]
        return _inlined(outer, dict(zip(outer.arguments, all_of, strict=True)))

    new = _replaced(reader, inputs, [*maps[:place], *moved, *maps[place + 1 : -1], maps[-1]], body)
    op.erase()
    return new
