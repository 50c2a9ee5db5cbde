"""Nodes that the lowering from ONNX refuses or gets wrong, written with others that it gets right."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from dlas_mlir.compiler.frontend.onnx import quantized, recurrent, windows
from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Graph, describe, integers
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape
from dlas_mlir.errors import DlasError


def rewrite(model: ModelProto, name: str) -> ModelProto:
    """`model`, with inferred shapes, with such nodes replaced. Raises DlasError for one that cannot be."""
    graph = Graph(model)
    nodes: list[NodeProto] = []
    for each in graph.proto.node:
        try:
            made = _rewritten(graph, each)
        except ValueError as error:
            raise DlasError(f"{name}: {describe(each)}: {error}") from None
        nodes += [each] if made is None else made
    graph.replace_nodes(nodes)
    return model


def _rewritten(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    rule = _RULES.get(each.op_type) if each.domain in STANDARD else None
    return rule(graph, each) if rule else None


def _product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MatMul of a vector and a stack of matrices: with a dimension of one, taken away again."""
    ranks = [len(fixed_shape(graph, name)) for name in each.input]
    if 1 not in ranks or max(ranks) <= 2:
        return None
    code = Writer(graph, each)
    inputs = list(each.input)
    taken = []
    for index, axis in ((0, -2), (1, -1)):
        if ranks[index] == 1:
            shape = [1, -1] if index == 0 else [-1, 1]
            inputs[index] = code.add("Reshape", [inputs[index], code.constant(shape, "shape")])
            taken.append(axis)
    code.add("Squeeze", [code.add("MatMul", inputs), code.constant(taken, "axes")], each.output[0])
    return code.nodes


def _normalization(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MeanVarianceNormalization: the standard takes E[x]^2 from E[x^2], of which little is left far from zero."""
    (x,), axes = each.input, integers(each, "axes", [0, 2, 3])
    write = Writer(graph, each)
    apart = write.add("Sub", [x, write.mean(x, axes)])
    variance = write.mean(write.add("Mul", [apart, apart]), axes)
    least = np.array(1e-9, helper.tensor_dtype_to_np_dtype(graph.element(x)))
    deviation = write.add("Add", [write.add("Sqrt", [variance]), write.constant(least, "least")])
    write.add("Div", [apart, deviation], each.output[0])
    return write.nodes


_RULES: dict[str, Rule] = {
    "MatMul": _product,
    "MeanVarianceNormalization": _normalization,
    **quantized.RULES,
    **recurrent.RULES,
    **windows.RULES,
}
