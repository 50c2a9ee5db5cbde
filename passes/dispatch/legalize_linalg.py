"""dlas-legalize-linalg: what no kernel of ours computes, in forms that iree-compile takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import arith, util

from dlas_mlir.codegen.build import apply, extract
from dlas_mlir.ir import affine, build
from dlas_mlir.ir.constants import are_made_of_constants
from dlas_mlir.ir.linalg import fill_constant, indexing_maps, is_plain_insertion, iterators, scalar_constant
from dlas_mlir.ir.views import behind_slices
from dlas_mlir.opt.base import Pass, option
from dlas_mlir.passes.dispatch._reduction import combiner_of, start_of
from dlas_mlir.passes.dispatch._unread import trim_inputs


@dataclass(frozen=True)
class LegalizeLinalgPass(Pass):
    """Rewrite the linalg operations outside of kernels that iree-compile crashes at, refuses or computes wrong.

    An input that is read through a map with sums, floordiv or mod in it (other than the window of a convolution) is
    read in the body, by its indices: iree-compile crashes where it looks for a convolution in such a map, be it one
    that it has made itself by fusion. Without `index` it stays: a GPU copies images into matrices so.

    A single element of a slice (an unpacked value is one too), whether it is then transposed or reshaped, is read from
    what it is a slice of: iree-compile fails at a slice whose neighbours are none in memory.

    A slice of one element of several gets a util.optimization_barrier behind it: iree-compile makes a number of it, and
    then, where that is given more dimensions than it was cut from (by a reshape, a broadcast, a pack), a slice of more
    dimensions than its source has.

    An input of which a window with one place leaves rows unread is cut off.

    A reduction that starts from a constant tensor starts from the neutral element, and is combined with the constant
    afterwards: iree-compile itself would start from zero and add the constant, also to a maximum, or fails.

    A sort, scatter or scan (tm_tensor) of what is computed from nothing, such as the numbers that torch.topk sorts with
    its values, gets it behind a util.optimization_barrier: iree-compile computes such a value anew for everyone who
    writes over it, and then makes one of all that are equal, in one buffer.

    What is computed by indices and read by a named operation (a convolution, a pooling) gets behind such a barrier too:
    iree-compile computes it in the tiles of that operation, by the indices of the first one.

    A reduction of what holds one number everywhere gets it behind such a barrier: iree-compile would put the number
    itself into the body, and adds it once for a whole vector then.

    What is inserted into a tensor that holds one constant is padded with it: iree-compile writes the rows of such an
    insertion one after the other, where what is inserted is narrower.

    Before:
    ```mlir
    #map = affine_map<(d0, d1) -> (d0, d1 floordiv 8 + 1)>
    %1 = linalg.generic ins(%x : tensor<2x9xi1>) outs(%e : tensor<2x64xi1>) {indexing_maps = [#map, ...]} {
    ^bb0(%a: i1, %o: i1):
      %n = arith.xori %a, %true : i1
    }
    ```
    After:
    ```mlir
    %1 = linalg.generic ins(%unused : tensor<i1>) outs(%e : tensor<2x64xi1>) {indexing_maps = [() -> (), ...]} {
    ^bb0(%a: i1, %o: i1):
      %i = linalg.index 0
      %j = linalg.index 1
      %k = affine.apply affine_map<(d0, d1) -> (d1 floordiv 8 + 1)>(%i, %j)
      %in = tensor.extract %x[%i, %k] : tensor<2x9xi1>
      %n = arith.xori %in, %true : i1
    }
    ```
    """

    name: ClassVar[str] = "dlas-legalize-linalg"

    index: bool = option(True, "read by indices what is read through sums, quotients and remainders")

    def run(self, module: ir.Module) -> None:
        barriers: dict[ir.Value, ir.Value] = {}
        for op in _outside_of_kernels(module):
            if op.name.startswith("tm_tensor."):
                _hide_origins(op, barriers)
            if op.name == "tensor.insert_slice":
                _pad_instead(op)
                continue
            if op.name == "tensor.extract_slice":
                _hide_single_element(op)
            if op.name.startswith("linalg."):
                trim_inputs(op)
                _hide_indices(op, barriers)
                _hide_numbers(op, barriers)
            if op.name == "linalg.generic" and self.index:
                _read_by_index(op)
                _read_behind_slices(op)
            if op.name.startswith("linalg."):
                _start_from_neutral(op)
        build.erase_dead(module)


def _outside_of_kernels(module: ir.Module) -> Iterator[ir.Operation]:
    """What is left to iree-compile, in loops and branches too."""
    pending = build.operations(module)[::-1]
    while pending:
        op = pending.pop()
        if op.name == "flow.dispatch.region" or op.name.startswith("scf."):
            blocks = [block for region in op.regions for block in region.blocks]
            pending += [inner.operation for block in blocks for inner in block.operations][::-1]
        else:
            yield op


def _pad_instead(op: ir.Operation) -> None:
    if not is_plain_insertion(op) or (filler := _filling(op.operands[1])) is None:
        return
    low = list(ir.DenseI64ArrayAttr(op.attributes["static_offsets"]))
    sizes = ir.RankedTensorType(op.operands[0].type).shape
    whole = ir.RankedTensorType(op.results[0].type).shape
    high = [end - start - size for start, size, end in zip(low, sizes, whole, strict=True)]
    with ir.InsertionPoint(op), op.location:
        constant = arith.constant(filler.type, filler)  # type: ignore[attr-defined]
        op.results[0].replace_all_uses_with(build.pad(op.operands[0], low, high, constant))
    op.erase()


def _hide_single_element(op: ir.Operation) -> None:
    result = op.results[0]
    if not build.is_static(op) or prod(result.type.shape) != 1 or prod(op.operands[0].type.shape) == 1:
        return
    uses = list(result.uses)
    with ir.InsertionPoint.after(op), op.location:
        hidden = util.optimization_barrier([result.type], [result])
    for use in uses:
        use.owner.operands[use.operand_number] = hidden


def _filling(value: ir.Value) -> ir.Attribute | None:
    """The constant that `value` holds everywhere, if it is filled with one."""
    op = build.defining(value)
    return fill_constant(op) if op is not None and op.name == "linalg.fill" else scalar_constant(value)


def _hide_origins(op: ir.Operation, barriers: dict[ir.Value, ir.Value]) -> None:
    for place, value in enumerate(op.operands):
        if not isinstance(value.type, ir.RankedTensorType) or not _is_from_nothing(value):
            continue
        _hide(op, place, barriers)


def _hide_indices(op: ir.Operation, barriers: dict[ir.Value, ir.Value]) -> None:
    if op.name == "linalg.generic":
        return
    for place, value in enumerate(op.operands):
        producer = build.defining(value)
        if producer is None or producer.name != "linalg.generic":
            continue
        if any(inner.operation.name == "linalg.index" for inner in producer.regions[0].blocks[0].operations):
            _hide(op, place, barriers)


def _hide_numbers(op: ir.Operation, barriers: dict[ir.Value, ir.Value]) -> None:
    if not op.regions or len(op.results) != 1 or not list(op.regions[0].blocks[0].arguments[-1].uses):
        return
    places = range(len(op.operands) - 1)
    read = [place for place in places if list(op.regions[0].blocks[0].arguments[place].uses)]
    if all(_is_one_number(op.operands[place]) for place in read):
        for place in read:
            if isinstance(op.operands[place].type, ir.RankedTensorType):
                _hide(op, place, barriers)


def _is_one_number(value: ir.Value) -> bool:
    """Whether iree-compile may find that `value` holds the same number everywhere."""
    op = build.defining(value)
    if op is None:
        return False
    if op.name in ("linalg.fill", "tensor.empty") or scalar_constant(value) is not None:
        return True
    if op.name == "linalg.generic" and any(
        inner.operation.name == "linalg.index" for inner in op.regions[0].blocks[0].operations
    ):
        return False
    moves = ("tensor.extract_slice", "tensor.expand_shape", "tensor.collapse_shape", "tensor.cast")
    return (op.name in moves or op.name.startswith("linalg.")) and all(map(_is_one_number, op.operands))


def _hide(op: ir.Operation, place: int, barriers: dict[ir.Value, ir.Value]) -> None:
    """Put a barrier between `op` and its operand number `place`, one for all readers of it."""
    value = op.operands[place]
    if value not in barriers:
        with ir.InsertionPoint.after(value.owner), op.location:
            barriers[value] = util.optimization_barrier([value.type], [value])
    op.operands[place] = barriers[value]


def _is_from_nothing(value: ir.Value) -> bool:
    """Whether `value` is computed by indices and constants alone."""
    op = build.defining(value)
    if op is None or op.name in ("tensor.empty", "arith.constant", "util.optimization_barrier"):
        return False
    return are_made_of_constants(build.read_by(op))


def _read_by_index(op: ir.Operation) -> None:
    maps, kinds = indexing_maps(op), iterators(op)
    if all(map_.n_symbols == 0 for map_ in maps):
        for place in range(len(op.operands) - len(op.results)):
            if not all(_is_taken(expr, kinds) for expr in maps[place].results):
                _read_in_body(op, place)


def _is_taken(expr: ir.AffineExpr, kinds: Sequence[str]) -> bool:
    """Whether `expr` is a loop, every n-th of one, a constant, or two loops that are the window of a convolution."""
    terms = _terms(expr)
    scaled = [term for term in terms if _is_scaled(term)]
    if len(terms) == 1:
        return bool(scaled) or not affine.dims_of(expr)
    loops = [kinds[loop] for term in scaled for loop in affine.dims_of(term)]
    return len(terms) == 2 and sorted(loops) == ["parallel", "reduction"]


def _terms(expr: ir.AffineExpr) -> list[ir.AffineExpr]:
    expr = expr.maybe_downcast()
    if not isinstance(expr, ir.AffineAddExpr):
        return [expr]
    binary = ir.AffineBinaryExpr(expr)
    return _terms(binary.lhs) + _terms(binary.rhs)


def _is_scaled(expr: ir.AffineExpr) -> bool:
    """Whether `expr` is a loop, or a loop times a positive constant."""
    if affine.is_dim(expr):
        return True
    if not isinstance(expr, ir.AffineMulExpr):
        return False
    binary = ir.AffineBinaryExpr(expr)
    factor = binary.rhs.maybe_downcast()
    return affine.is_dim(binary.lhs) and isinstance(factor, ir.AffineConstantExpr) and factor.value > 0


def _read_in_body(op: ir.Operation, place: int) -> None:
    """Read the input at `place` in the body of `op`, by indices. Its operand becomes one that nobody reads, and that
    says how far the loops go that no other is indexed by alone."""
    maps = indexing_maps(op)
    source, map_ = op.operands[place], maps[place]
    if not isinstance(source.type, ir.RankedTensorType) or source.type.encoding is not None:
        return
    others = [expr for i, other in enumerate(maps) if i != place for expr in other.results]
    known = {affine.dim_position(expr) for expr in others if affine.is_dim(expr)}
    kept = {
        affine.dim_position(expr): size
        for expr, size in zip(map_.results, source.type.shape, strict=True)
        if affine.is_dim(expr) and affine.dim_position(expr) not in known
    }
    if any(ir.ShapedType(source.type).is_dynamic_size(size) for size in kept.values()):
        return
    with ir.InsertionPoint(op), op.location:
        op.operands[place] = build.empty(list(kept.values()), source.type.element_type)
    maps[place] = ir.AffineMap.get(map_.n_dims, 0, [affine.dim(loop) for loop in kept])
    op.attributes["indexing_maps"] = build.maps_attr(maps)
    body = op.regions[0].blocks[0]
    with ir.InsertionPoint.at_block_begin(body), op.location:
        element = _extract(source, map_.results, map_.n_dims)
    body.arguments[place].replace_all_uses_with(element)


def _extract(source: ir.Value, exprs: Sequence[ir.AffineExpr], count: int) -> ir.Value:
    """The element of `source` at `exprs` over `count` loops."""
    index = ir.IndexType.get()
    i64 = ir.IntegerType.get_signless(64)
    loops = [
        ir.Operation.create("linalg.index", results=[index], attributes={"dim": ir.IntegerAttr.get(i64, loop)}).result
        for loop in range(count)
    ]
    return extract(source, [_index(expr, loops) for expr in exprs])


def _index(expr: ir.AffineExpr, values: Sequence[ir.Value]) -> ir.Value:
    """`expr` over `values`."""
    return values[affine.dim_position(expr)] if affine.is_dim(expr) else apply(expr, values)


def _read_behind_slices(op: ir.Operation) -> None:
    """Read the elements of slices that the body of `op` reads by indices from what they are slices of."""
    for inner in [inner.operation for inner in op.regions[0].blocks[0].operations]:
        if inner.name != "tensor.extract":
            continue
        source, *indices = inner.operands
        origin, exprs, values = behind_slices(source, indices)
        if origin != source:
            with ir.InsertionPoint(inner), inner.location:
                inner.result.replace_all_uses_with(extract(origin, [_index(expr, values) for expr in exprs]))
            inner.erase()


def _start_from_neutral(op: ir.Operation) -> None:
    if len(op.results) != 1 or not op.regions or not build.is_static(op):
        return
    place = len(op.operands) - 1
    start = op.operands[place]
    constant = build.defining(start)
    if constant is None or constant.name != "arith.constant" or not isinstance(start.type, ir.RankedTensorType):
        return
    combiner = combiner_of(op.regions[0].blocks[0])
    if combiner is None or scalar_constant(start) is not None:
        return
    shape = start.type.shape
    with ir.InsertionPoint(op), op.location:
        op.operands[place] = build.fill(start_of(combiner, start.type.element_type), shape)
    identity = [affine.dim(i) for i in range(len(shape))]
    uses = list(op.results[0].uses)
    with ir.InsertionPoint.after(op), op.location:
        combined = build.generic(
            [op.results[0], start],
            build.empty(shape, start.type.element_type),
            [identity] * 3,
            ["parallel"] * len(shape),
            lambda value, first, _: ir.Operation.create(combiner, results=[value.type], operands=[value, first]).result,
        )
    for use in uses:
        use.owner.operands[use.operand_number] = combined.results[0]
