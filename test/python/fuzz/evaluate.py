"""What a program gives, in NumPy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import singledispatch

import numpy as np

from fuzz import scalars
from fuzz.elements import Tensor, is_float
from fuzz.program import (
    Argument,
    Broadcast,
    Concat,
    Constant,
    Empty,
    Fill,
    Generic,
    Insert,
    Map,
    Node,
    Pack,
    Pad,
    Program,
    Reshape,
    Slice,
    Transpose,
    Unpack,
    loops_of,
    value_of,
)
from fuzz.values import Value, known, narrowed, unknown

# From this share of zeros on recipes encode weights, and leave the zeros out.
_ENCODED = 0.3


def evaluate(program: Program, narrow: str | None = None, encoded: bool = False) -> list[Value]:
    """The results. `narrow` is the type that a recipe rounds the operands of contractions to; `encoded`: it multiplies
    nothing by weights that are zero."""
    values: list[Value] = []
    constant: list[bool] = []
    for node in program.nodes:
        inputs = [values[i] for i in node.inputs]
        constant.append(not isinstance(node, Argument) and all(constant[i] for i in node.inputs))
        if isinstance(node, Generic) and _is_contraction(node):
            if narrow is not None:
                inputs = [*(narrowed(value, narrow) for value in inputs[:2]), *inputs[2:]]
            weights = [place for place in (0, 1) if encoded and constant[node.inputs[place]]]
            value = _contraction(node, inputs, [place for place in weights if _is_sparse(inputs[place])])
        else:
            value = make(node, inputs)
        assert value.array.shape == node.type.shape, (node, value.array.shape)
        values.append(value)
    return [values[i] for i in program.results]


def _is_sparse(weights: Value) -> bool:
    return is_float(weights.element) and (weights.array == 0).mean() >= _ENCODED


def _is_contraction(node: Generic) -> bool:
    """Whether two inputs are multiplied and summed, or may be."""
    return len(node.inputs) - node.initial == 2 and node.initial


@singledispatch
def make(node: Node, inputs: list[Value]) -> Value:
    """What one node gives."""
    raise NotImplementedError(type(node).__name__)


@make.register
def _(node: Argument, inputs: list[Value]) -> Value:
    return known(node.data.array(node.type), node.type.element)


@make.register
def _(node: Constant, inputs: list[Value]) -> Value:
    return known(node.data.array(node.type), node.type.element)


@make.register
def _(node: Empty, inputs: list[Value]) -> Value:
    return unknown(node.type.shape, node.type.element)


def _full(kind: Tensor, number: float) -> Value:
    return known(np.full(kind.shape, number).astype(np.float64), kind.element)


@make.register
def _(node: Fill, inputs: list[Value]) -> Value:
    return _full(node.type, node.value)


@make.register
def _(node: Generic, inputs: list[Value]) -> Value:
    return _contraction(node, inputs, [])


def _contraction(node: Generic, inputs: list[Value], weights: list[int]) -> Value:
    """The loops of the result all at once, the others one iteration after the other. Nothing is known of the product of
    what is infinite or no number and a zero of the operands at `weights`, which may be left out."""
    result = inputs[-1] if node.initial else unknown(node.type.shape, node.type.element)
    sources = inputs[:-1] if node.initial else inputs
    kept = sorted(set().union(*map(loops_of, node.maps[-1])))
    shape = tuple(node.extents[i] for i in kept)
    loops: list[np.ndarray] = [np.zeros(shape, np.int64)] * len(node.extents)
    for place, grid in zip(kept, np.indices(shape), strict=True):
        loops[place] = grid
    rest = [i for i in range(len(node.extents)) if i not in kept]
    accumulator = _read(result, node.maps[-1], loops, shape)
    for point in itertools.product(*(range(node.extents[i]) for i in rest)):
        for place, number in zip(rest, point, strict=True):
            loops[place] = np.full(shape, number)
        arguments = [_read(value, map_, loops, shape) for value, map_ in zip(sources, node.maps, strict=False)]
        for place in weights:
            arguments[1 - place] = _left_out(arguments[1 - place], arguments[place])
        accumulator = scalars.evaluate(node.body, [*arguments, accumulator], loops)
    return _written(accumulator, result, node.maps[-1], loops, shape)


def _left_out(data: Value, weights: Value) -> Value:
    gone = (weights.array == 0) & ~np.isfinite(data.array)
    return replace(
        data,
        array=np.where(gone, 0.0, data.array),
        error=np.where(gone, np.inf, data.error),
        size=np.where(gone, 0.0, data.size),
    )


def _place(map_: Map, loops: list[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.broadcast_to(value_of(expr, loops), shape) for expr in map_)


def _read(value: Value, map_: Map, loops: list[np.ndarray], shape: tuple[int, ...]) -> Value:
    place = _place(map_, loops, shape)
    assert all((index >= 0).all() for index in place)
    return value.moved(lambda array: np.broadcast_to(array[place], shape))


def _written(value: Value, into: Value, map_: Map, loops: list[np.ndarray], shape: tuple[int, ...]) -> Value:
    place = _place(map_, loops, shape)

    def write(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        array = np.array(old, new.dtype)
        array[place] = new
        return array

    parts = [write(np.broadcast_to(a, shape), b) for a, b in _pairs(value, into)]
    return Value(parts[0], parts[1], parts[2], value.quantum, value.element)


def _pairs(a: Value, b: Value) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.array, b.array), (a.error, b.error), (a.size, b.size)]


@make.register
def _(node: Pad, inputs: list[Value]) -> Value:
    inside = tuple(slice(low, low + size) for low, size in zip(node.low, inputs[0].array.shape, strict=True))
    return _placed(inputs[0], _full(node.type, node.value), inside)


def _placed(value: Value, into: Value, place: tuple[slice, ...]) -> Value:
    parts = []
    for new, old in _pairs(value, into):
        array = old.copy()
        array[place] = new
        parts.append(array)
    return Value(parts[0], parts[1], parts[2], min(value.quantum, into.quantum), value.element)


def _slices(offsets: tuple[int, ...], sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(offset, offset + (size - 1) * stride + 1, stride)
        for offset, size, stride in zip(offsets, sizes, strides, strict=True)
    )


@make.register
def _(node: Slice, inputs: list[Value]) -> Value:
    place = _slices(node.offsets, node.type.shape, node.strides)
    return inputs[0].moved(lambda array: array[place])


@make.register
def _(node: Insert, inputs: list[Value]) -> Value:
    return _placed(inputs[0], inputs[1], _slices(node.offsets, inputs[0].array.shape, node.strides))


@make.register
def _(node: Concat, inputs: list[Value]) -> Value:
    def joined(part: str) -> np.ndarray:
        return np.concatenate([getattr(value, part) for value in inputs], node.dim)

    quantum = min(value.quantum for value in inputs)
    return Value(joined("array"), joined("error"), joined("size"), quantum, inputs[0].element)


@make.register
def _(node: Reshape, inputs: list[Value]) -> Value:
    return inputs[0].moved(lambda array: array.reshape(node.type.shape))


@make.register
def _(node: Transpose, inputs: list[Value]) -> Value:
    return inputs[0].moved(lambda array: array.transpose(node.permutation))


@make.register
def _(node: Broadcast, inputs: list[Value]) -> Value:
    shape = [1 if i in node.added else size for i, size in enumerate(node.type.shape)]
    return inputs[0].moved(lambda array: np.broadcast_to(array.reshape(shape), node.type.shape))


@make.register
def _(node: Pack, inputs: list[Value]) -> Value:
    source, rank = inputs[0], inputs[0].array.ndim
    tile_of = dict(zip(node.dims, node.tiles, strict=True))
    blocks = [-(-size // tile_of.get(i, 1)) for i, size in enumerate(source.array.shape)]
    whole = Tensor(tuple(n * tile_of.get(i, 1) for i, n in enumerate(blocks)), source.element)
    padded = _placed(source, _full(whole, node.value), tuple(slice(0, size) for size in source.array.shape))
    split, block, lane = _split(blocks, tile_of)
    outer = [block[i] for i in node.permutation or range(rank)]
    return padded.moved(lambda array: array.reshape(split).transpose([*outer, *(lane[dim] for dim in node.dims)]))


@make.register
def _(node: Unpack, inputs: list[Value]) -> Value:
    source, rank = inputs[0], len(node.type.shape)
    tile_of = dict(zip(node.dims, node.tiles, strict=True))
    permutation = node.permutation or tuple(range(rank))
    blocks = [source.array.shape[permutation.index(i)] for i in range(rank)]
    _, block, lane = _split(blocks, tile_of)
    order = [*(block[i] for i in permutation), *(lane[dim] for dim in node.dims)]
    whole = [n * tile_of.get(i, 1) for i, n in enumerate(blocks)]
    inside = tuple(slice(0, size) for size in node.type.shape)
    return source.moved(lambda array: array.transpose(np.argsort(order)).reshape(whole)[inside])


def _split(blocks: list[int], tile_of: dict[int, int]) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """The shape with every tiled dimension as two, and where each dimension's blocks and lanes are in it."""
    shape: list[int] = []
    block: dict[int, int] = {}
    lane: dict[int, int] = {}
    for i, count in enumerate(blocks):
        block[i] = len(shape)
        shape.append(count)
        if i in tile_of:
            lane[i] = len(shape)
            shape.append(tile_of[i])
    return shape, block, lane
