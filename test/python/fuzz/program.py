"""The description of a program, a plain value: what is drawn, printed as MLIR, evaluated in NumPy, and reduced.

A program is a list of nodes; each makes one tensor and names those that it reads by their places in the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fuzz.elements import Data, Tensor

# ("d", loop), ("c", number), or (operator, expression, expression) with +, *, floordiv, mod.
Expr: TypeAlias = "tuple[Any, ...]"
Map: TypeAlias = "tuple[Expr, ...]"


def loop(place: int) -> Expr:
    return ("d", place)


def value_of(expr: Expr, loops: list[Any]) -> Any:
    """`expr` where loop i is `loops[i]`: numbers or arrays."""
    name, *rest = expr
    if name == "d":
        return loops[rest[0]]
    if name == "c":
        return np.int64(rest[0])
    a, b = (value_of(inner, loops) for inner in rest)
    return {"+": np.add, "*": np.multiply, "floordiv": np.floor_divide, "mod": np.mod}[name](a, b)


def loops_of(expr: Expr) -> set[int]:
    """The loops that `expr` reads."""
    if expr[0] == "d":
        return {expr[1]}
    return set() if expr[0] == "c" else loops_of(expr[1]) | loops_of(expr[2])


def expr_text(expr: Expr) -> str:
    name, *rest = expr
    if name in ("d", "c"):
        return f"d{rest[0]}" if name == "d" else str(rest[0])
    return f"({expr_text(rest[0])} {name} {expr_text(rest[1])})"


def map_text(map_: Map, loops: int) -> str:
    dims = ", ".join(f"d{i}" for i in range(loops))
    return f"affine_map<({dims}) -> ({', '.join(map(expr_text, map_))})>"


@dataclass(frozen=True)
class Scalar:
    """One operation of a body. `args` are places among the arguments (the output's last) and the operations before;
    `attr` is the number of a constant, the loop of an index, the predicate of a comparison."""

    op: str
    type: str
    args: tuple[int, ...] = ()
    attr: Any = None


@dataclass(frozen=True)
class Body:
    """The body of a linalg.generic; the last operation is yielded, or the argument `passed` where it is given."""

    ops: tuple[Scalar, ...]
    passed: int | None = None


@dataclass(frozen=True)
class Node:
    """What makes a tensor of `type` from those at `inputs`."""

    type: Tensor
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Argument(Node):
    data: Data


@dataclass(frozen=True)
class Constant(Node):
    data: Data


@dataclass(frozen=True)
class Empty(Node):
    """What nothing reads: the shape of a window."""


@dataclass(frozen=True)
class Fill(Node):
    value: float


@dataclass(frozen=True)
class Generic(Node):
    """A linalg.generic. The last input is the initial value where `initial`, else there is an empty tensor instead.
    `maps` has one for each operand, the output's last. `named` is the operation's name and the attributes of a named
    form that does just this."""

    initial: bool
    extents: tuple[int, ...]
    iterators: tuple[str, ...]
    maps: tuple[Map, ...]
    body: Body
    named: tuple[str, str] | None = None


@dataclass(frozen=True)
class Pad(Node):
    low: tuple[int, ...]
    high: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Slice(Node):
    offsets: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Insert(Node):
    """The first input goes into the second."""

    offsets: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Concat(Node):
    dim: int


@dataclass(frozen=True)
class Reshape(Node):
    """tensor.collapse_shape, or tensor.expand_shape where the rank grows."""

    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Transpose(Node):
    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Broadcast(Node):
    added: tuple[int, ...]


@dataclass(frozen=True)
class Pack(Node):
    """`permutation` of the outer dimensions, or empty; `value` pads partial tiles."""

    dims: tuple[int, ...]
    tiles: tuple[int, ...]
    permutation: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Unpack(Node):
    dims: tuple[int, ...]
    tiles: tuple[int, ...]
    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """`results` and `arguments` (the order of the Argument nodes) are places in `nodes`."""

    nodes: tuple[Node, ...]
    arguments: tuple[int, ...]
    results: tuple[int, ...]

    def inputs(self) -> list[np.ndarray]:
        """What the function is called with."""
        found = []
        for place in self.arguments:
            node = self.nodes[place]
            assert isinstance(node, Argument)
            found.append(node.data.array(node.type))
        return found
