"""What rules are written with: a rule makes other nodes of one that the lowering refuses or gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper

from dlas_mlir.compiler.frontend.onnx.graph import Array, Graph, node, opset

# What a rule makes of a node: others instead, or None where it stays. A ValueError says why it cannot be.
Rule = Callable[[Graph, NodeProto], list[NodeProto] | None]


def set_attributes(each: NodeProto, **values: object) -> None:
    """Replace attributes of a node; None takes one away."""
    kept = [attribute for attribute in each.attribute if attribute.name not in values]
    del each.attribute[:]
    each.attribute.extend(kept)
    each.attribute.extend(helper.make_attribute(name, value) for name, value in values.items() if value is not None)


def fixed_shape(graph: Graph, name: str) -> tuple[int, ...]:
    """The sizes of a value. Raises ValueError where they are not known."""
    shape = graph.shape(name)
    if shape is None:
        raise ValueError(f"the shape of '{name}' is not known: give the model's inputs fixed shapes")
    return shape


class Writer:
    """Writes the nodes that stand for one, `each`; what they are called begins with its result's name."""

    def __init__(self, graph: Graph, each: NodeProto) -> None:
        self.graph, self.each = graph, each
        self.nodes: list[NodeProto] = []
        self._stem = next(filter(None, each.output), each.name)

    def add(self, op_type: str, inputs: list[str], output: str = "", **values: object) -> str:
        """A node of the standard domain with one result, `output` or a new name; returns its name."""
        output = output or self.graph.fresh(f"{self._stem}/{op_type}")
        self.nodes.append(node(op_type, inputs, [output], self.each.name, **values))
        return output

    def constant(self, value: Array | Sequence[int], what: str) -> str:
        """An initializer, named by `what` it is; whole numbers are of 64 bits."""
        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        return self.graph.add_constant(array, f"{self._stem}/{what}")

    def along(self, value: str, like: str, axis: int, rank: int) -> str:
        """`value`, of the shape of `like`, in a shape that is broadcast along `axis`."""
        shape = fixed_shape(self.graph, like)
        if len(shape) != 1:
            return value
        target = [1] * rank
        target[axis] = shape[0]
        return self.add("Reshape", [value, self.constant([1] if shape[0] == 1 else target, "shape")])

    def split(self, value: str, axis: int, parts: int) -> list[str]:
        """Equal parts of `value` along `axis`; they have the shapes that the graph knows then."""
        size = fixed_shape(self.graph, value)[axis] // parts
        names = []
        for index in range(parts):
            bounds = ([index * size], [(index + 1) * size], [axis])
            names.append(self.add("Slice", [value, *(self.constant(bound, "part") for bound in bounds)]))
            shape = list(fixed_shape(self.graph, value))
            shape[axis] = size
            self.graph.set_shape(names[-1], self.graph.element(value), shape)
        return names

    def reduced(self, op_type: str, value: str, axes: Sequence[int]) -> str:
        """A mean or norm over `axes`, which stay with one entry."""
        if opset(self.graph.model) < 18:
            return self.add(op_type, [value], axes=list(axes))
        return self.add(op_type, [value, self.constant(axes, "axes")])

    def transposed(self, value: str, order: Sequence[int]) -> str:
        """`value` with its dimensions in another order; it has the shape that the graph knows then."""
        name = self.add("Transpose", [value], perm=list(order))
        shape = fixed_shape(self.graph, value)
        self.graph.set_shape(name, self.graph.element(value), [shape[dim] for dim in order])
        return name

    def rank(self, name: str) -> int:
        """The number of dimensions of a value."""
        return len(fixed_shape(self.graph, name))
