"""Steps of a program that are no contraction: element-wise operations, reductions, movements of data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fuzz import bodies
from fuzz.build import MOST_ELEMENTS, MOST_ITERATIONS, SIZES, Builder, generic, plain
from fuzz.elements import INTEGERS, Tensor, is_float
from fuzz.program import (
    Broadcast,
    Concat,
    Empty,
    Expr,
    Insert,
    Map,
    Pack,
    Pad,
    Reshape,
    Slice,
    Transpose,
    Unpack,
    loop,
)


def _accesses(b: Builder, place: int, fragile: bool) -> tuple[list[Expr], list[int]]:
    """A map that reads the tensor at `place`, and the extents of its loops."""
    exprs: list[Expr] = []
    extents: list[int] = []
    for size in b.kind(place).shape:
        expr, added = b.read_size(size, len(extents), fragile)
        if np.prod([*extents, *added]) * max(1, np.prod(b.kind(place).shape[len(exprs) + 1 :])) > MOST_ELEMENTS:
            expr, added = ("c", 0), []
        exprs.append(expr)
        extents += added
    if b.chance(1) or not extents:
        extents.append(b.choose((1, 2, 3, 8, 16, 17)))
        if np.prod(extents) > MOST_ELEMENTS:
            extents[-1] = 1
    return exprs, extents


def _other_operands(b: Builder, count: int, loops: list[int], extents: list[int], element: str, fragile: bool):
    """`count` further operands over `loops`: their places and maps."""
    places, maps = [], []
    for _ in range(count):
        map_, shape = b.operand_map(loops, extents, fragile)
        if np.prod(shape) > MOST_ELEMENTS:
            continue
        kind = element if b.chance(8) else b.choose(("f32", "i8", "i32", "f16", "i1"))
        places.append(b.source(Tensor(shape, kind)))
        maps.append(map_)
    return places, maps


def out_element(b: Builder, element: str) -> str:
    if b.chance(8):
        return element
    return b.choose(("f32", "f32", "f16", "bf16", "i1", *INTEGERS))


def elementwise(b: Builder, place: int, fragile: bool = False) -> int:
    """A linalg.generic whose loops are all parallel."""
    if b.chance(5):
        rank = len(b.kind(place).shape)
        exprs, extents = list(plain(rank)), list(b.kind(place).shape)
    else:
        exprs, extents = _accesses(b, place, fragile)
    loops = list(range(len(extents)))
    element = b.kind(place).element
    others, maps = _other_operands(b, b.choose((0, 0, 1, 1, 1, 2)), loops, extents, element, fragile)
    out_loops = b.order(len(loops)) if b.chance(2) else loops
    out_map: Map = tuple(loop(i) for i in out_loops)
    kind = Tensor(tuple(extents[i] for i in out_loops), out_element(b, element))
    reads_out = b.chance(1)
    # What is not read may be there all the same: an operation writes over another's result.
    out = b.source(kind) if reads_out or b.chance(1) else None
    if out == place and not others and not reads_out:
        out = None
    operands = [place, *others]
    all_maps = [tuple(exprs), *maps]
    if b.chance(3) and len(operands) > 1:
        order = b.order(len(operands))
        operands, all_maps = [operands[i] for i in order], [all_maps[i] for i in order]
    body = bodies.elementwise(b, [b.kind(i).element for i in operands], kind.element, len(extents), reads_out)
    return generic(b, kind, operands, [*all_maps, out_map], extents, ["parallel"] * len(extents), body, out)


def reduction(b: Builder, place: int, fragile: bool = False) -> int:
    """A linalg.generic with a reduction."""
    exprs, extents = _accesses(b, place, fragile)
    loops = list(range(len(extents)))
    element = b.kind(place).element
    others, maps = _other_operands(b, b.choose((0, 0, 0, 1)), loops, extents, element, fragile)
    count = b.integer(1, len(loops))
    summed = sorted(b.order(len(loops))[:count])
    kept = [i for i in loops if i not in summed]
    if b.chance(2):
        kept = [kept[i] for i in b.order(len(kept))]
    out_map = [loop(i) for i in kept]
    for _ in range(b.choose((0, 0, 0, 1, 2))):
        out_map.insert(b.integer(0, len(out_map)), ("c", 0))
    shape = tuple(extents[expr[1]] if expr[0] == "d" else 1 for expr in out_map)
    out_type = element if b.chance(8) else b.choose(("f32", "i32", "f16", "i64"))
    if out_type in ("i1", "bf16"):
        out_type = "i32" if out_type == "i1" else b.choose(("bf16", "f32"))
    kind = Tensor(shape, out_type)
    combine = b.choose(("add",) * 5 + ("max", "max", "min", "mul", "last"))
    initial = initial_value(b, kind, combine)
    operands, maps = [place, *others], [tuple(exprs), *maps]
    bare = [i for i in summed if not any(loop(i) in map_ for map_ in maps)]
    if bare:
        # As of a pooling: a window, which is not read, tells how far the loops go.
        operands.append(b.add(Empty(Tensor(tuple(extents[i] for i in bare), element), ())))
        maps.append(tuple(map(loop, bare)))
    body = bodies.reduction(b, [b.kind(i).element for i in operands], kind.element, combine, len(bare) > 0)
    iterators = ["reduction" if i in summed else "parallel" for i in loops]
    if b.chance(3):
        return _reordered(b, kind, operands, [*maps, tuple(out_map)], extents, iterators, body, initial)
    return generic(b, kind, operands, [*maps, tuple(out_map)], extents, iterators, body, initial)


def _reordered(b: Builder, kind, operands, maps, extents, iterators, body, initial) -> int:
    """The same with the loops in another order."""
    order = b.order(len(extents))
    number = {old: new for new, old in enumerate(order)}

    def renamed(expr: Expr) -> Expr:
        if expr[0] == "d":
            return loop(number[expr[1]])
        return expr if expr[0] == "c" else (expr[0], renamed(expr[1]), renamed(expr[2]))

    maps = [tuple(map(renamed, map_)) for map_ in maps]
    extents, iterators = [extents[i] for i in order], [iterators[i] for i in order]
    body = _renamed_indices(body, number)
    return generic(b, kind, operands, maps, extents, iterators, body, initial)


def _renamed_indices(body, number):
    from dataclasses import replace

    ops = tuple(replace(op, attr=number[op.attr]) if op.op == "linalg.index" else op for op in body.ops)
    return replace(body, ops=ops)


def initial_value(b: Builder, kind: Tensor, combine: str = "add") -> int:
    """What a reduction starts from."""
    way = b.choose(("neutral",) * 5 + ("fill", "fill", "source", "source"))
    if way == "source":
        return b.source(kind)
    if way == "fill":
        return b.fill(kind)
    if combine in ("max", "min") and is_float(kind.element):
        return b.fill(kind, -np.inf if combine == "max" else np.inf)
    return b.fill(kind, 1.0 if combine == "mul" else 0.0)


# Movements of data.


def pad(b: Builder, place: int) -> int:
    kind = b.kind(place)
    low = tuple(b.choose((0, 0, 1, 2)) for _ in kind.shape)
    high = tuple(b.choose((0, 0, 1, 3)) for _ in kind.shape)
    shape = tuple(sum(sizes) for sizes in zip(low, kind.shape, high, strict=True))
    if np.prod(shape) > MOST_ELEMENTS:
        return place
    value = b.fill_value(kind.element)
    if is_float(kind.element) and b.chance(1):
        value = -np.inf
    return b.add(Pad(Tensor(shape, kind.element), (place,), low, high, value))


def cut(b: Builder, place: int) -> int:
    """A slice."""
    kind = b.kind(place)
    offsets, sizes, strides = [], [], []
    for size in kind.shape:
        stride = b.choose((1, 1, 1, 1, 2, 3))
        count = b.integer(1, (size - 1) // stride + 1) if b.chance(4) else (size - 1) // stride + 1
        offsets.append(b.integer(0, size - 1 - (count - 1) * stride))
        sizes.append(count)
        strides.append(stride)
    return b.add(Slice(Tensor(tuple(sizes), kind.element), (place,), tuple(offsets), tuple(strides)))


def insert(b: Builder, place: int) -> int:
    kind = b.kind(place)
    offsets, shape, strides = [], [], []
    for size in kind.shape:
        stride = b.choose((1, 1, 1, 1, 1, 2))
        offset = b.choose((0, 0, 1, 3))
        offsets.append(offset)
        shape.append(offset + (size - 1) * stride + 1 + b.choose((0, 0, 1, 2)))
        strides.append(stride)
    if np.prod(shape) > MOST_ELEMENTS:
        return place
    into = Tensor(tuple(shape), kind.element)
    target = b.fill(into) if b.chance(4) else b.source(into)
    return b.add(Insert(into, (place, target), tuple(offsets), tuple(strides)))


def concatenate(b: Builder, place: int) -> int:
    kind = b.kind(place)
    dim = b.integer(0, len(kind.shape) - 1)
    parts = [place]
    for _ in range(b.integer(1, 2)):
        size = kind.shape[dim] if b.chance(6) else b.choose((1, 2, 8, 16))
        parts.append(b.source(Tensor((*kind.shape[:dim], size, *kind.shape[dim + 1 :]), kind.element)))
    parts = [parts[i] for i in b.order(len(parts))]
    total = sum(b.kind(i).shape[dim] for i in parts)
    shape = (*kind.shape[:dim], total, *kind.shape[dim + 1 :])
    if np.prod(shape) > MOST_ELEMENTS:
        return place
    return b.add(Concat(Tensor(shape, kind.element), tuple(parts), dim))


def reshape(b: Builder, place: int) -> int:
    """A collapse of neighbours, or an expansion of a dimension into factors."""
    kind = b.kind(place)
    shape = kind.shape
    if len(shape) > 1 and b.chance(5):
        first = b.integer(0, len(shape) - 2)
        last = b.integer(first + 1, len(shape) - 1)
        groups = [(i,) for i in range(first)] + [tuple(range(first, last + 1))]
        groups += [(i,) for i in range(last + 1, len(shape))]
        merged = (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
        return b.add(Reshape(Tensor(merged, kind.element), (place,), tuple(groups)))
    if len(shape) > 4:
        return place
    dim = b.integer(0, len(shape) - 1)
    factor = b.choose([i for i in range(1, shape[dim] + 1) if shape[dim] % i == 0])
    split = (*shape[:dim], factor, shape[dim] // factor, *shape[dim + 1 :])
    groups = [(i,) for i in range(dim)] + [(dim, dim + 1)] + [(i + 1,) for i in range(dim + 1, len(shape))]
    return b.add(Reshape(Tensor(split, kind.element), (place,), tuple(groups)))


def transpose(b: Builder, place: int) -> int:
    kind = b.kind(place)
    order = b.order(len(kind.shape))
    return b.add(Transpose(Tensor(tuple(kind.shape[i] for i in order), kind.element), (place,), tuple(order)))


def broadcast(b: Builder, place: int) -> int:
    kind = b.kind(place)
    size, dim = b.choose((1, 2, 3, 16)), b.integer(0, len(kind.shape))
    shape = (*kind.shape[:dim], size, *kind.shape[dim:])
    if len(shape) > 5 or np.prod(shape) > MOST_ELEMENTS:
        return place
    return b.add(Broadcast(Tensor(shape, kind.element), (place,), (dim,)))


def pack(b: Builder, place: int) -> int:
    """A pack, and perhaps an operation and the unpack behind it."""
    kind = b.kind(place)
    rank = len(kind.shape)
    dims = tuple(b.order(rank)[: b.choose((1, 1, 1, 2))])
    tiles = tuple(b.choose((2, 4, 8, 16)) for _ in dims)
    permutation = tuple(b.order(rank)) if b.chance(2) else ()
    blocks = [-(-size // tiles[dims.index(i)]) if i in dims else size for i, size in enumerate(kind.shape)]
    shape = (*(blocks[i] for i in permutation or range(rank)), *tiles)
    if np.prod(shape) > MOST_ELEMENTS or kind.element == "i1" or len(shape) > 6:
        return place
    value = b.fill_value(kind.element) if b.chance(3) else 0.0
    packed = b.add(Pack(Tensor(shape, kind.element), (place,), dims, tiles, permutation, value))
    if b.chance(4):
        return packed
    between = elementwise(b, packed) if b.chance(3) else packed
    inside = between if b.kind(between) == b.kind(packed) else packed
    return b.add(Unpack(kind, (inside,), dims, tiles, permutation))


def another(b: Builder, place: int) -> int:
    """Something that reads the value twice, through two maps where it is square."""
    kind = b.kind(place)
    rank = len(kind.shape)
    equal = [(i, j) for i in range(rank) for j in range(i) if kind.shape[i] == kind.shape[j]]
    maps = [plain(rank), plain(rank)]
    if equal:
        i, j = b.choose(equal)
        turned = list(plain(rank))
        turned[i], turned[j] = turned[j], turned[i]
        maps[b.integer(0, 1)] = tuple(turned)
    body = bodies.elementwise(b, [kind.element] * 2, kind.element, rank, False)
    return generic(b, kind, [place, place], [*maps, plain(rank)], kind.shape, ["parallel"] * rank, body)


def start(b: Builder) -> int:
    """A first tensor."""
    rank = b.choose((1, 2, 2, 3, 4, 4, 5))
    shape: list[int] = []
    for _ in range(rank):
        shape.append(
            b.choose([size for size in SIZES if size * np.prod(shape) <= MOST_ELEMENTS / 4 ** (rank - len(shape) - 1)])
        )
    element = b.choose(("f32",) * 12 + ("f16", "f16", "bf16", "bf16", "i8", "i8", "i32", "i16", "i64", "i1"))
    return b.argument(Tensor(tuple(shape[::-1] if b.chance(5) else shape), element))


STEPS: tuple[Callable[..., int], ...] = (
    elementwise,
    elementwise,
    elementwise,
    elementwise,
    elementwise,
    reduction,
    reduction,
    reduction,
    pad,
    pad,
    cut,
    cut,
    insert,
    insert,
    concatenate,
    concatenate,
    reshape,
    reshape,
    transpose,
    broadcast,
    pack,
    another,
)
assert MOST_ITERATIONS >= MOST_ELEMENTS
