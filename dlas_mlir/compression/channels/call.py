"""One operation of a traced graph: its arguments by name, and the labels of the tensors among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from dlas_mlir.compiler.layers import layer_name
from dlas_mlir.compression.channels.labels import Dim, Dims, Labels
from dlas_mlir.compression.channels.labels import reshaped as reshaped_dims


@dataclass(frozen=True)
class Call:
    """A call of an ATen operation; `known` has the labels of all values before it."""

    node: fx.Node
    labels: Labels
    known: Mapping[fx.Node, Any]

    @property
    def operation(self) -> str:
        """Its name without namespace and overload: `conv2d`."""
        target = self.node.target
        return target._schema.name.partition("::")[2] if isinstance(target, torch._ops.OpOverload) else str(target)

    @property
    def where(self) -> str:
        """The operation and its layer, as a reason names them."""
        layer = layer_name(self.node)
        return self.operation if layer in (self.node.name, self.operation) else f"{self.operation} ({layer})"

    @property
    def pointwise(self) -> bool:
        target = self.node.target
        return isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the schema; `default` where it is not given or None."""
        target = self.node.target
        assert isinstance(target, torch._ops.OpOverload)
        for place, argument in enumerate(target._schema.arguments):
            if argument.name == name:
                given = self.node.args[place] if place < len(self.node.args) else self.node.kwargs.get(name)
                value = argument.default_value if given is None and argument.has_default_value() else given
                return default if value is None else value
        return default

    def first(self) -> fx.Node:
        """The first tensor."""
        return self.node.all_input_nodes[0]

    def dims(self, node: fx.Node) -> Dims:
        """The labels of one tensor; none for what is no tensor."""
        found = self.known.get(node)
        if isinstance(found, tuple) and len(found) == len(shape_of(node)):
            return found
        return (None,) * len(shape_of(node))

    def at(self, node: fx.Node, dim: int) -> Dim:
        dims = self.dims(node)
        return dims[dim] if dims else None

    def dim(self, name: str = "dim", default: int = 0) -> int:
        """The argument `dim` of the first tensor, not negative."""
        rank = max(len(shape_of(self.first())), 1)
        return int(self.argument(name, default)) % rank

    def result(self) -> list[tuple[int, ...]]:
        """The shapes of the results."""
        value = self.node.meta.get("val")
        values = value if isinstance(value, tuple | list) else [value]
        return [tuple(each.shape) if isinstance(each, Tensor) else () for each in values]

    def pin(self, dim: Dim, why: str = "") -> None:
        self.labels.pin(dim, f"{self.where} {why or 'is not followed'}")

    def tie(self, a: Dim, b: Dim) -> None:
        self.labels.tie(a, b, f"{self.where} joins them with something of a fixed size")

    def reshaped(self, node: fx.Node, shape: Sequence[int]) -> Dims:
        why = f"{self.where} mixes them with another dimension"
        return reshaped_dims(self.labels, self.dims(node), shape_of(node), shape, why)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of a value, () for what is no tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()
