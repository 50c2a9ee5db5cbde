"""An ONNX graph that is being changed: its constants and types by name, new names, what is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray

STANDARD = ("", "ai.onnx")


def opset(model: ModelProto) -> int:
    """The version of the standard operations that `model` is written in."""
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD), 1)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs directly in `node`."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """`nodes`, and those of the graphs in them."""
    for node in nodes:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner.node)


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """`graph` and the graphs in its nodes."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def describe(node: NodeProto) -> str:
    """What a message calls a node: its name and operation."""
    domain = "" if node.domain in STANDARD else f"{node.domain}."
    return f"node '{node.name}' ({domain}{node.op_type})"


def attributes(node: NodeProto) -> dict[str, object]:
    """The attributes of a node as Python values, strings as str."""
    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


def integers(node: NodeProto, name: str, default: Iterable[int]) -> list[int]:
    """The attribute `name`, a list of integers."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints)
    return list(default)


class Graph:
    """The main graph of `model`, changed in place; `model` is changed with it."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.proto = model.graph
        self.initializers = {tensor.name: tensor for tensor in self.proto.initializer}
        self._values: dict[str, Array] = {}
        self._names = {name for graph in all_graphs(self.proto) for name in _names(graph)}
        self.read_types()

    def read_types(self) -> None:
        """Take the types of all values from what shape inference wrote."""
        infos = (*self.proto.input, *self.proto.value_info, *self.proto.output)
        self._types = {info.name: info.type.tensor_type for info in infos}

    def constant(self, name: str) -> Array | None:
        """The value of an initializer, or None for anything else."""
        if name not in self.initializers:
            return None
        if name not in self._values:
            self._values[name] = numpy_helper.to_array(self.initializers[name])
        return self._values[name]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value, None where it is not known or not fixed."""
        if name in self.initializers:
            return tuple(self.initializers[name].dims)
        dims = self.dims(name)
        if dims is None or not all(isinstance(dim, int) for dim in dims):
            return None
        return tuple(int(dim) for dim in dims if dim is not None)

    def dims(self, name: str) -> tuple[int | None, ...] | None:
        """The sizes of a value, None for one that is not fixed; None where the rank is unknown."""
        kind = self._types.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)

    def element(self, name: str) -> int:
        """The ONNX element type of a value, 0 where it is not known."""
        if name in self.initializers:
            return self.initializers[name].data_type
        kind = self._types.get(name)
        return kind.elem_type if kind is not None else 0

    def set_shape(self, name: str, element: int, shape: Iterable[int]) -> None:
        """Say what type a new value has, before shapes are inferred again."""
        self._types[name] = helper.make_tensor_value_info(name, element, list(shape)).type.tensor_type

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        name, number = stem, 0
        while name in self._names or not name:
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        return name

    def add_constant(self, value: Array, stem: str, *, exact: bool = False) -> str:
        """A new initializer, called `stem` (if `exact`) or something like it; returns its name."""
        name = stem if exact else self.fresh(stem)
        return self.add_initializer(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))

    def add_initializer(self, tensor: TensorProto) -> str:
        """A new initializer; returns its name."""
        self.proto.initializer.append(tensor)
        self.initializers[tensor.name] = self.proto.initializer[-1]
        return tensor.name

    def replace_nodes(self, nodes: Iterable[NodeProto]) -> None:
        """The nodes of the graph are now `nodes`."""
        kept = list(nodes)
        del self.proto.node[:]
        self.proto.node.extend(kept)

    def drop_unused(self) -> None:
        """Remove nodes and initializers that no output depends on."""
        needed = {output.name for output in self.proto.output}
        kept = []
        for node in reversed(self.proto.node):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(used(node))
        self.replace_nodes(reversed(kept))
        tensors = [tensor for tensor in self.proto.initializer if tensor.name in needed]
        if len(tensors) != len(self.proto.initializer):
            del self.proto.initializer[:]
            self.proto.initializer.extend(tensors)
            self.initializers = {tensor.name: tensor for tensor in self.proto.initializer}


def used(node: NodeProto) -> set[str]:
    """The names that a node reads, in the graphs in it too."""
    names = set(node.input)
    for inner in subgraphs(node):
        for each in inner.node:
            names |= used(each)
        names |= {output.name for output in inner.output}
    names.discard("")
    return names


def rename_uses(node: NodeProto, names: dict[str, str]) -> None:
    """Let a node, and the graphs in it, read `names[x]` where it read x; names defined inside hide those outside."""
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
    for inner in subgraphs(node):
        own = set(_defined(inner))
        visible = {old: new for old, new in names.items() if old not in own}
        for each in inner.node:
            rename_uses(each, visible)
        for output in inner.output:
            output.name = visible.get(output.name, output.name)


def _defined(graph: GraphProto) -> Iterator[str]:
    yield from (info.name for info in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from node.output


def _names(graph: GraphProto) -> Iterator[str]:
    yield from _defined(graph)
    yield from (info.name for info in (*graph.value_info, *graph.output))
    yield from (node.name for node in graph.node)


def node(op_type: str, inputs: Iterable[str], outputs: Iterable[str], name: str, **values: Any) -> NodeProto:
    """A node of the standard domain."""
    return helper.make_node(op_type, list(inputs), list(outputs), name=name, **values)


def element_name(element: int) -> str:
    """The name of an ONNX element type."""
    return onnx.TensorProto.DataType.Name(element) if element in onnx.TensorProto.DataType.values() else str(element)
