"""Named reductions as a linalg.generic: of that kernels are made, and it can be split."""

from __future__ import annotations

import math

from iree.compiler import ir

from dlas_mlir.ir import affine, build
from dlas_mlir.ir.linalg import indexing_maps

_POOLING = "linalg.pooling_"
# The loops over the result, and over the window, for a spatial dimension.
_OUT = {"d": "od", "h": "oh", "w": "ow"}
_WINDOW = {"d": "t", "h": "r", "w": "s"}


# What products of matrices read and write, a letter for each loop; `k` is summed.
_PRODUCTS = {
    "linalg.batch_matmul": ("bmk", "bkn", "bmn"),
    "linalg.batch_matvec": ("bmk", "bk", "bm"),
    "linalg.batch_vecmat": ("bk", "bkn", "bn"),
    "linalg.matmul": ("mk", "kn", "mn"),
    "linalg.matvec": ("mk", "k", "m"),
    "linalg.vecmat": ("k", "kn", "n"),
}


def is_product(op: ir.Operation) -> bool:
    """Whether `op` is a named product of matrices or vectors, other than linalg.dot."""
    return op.name in _PRODUCTS


def is_row_by_column(op: ir.Operation) -> bool:
    """Whether the product `op` has one number as its result, or one for each of a batch."""
    shape, letters = ir.RankedTensorType(op.results[0].type).shape, _PRODUCTS[op.name][2]
    return all(size == 1 for size, letter in zip(shape, letters, strict=True) if letter != "b")


def is_pooling(op: ir.Operation) -> bool:
    """Whether `op` is a named pooling."""
    return op.name.startswith(_POOLING)


def summands(op: ir.Operation) -> int:
    """How many elements a pooling, linalg.reduce, linalg.dot or a product combines into one; 0 for any other operation
    and for a dynamic shape."""
    if op.name not in ("linalg.reduce", "linalg.dot") and not is_pooling(op) and not is_product(op):
        return 0
    kinds = [ir.RankedTensorType(value.type) for value in op.operands]
    if len(op.results) != 1 or not all(kind.has_static_shape for kind in kinds):
        return 0
    if is_pooling(op):
        return math.prod(kinds[1].shape)
    if is_product(op):
        maps = _product(op)[0]
        return next(size for expr, size in zip(maps[0], kinds[0].shape, strict=True) if expr not in maps[2])
    return math.prod(kinds[0].shape) // max(1, math.prod(kinds[-1].shape))


def generalized(op: ir.Operation) -> ir.Operation:
    """A linalg.generic that does what `op`, of which `summands` are known, does."""
    *inputs, destination = op.operands
    maps, kinds = (_pooling if is_pooling(op) else _product if is_product(op) else _reduce)(op)
    return build.generic_like(
        op,
        inputs,
        destination,
        [ir.AffineMap.get(len(kinds), 0, exprs) for exprs in maps],
        kinds,
        loops=_names(op),
    )


def _names(op: ir.Operation) -> list[str]:
    """The names of the loops, in the order of `_pooling` and `_reduce`; none where nobody knows what they mean."""
    if op.name == "linalg.dot":
        return ["k"]
    if is_product(op):
        return [*_PRODUCTS[op.name][2], "k"]
    if not is_pooling(op):
        return []
    letters = _letters(op)
    return [_OUT.get(x, x) for x in letters] + [_WINDOW[x] for x in letters if x in _WINDOW]


def _letters(op: ir.Operation) -> str:
    """The dimensions of what a pooling reads, a letter each."""
    return op.name.removeprefix(_POOLING).split("_")[0]


def _pooling(op: ir.Operation) -> tuple[list[list[ir.AffineExpr]], list[str]]:
    """The maps of `linalg.pooling_<letters>_...`: a loop for each letter, and one for each dimension of the window."""
    letters = _letters(op)
    spatial = [place for place, letter in enumerate(letters) if letter not in "nc"]
    window = [affine.dim(len(letters) + i) for i in range(len(spatial))]
    read = [affine.dim(place) for place in range(len(letters))]
    for i, place in enumerate(spatial):
        stride, dilation = (list(ir.DenseIntElementsAttr(op.attributes[name]))[i] for name in ("strides", "dilations"))
        read[place] = read[place] * int(stride) + window[i] * int(dilation)
    written = [affine.dim(place) for place in range(len(letters))]
    return [read, window, written], ["parallel"] * len(letters) + ["reduction"] * len(window)


def _product(op: ir.Operation) -> tuple[list[list[ir.AffineExpr]], list[str]]:
    """The maps of a product, transposed where it says so: the loops over its result before that over the sum."""
    order = [*_PRODUCTS[op.name][2], "k"]
    kinds = ["parallel"] * (len(order) - 1) + ["reduction"]
    if "indexing_maps" in op.attributes:
        return [list(map_.results) for map_ in indexing_maps(op)], kinds
    return [[affine.dim(order.index(letter)) for letter in letters] for letters in _PRODUCTS[op.name]], kinds


def _reduce(op: ir.Operation) -> tuple[list[list[ir.AffineExpr]], list[str]]:
    rank = ir.RankedTensorType(op.operands[0].type).rank
    loops = [affine.dim(i) for i in range(rank)]
    if op.name == "linalg.dot":
        return [loops, loops, []], ["reduction"]
    reduced = set(ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
    kinds = ["reduction" if i in reduced else "parallel" for i in range(rank)]
    return [loops, [loop for i, loop in enumerate(loops) if i not in reduced]], kinds
