"""dlas-split-reductions: long reductions along neighbours in memory as partial results side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen.cascade import LONG_CONTRACTION
from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.ir import affine, build, loops
from dlas_mlir.ir.linalg import indexing_maps, iterators, scalar_constant
from dlas_mlir.opt.base import Pass, option
from dlas_mlir.passes.dispatch._generalize import generalized, is_pooling, is_product, is_row_by_column, summands
from dlas_mlir.passes.dispatch._reduction import Reduction

# The widest row of partial results in vectors, and the most that are left to combine.
_MAX_VECTORS = 8
_MAX_PARTIAL = 1024
# A result of fewer elements than this is computed in several parts, for threads and for chains that do not wait.
_FEW_RESULTS = 8
_MAX_PARTS = 16
_MIN_PART = 256
# What no kernel of ours computes (a single number, named operations) is added in one chain; ours makes blocks of more.
_ONE_CHAIN = 64


@dataclass(frozen=True)
class SplitReductionsPass(Pass):
    """Split a reduction of more than `length` elements in two where neighbours in memory are reduced (the mean of an
    image in NCHW, a layer norm, the sum of everything): first into as many partial results as fill vectors, which are
    the lanes, then these into one. Where the result has few elements, a second loop is split into parts, which are
    independent and can be given to threads. Kernels add long sums in blocks, see dlas-lower-dispatches.

    Whatever a row of lanes does not divide is reduced first, and is what the others start from. The result of rank 0
    gets one dimension, for a kernel, also where nothing is split. Contractions, products, short reductions and those
    whose results are neighbours themselves are left as they are. Poolings, and other named reductions (linalg.reduce,
    linalg.dot) of more than 64 elements or that start from something else than a fill, become a linalg.generic, of
    which kernels are made; so do products of matrices that iree-compile would add in one chain of more than 65536.

    Before:
    ```mlir
    %1 = linalg.generic {iterator_types = ["parallel", "reduction"]} ins(%x : tensor<64x768xf32>)
        outs(%zeros : tensor<64xf32>) { arith.addf }
    ```
    After, with 16 lanes:
    ```mlir
    #x = affine_map<(d0, d1, d2) -> (d0, d2 * 16 + d1)>
    %1 = linalg.generic {iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, ... : tensor<64x768xf32>, ...)
        outs(... : tensor<64x16xf32>) { arith.addf }
    %2 = linalg.generic {iterator_types = ["parallel", "reduction"]} ins(%1 : tensor<64x16xf32>)
        outs(%zeros : tensor<64xf32>) { arith.addf }
    ```
    """

    name: ClassVar[str] = "dlas-split-reductions"

    length: int = option(256, "the longest reduction that is left as it is", minimum=1)

    def run(self, module: ir.Module) -> None:
        target = Target.of(module)
        if target.kind == "gpu":
            return
        for op in build.operations(module):
            self._split(_generalized_if_better(op), target)
        build.erase_dead(module)

    def _split(self, op: ir.Operation, target: CpuTarget) -> ir.Value | None:
        """What replaces the result of `op`, which is erased; None where it stays."""
        reduction = Reduction.of(op)
        if reduction is None or reduction.is_contraction():
            return None
        with ir.InsertionPoint(op), op.location:
            result = self._in_parts(reduction, target)
            if result is None and not reduction.out:
                result = _over_one(reduction)
        if result is not None:
            op.results[0].replace_all_uses_with(result)
            op.erase()
        return result

    def _in_parts(self, reduction: Reduction, target: CpuTarget) -> ir.Value | None:
        """A long sum along neighbours in memory; None for any other reduction."""
        if reduction.combiner == "arith.mulf":
            # Products of parts can be infinite and zero where none of the whole's is: their product is no number.
            return None
        if reduction.length <= (self.length if _results(reduction) > 1 else min(self.length, _ONE_CHAIN)):
            return None
        loop = reduction.contiguous()
        lanes = target.lanes(getattr(reduction.element, "width", 32))
        if loop is None or lanes < 2:
            return None
        row = _row(reduction.extents[loop], lanes, few=_results(reduction) < _FEW_RESULTS)
        if row is None:
            return self._split_rest(reduction, loop, target)
        return _in_two(reduction, loop, row, _parts(reduction, loop, row))

    def _split_rest(self, reduction: Reduction, loop: int, target: CpuTarget) -> ir.Value | None:
        """Two reductions, of which the first takes what no row of lanes divides."""
        op, extent = reduction.op, reduction.extents[loop]
        whole = extent - extent % target.lanes(getattr(reduction.element, "width", 32))
        if not reduction.is_plain(loop, unused=True):
            return None
        destination = op.operands[len(op.operands) - 1]
        for offset, size in ((whole, extent - whole), (0, whole)):
            inputs = [
                _slice(value, exprs, loop, offset, size)
                for value, exprs in zip(op.operands, reduction.maps, strict=True)
            ][:-1]
            part = build.generic_like(op, inputs, destination, indexing_maps(op), iterators(op))
            destination = self._split(part, target) or part.results[0]
        return destination


def _generalized_if_better(op: ir.Operation) -> ir.Operation:
    # Of a named operation that starts from a constant iree-compile makes one that starts from zero, and adds the
    # constant to that: wrong for maxima and minima. linalg.reduce from a constant does not compile. A pooling of a
    # constant loses its window, and one that leaves rows of its input unread does not compile.
    count = summands(op)
    if count == 0 or _is_left(op, count):
        return op
    with ir.InsertionPoint(op), op.location:
        generic = generalized(op)
    op.results[0].replace_all_uses_with(generic.results[0])
    op.erase()
    return generic


def _is_left(op: ir.Operation, count: int) -> bool:
    if is_product(op):
        # A row by a column is a sum like any other.
        return count <= (_ONE_CHAIN if is_row_by_column(op) else LONG_CONTRACTION)
    return count <= _ONE_CHAIN and not is_pooling(op) and _starts_from_fill(op)


def _starts_from_fill(op: ir.Operation) -> bool:
    start = build.defining(op.operands[len(op.operands) - 1])
    return start is not None and start.name == "linalg.fill"


def _results(reduction: Reduction) -> int:
    return math.prod(reduction.extents[loop] for loop in reduction.out if loop is not None)


def _row(extent: int, lanes: int, few: bool) -> int | None:
    """How many neighbours become lanes: a divisor of `extent` that makes full vectors, or nearly. For few results
    several vectors, so that there are chains enough."""

    def loads(row: int) -> float:
        """Vector loads for one vector of elements."""
        width = lanes
        while width > row:
            width //= 2
        return -(-row // width) * lanes / row

    rows = [row for row in range(2, min(extent, _MAX_VECTORS * lanes) + 1) if extent % row == 0]
    if not rows:
        return None
    best = min(rows, key=lambda row: (loads(row), abs(row - (4 if few else 1) * lanes)))
    return best if loads(best) <= 1.5 or extent < lanes else None


def _parts(reduction: Reduction, loop: int, row: int) -> tuple[int, int]:
    """The loop that is split into independent parts, and into how many: 1 where the results are parts enough."""
    chain = reduction.length // row
    if _results(reduction) >= _FEW_RESULTS:
        return loop, 1
    most = min(_MAX_PARTS, _MAX_PARTIAL // row, chain // _MIN_PART)
    extents = {other: reduction.extents[other] // (row if other == loop else 1) for other in reduction.reductions}
    found = [
        (parts, -other)
        for other, extent in extents.items()
        for parts in range(2, min(most, extent) + 1)
        if extent % parts == 0
    ]
    parts, other = max(found, default=(1, -loop))
    return -other, parts


def _in_two(reduction: Reduction, loop: int, row: int, parts: tuple[int, int]) -> ir.Value:
    """Partial results, `row` of them side by side and as many rows as there are `parts`, and their combination."""
    op = reduction.op
    out = [other for other in reduction.out if other is not None and reduction.extents[other] > 1]
    split, count = parts
    left = {other: reduction.extents[other] for other in reduction.reductions}
    left[loop] //= row
    left[split] //= count
    inner = [other for other in reduction.reductions if left[other] > 1]
    kinds = ["parallel"] * (len(out) + (count > 1) + 1) + ["reduction"] * len(inner)
    dims = {other: affine.dim(place) for place, other in enumerate(out)}
    dims |= {other: affine.dim(len(kinds) - len(inner) + place) for place, other in enumerate(inner)}
    lane = affine.dim(len(kinds) - len(inner) - 1)
    values = [dims.get(other, affine.constant(0)) for other in range(len(reduction.extents))]
    if count > 1:
        values[split] = affine.dim(len(out)) * left[split] + values[split]
    values[loop] = values[loop] * row + lane
    shape = [*(reduction.extents[other] for other in out), *([count] if count > 1 else []), row]

    arguments = op.regions[0].blocks[0].arguments
    used = [place for place in range(len(reduction.maps) - 1) if list(arguments[place].uses)]
    maps = [[affine.substitute(expr, values, len(kinds)) for expr in reduction.maps[place]] for place in used]
    # Like the window of a pooling: what says how far the loops go that no input is indexed by alone.
    window = build.empty([left[other] for other in inner], reduction.element)
    maps += [[dims[other] for other in inner], [affine.dim(place) for place in range(len(shape))]]

    def adapt(new: list[ir.Value]) -> list[ir.Value]:
        given = dict(zip(used, new, strict=False))
        return [given.get(place, new[-1]) for place in range(len(arguments))]

    partial = build.generic_like(
        op,
        [*(_read_part(op.operands[place], reduction.maps[place], reduction.extents) for place in used), window],
        build.fill(reduction.start, shape),
        [ir.AffineMap.get(len(kinds), 0, exprs) for exprs in maps],
        kinds,
        adapt,
        _names(reduction, [*out, *([split] if count > 1 else [])], loop, row, inner),
    )
    return _combined(reduction, partial, len(out))


def _names(reduction: Reduction, outer: list[int], loop: int, row: int, inner: list[int]) -> list[str]:
    """The names of the loops where `loop` is split in steps of `row`, and what of `outer` is reduced in parts; none
    where the reduction's have none."""
    if not loops.named(reduction.op):
        return []
    given = loops.names(reduction.op)
    parts = [
        loops.fresh(f"{given[other]}b", given) if other in reduction.reductions else given[other] for other in outer
    ]
    lane = loops.in_steps(given, loop, row)[-1]
    return [*parts, lane, *(given[other] for other in inner)]


def _combined(reduction: Reduction, partial: ir.Operation, out: int) -> ir.Value:
    """The partial results behind the first `out` dimensions combined into those of `reduction`."""
    destination = reduction.op.operands[len(reduction.op.operands) - 1]
    rank = ir.RankedTensorType(destination.type).rank
    if rank == 0:
        destination = _with_one_dimension(destination)
    shape = ir.RankedTensorType(partial.results[0].type).shape
    # A kernel wants a loop over results, be it of one.
    one = out == 0
    kinds = ["parallel"] * (out + one) + ["reduction"] * (len(shape) - out)
    read = [affine.dim(place + (one if place >= out else 0)) for place in range(len(shape))]
    results = iter(affine.dim(place) for place in range(out + one))
    sizes = ir.RankedTensorType(destination.type).shape
    written = [
        affine.constant(0) if size == 1 and not (one and place == 0) else next(results)
        for place, size in enumerate(sizes)
    ]
    given = loops.names(partial)[: len(shape)] if loops.named(partial) else ()
    combined = build.generic(
        [partial.results[0]],
        destination,
        [read, written],
        kinds,
        lambda value, total: (
            ir.Operation.create(reduction.combiner, results=[total.type], operands=[value, total]).result
        ),
        [*given[:out], *(["one"] if one and given else []), *given[out:]],
    ).results[0]
    return build.collapse(combined, []) if rank == 0 else combined


def _over_one(reduction: Reduction) -> ir.Value:
    """A reduction to a single number with a loop over results, of one: a kernel wants it."""
    op = reduction.op
    *inputs, destination = op.operands
    count = len(reduction.extents)
    moved = [affine.dim(place + 1) for place in range(count)]
    maps = [[affine.substitute(expr, moved, count + 1) for expr in map_.results] for map_ in indexing_maps(op)[:-1]]
    given = loops.names(op) if loops.named(op) else []
    one = build.generic_like(
        op,
        inputs,
        _with_one_dimension(destination),
        [ir.AffineMap.get(count + 1, 0, exprs) for exprs in [*maps, [affine.dim(0)]]],
        ["parallel", *iterators(op)],
        loops=[loops.fresh("one", given), *given] if given else [],
    )
    return build.collapse(one.results[0], [])


def _with_one_dimension(value: ir.Value) -> ir.Value:
    """A tensor of rank 0 with one element in one dimension."""
    op = build.defining(value)
    if op is not None and op.name == "linalg.fill" and scalar_constant(op.operands[0]) is not None:
        return build.fill(op.operands[0], [1])
    return build.expand(value, [], [1])


def _read_part(value: ir.Value, exprs: tuple[ir.AffineExpr, ...], extents: tuple[int, ...]) -> ir.Value:
    """The part of `value` that loops of `extents` read: of a pooling with one window, what lies in the window."""
    shape = list(ir.RankedTensorType(value.type).shape)
    sizes = [
        extents[affine.dim_position(expr)] if affine.is_dim(expr) else size
        for expr, size in zip(exprs, shape, strict=True)
    ]
    return value if sizes == shape else build.extract_slice(value, [0] * len(shape), sizes)


def _slice(value: ir.Value, exprs: tuple[ir.AffineExpr, ...], loop: int, offset: int, size: int) -> ir.Value:
    """`value` where `loop` goes from `offset` on for `size` iterations."""
    shape = list(ir.RankedTensorType(value.type).shape)
    place = next((place for place, expr in enumerate(exprs) if affine.is_dim(expr, loop)), None)
    if place is None:
        return value
    offsets = [offset if at == place else 0 for at in range(len(shape))]
    return build.extract_slice(value, offsets, [size if at == place else extent for at, extent in enumerate(shape)])
