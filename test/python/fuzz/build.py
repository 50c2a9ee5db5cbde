"""A program under construction: what the strategies draw with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

import numpy as np
from hypothesis import strategies as st

from fuzz.elements import Data, Tensor, is_float
from fuzz.program import (
    Argument,
    Body,
    Constant,
    Expr,
    Fill,
    Generic,
    Map,
    Node,
    Program,
    Scalar,
    Transpose,
    loop,
    loops_of,
    value_of,
)

_T = TypeVar("_T")
# Around the widths of vectors, and the small and odd ones.
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 18, 20, 24, 31, 32, 33, 40)
CHANNELS = (1, 2, 3, 4, 5, 8, 8, 12, 16, 16, 16, 17, 18, 20, 24, 32, 33, 40)
MOST_ELEMENTS = 6000
MOST_ITERATIONS = 60000
FILLS = (0.0, 0.0, 0.25, 1.0, -1.0, 3.0)


class Choices(Protocol):
    """Where choices come from: hypothesis, or a number."""

    def choose(self, options: Sequence[_T]) -> _T: ...

    def integer(self, low: int, high: int) -> int: ...

    def order(self, count: int) -> list[int]: ...


class Numbered:
    """The choices of a number: every number is an unrelated program (hypothesis tries many a variation of each)."""

    def __init__(self, number: int) -> None:
        self._random = Random(number)

    def choose(self, options: Sequence[_T]) -> _T:
        return self._random.choice(options)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def order(self, count: int) -> list[int]:
        return self._random.sample(range(count), count)


class Drawn:
    """The choices of a hypothesis strategy."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def choose(self, options: Sequence[_T]) -> _T:
        return self._draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def order(self, count: int) -> list[int]:
        return list(self._draw(st.permutations(range(count))))


class Builder:
    """Nodes so far, and short ways to draw."""

    def __init__(self, choices: Choices) -> None:
        self.choose, self.integer, self.order = choices.choose, choices.integer, choices.order
        self.nodes: list[Node] = []

    def chance(self, of_ten: int) -> bool:
        return self.integer(0, 9) >= 10 - of_ten

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def kind(self, place: int) -> Tensor:
        return self.nodes[place].type

    # Tensors to read.

    def data(self, element: str) -> Data:
        kinds = ("small",) * 6 + ("real", "real", "sparse", "rows", "whole", "special")
        return Data(self.choose(kinds), self.integer(0, 999))

    def argument(self, kind: Tensor) -> int:
        data = self.data(kind.element)
        return self.add(Argument(kind, (), data))

    def constant(self, kind: Tensor) -> int:
        data = self.data(kind.element)
        if self.chance(2):
            data = Data("splat", 0, self.fill_value(kind.element))
        return self.add(Constant(kind, (), data))

    def fill_value(self, element: str) -> float:
        value = self.choose(FILLS)
        return value if is_float(element) else float(bool(value)) if element == "i1" else float(np.ceil(value))

    def fill(self, kind: Tensor, value: float | None = None) -> int:
        return self.add(Fill(kind, (), self.fill_value(kind.element) if value is None else value))

    def existing(self, kind: Tensor) -> list[int]:
        return [i for i, node in enumerate(self.nodes) if node.type == kind]

    def source(self, kind: Tensor) -> int:
        """A tensor of this type: one that is there, an argument, a constant or a fill."""
        there = self.existing(kind)
        if there and self.chance(5):
            return self.choose(there)
        way = self.choose(("argument",) * 4 + ("constant",) * 4 + ("fill", "transposed"))
        if way == "fill":
            return self.fill(kind)
        if way == "transposed" and len(kind.shape) == 2:
            turned = Tensor(kind.shape[::-1], kind.element)
            there = self.existing(turned)
            return self.add(Transpose(kind, (self.choose(there) if there else self.argument(turned),), (1, 0)))
        return self.argument(kind) if way == "argument" else self.constant(kind)

    # Accesses.

    def read_size(self, size: int, first: int, fragile: bool) -> tuple[Expr, list[int]]:
        """An expression that reads a dimension of `size` by loops from number `first` on, with their extents."""
        ways = ["plain"] * 14 + ["reversed", "offset", "strided", "constant", "window"]
        if fragile:
            ways += ["floordiv", "mod", "mod"]
        way, d = self.choose(ways), loop(first)
        if way == "reversed":
            return ("+", ("*", d, ("c", -1)), ("c", size - 1)), [size]
        if way == "offset":
            by = self.integer(0, size - 1)
            return ("+", d, ("c", by)), [size - by]
        if way == "strided":
            by = self.integer(2, 3)
            return ("*", d, ("c", by)), [-(-size // by)]
        if way == "constant":
            return ("c", self.integer(0, size - 1)), []
        if way == "floordiv":
            by = self.choose((2, 3, 4, 8, 24))
            return ("floordiv", d, ("c", by)), [max(1, size * by - self.integer(0, by - 1))]
        if way == "mod":
            by = self.integer(1, size)
            return ("mod", d, ("c", by)), [by * self.integer(1, 7) + self.integer(0, 2)]
        if way == "window" and size > 1:
            stride, window = self.integer(1, 2), self.integer(1, min(3, size))
            return ("+", ("*", d, ("c", stride)), loop(first + 1)), [(size - window) // stride + 1, window]
        return d, [size]

    def operand_map(self, loops: Sequence[int], extents: Sequence[int], fragile: bool) -> tuple[Map, tuple[int, ...]]:
        """A map over some of `loops` and the shape that it reads."""
        count = self.choose((1, 1, 2, len(loops), len(loops), len(loops)))
        chosen = [loops[i] for i in self.order(len(loops))[:count]]
        if self.chance(7):
            chosen.sort()
        map_ = tuple(self._one(place, extents[place], fragile) for place in chosen)
        if self.chance(1):
            map_ = (("c", 0), *map_)
        if self.chance(1):
            map_ = (*map_, ("c", self.integer(0, 2)))
        return map_, shape_read(map_, extents)

    def _one(self, place: int, extent: int, fragile: bool) -> Expr:
        ways = ["plain"] * 12 + ["reversed", "constant", "offset", "strided"] + ["floordiv", "mod"] * fragile
        way, d = self.choose(ways), loop(place)
        if way == "reversed":
            return ("+", ("*", d, ("c", -1)), ("c", extent - 1))
        if way == "constant":
            return ("c", 0)
        if way == "offset":
            return ("+", d, ("c", self.integer(1, 3)))
        if way == "strided":
            return ("*", d, ("c", 2))
        if way in ("floordiv", "mod"):
            return (way, d, ("c", self.choose((2, 3, 4, 8, 16))))
        return d

    def program(self, results: Sequence[int], arguments: Sequence[int]) -> Program:
        """The nodes that `results` need."""
        needed, pending = set(), [*results]
        while pending:
            place = pending.pop()
            if place not in needed:
                needed.add(place)
                pending.extend(self.nodes[place].inputs)
        return renumbered(self.nodes, sorted(needed), arguments, results)


def renumbered(nodes: Sequence[Node], kept: Sequence[int], arguments: Sequence[int], results: Sequence[int]) -> Program:
    """The program of the nodes at `kept`."""
    from dataclasses import replace

    number = {place: i for i, place in enumerate(kept)}
    new = tuple(replace(nodes[place], inputs=tuple(number[i] for i in nodes[place].inputs)) for place in kept)
    return Program(new, tuple(number[i] for i in arguments if i in number), tuple(number[i] for i in results))


def shape_read(map_: Map, extents: Sequence[int]) -> tuple[int, ...]:
    """The smallest shape in which every access of `map_` is inside."""
    shape = []
    for expr in map_:
        used = sorted(loops_of(expr))
        grid = dict(zip(used, np.indices([extents[i] for i in used]), strict=True))
        loops = [grid.get(i, np.int64(0)) for i in range(len(extents))]
        shape.append(int(np.max(value_of(expr, loops))) + 1)
    return tuple(shape)


class BodyBuilder:
    """A body under construction, of arguments of the given types."""

    def __init__(self, builder: Builder, types: Sequence[str]) -> None:
        self.draw = builder
        self.types = list(types)
        self.count = len(types)
        self.ops: list[Scalar] = []

    def op(self, name: str, type_: str, *args: int, attr: Any = None) -> int:
        self.ops.append(Scalar(name, type_, args, attr))
        self.types.append(type_)
        return len(self.types) - 1

    def number(self, value: float, type_: str) -> int:
        return self.op("constant", type_, attr=float(value))

    def done(self, last: int) -> Body:
        """The body that yields `last`."""
        if last == len(self.types) - 1 and self.ops:
            return Body(tuple(self.ops))
        return Body(tuple(self.ops), last)

    def convert(self, value: int, to: str) -> int:
        """`value` as a `to`; a float is brought into the range of an integer before."""
        have, draw = self.types[value], self.draw
        if have == to:
            return value
        if is_float(have) and is_float(to):
            if "f32" not in (have, to):
                value = self.op("arith.extf", "f32", value)
            return self.op("arith.truncf" if to != "f32" else "arith.extf", to, value)
        if to == "i1":
            zero = self.number(0, have)
            name, predicate = ("arith.cmpf", "ogt") if is_float(have) else ("arith.cmpi", "sgt")
            return self.op(name, "i1", value, zero, attr=predicate)
        if is_float(have):
            return self._to_integer(value, have, to)
        if is_float(to):
            return self.op(f"arith.{'uitofp' if have == 'i1' else draw.choose(('sitofp', 'uitofp'))}", to, value)
        if have == "index":
            return self.op("arith.index_cast", to, value)
        if have == "i1" or int(have[1:]) < int(to[1:]):
            return self.op(draw.choose(("arith.extsi", "arith.extui")), to, value)
        return self.op("arith.trunci", to, value)

    def _to_integer(self, value: int, have: str, to: str) -> int:
        unsigned = self.draw.chance(2)
        if self.draw.chance(5):
            value = self.op("math.roundeven", have, value)
        value = self.op("arith.maximumf", have, value, self.number(0 if unsigned else -100, have))
        value = self.op("arith.minimumf", have, value, self.number(100, have))
        return self.op("arith.fptoui" if unsigned else "arith.fptosi", to, value)


def plain(rank: int) -> Map:
    return tuple(loop(i) for i in range(rank))


def generic(
    builder: Builder,
    kind: Tensor,
    inputs: Sequence[int],
    maps: Sequence[Map],
    extents: Sequence[int],
    iterators: Sequence[str],
    body: Body,
    out: int | None = None,
    named: tuple[str, str] | None = None,
) -> int:
    operands = (*inputs, *(() if out is None else (out,)))
    return builder.add(
        Generic(kind, operands, out is not None, tuple(extents), tuple(iterators), tuple(maps), body, named)
    )
