"""Computing at import what depends on constants and shapes alone: the chains from Shape to Reshape of exported models.

Exporters write the shapes that a model computes as operations (Shape, Gather, Concat, Reshape). With fixed input
shapes all of them are constants, and only so are the shapes after them known.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Array, Graph, attributes, opset, rename_uses, subgraphs

# Shapes, axes, indices and scales are small; what is larger is work for the compiler, which folds it too.
_LARGEST = 4096
# What inference knows nothing of, where it should.
_OF_INPUTS_TYPE = ("GroupNormalization",)
# Left for the compiler: what it means is lost in what it computes, or it is not the same each time.
_KEPT = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def fold(model: ModelProto) -> ModelProto:
    """`model`, whose input shapes are fixed, with inferred shapes and without what can be computed from them."""
    while True:
        model = infer(model)
        graph = Graph(model)
        changed = _fold_once(graph)
        graph.drop_unused()
        if not changed:
            return model


def infer(model: ModelProto) -> ModelProto:
    """`model` with the types of its values as shape inference finds them from its inputs.

    Raises onnx.shape_inference.InferenceError where an operation cannot have its inputs.
    """
    del model.graph.value_info[:]
    _let_ranges_have_numbers(Graph(model))
    while True:
        model = _inferred(model)
        if not _infer_more(model):
            return model


def _inferred(model: ModelProto) -> ModelProto:
    """By onnx, which takes the values of shapes along where it can. It refuses sums of such values with others that
    broadcast in two dimensions, for it knows of one."""
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _let_ranges_have_numbers(graph: Graph) -> None:
    """Make the constants that a Range is given numbers: definitions of the standard give it vectors of one, which
    onnx's own evaluator takes and its inference does not."""
    for node in graph.proto.node:
        if node.op_type != "Range" or node.domain not in STANDARD:
            continue
        for place, name in enumerate(node.input):
            value = graph.constant(name)
            if value is not None and value.shape == (1,):
                node.input[place] = graph.add_constant(value.reshape(()), f"{name}/number")


def _infer_more(model: ModelProto) -> bool:
    """Give results that are of their input's type, and that inference left open, that type; whether there were any."""
    graph = Graph(model)
    outputs = {output.name: output for output in model.graph.output}
    found = False
    for node in model.graph.node:
        if node.op_type not in _OF_INPUTS_TYPE or graph.shape(node.output[0]) is not None:
            continue
        if (shape := graph.shape(node.input[0])) is None:
            continue
        info = helper.make_tensor_value_info(node.output[0], graph.element(node.input[0]), shape)
        if node.output[0] in outputs:
            outputs[node.output[0]].CopyFrom(info)
        else:
            model.graph.value_info.append(info)
        found = True
    return found


def _fold_once(graph: Graph) -> bool:
    changed = False
    aliases: dict[str, str] = {}
    outputs = {output.name for output in graph.proto.output}
    kept: list[NodeProto] = []
    for node in graph.proto.node:
        rename_uses(node, aliases)
        branch = _branch_taken(graph, node)
        if branch is not None:
            kept += branch
            changed = True
        elif _is_alias(node) and node.output[0] not in outputs:
            aliases[node.output[0]] = node.input[0]
            changed = True
        elif (values := _computed(graph, node)) is not None:
            for name, value in zip(node.output, values, strict=False):
                if name:
                    graph.add_constant(value, name, exact=True)
            changed = True
        elif node.op_type == "Constant" and node.domain in STANDARD and "value" in attributes(node):
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.add_initializer(tensor)
            changed = True
        else:
            kept.append(node)
    graph.replace_nodes(kept)
    return changed


def _is_alias(node: NodeProto) -> bool:
    return node.domain in STANDARD and node.op_type == "Identity"


def _computed(graph: Graph, node: NodeProto) -> list[Array] | None:
    """The outputs of a node, where they are small and follow from constants and shapes."""
    if node.domain not in STANDARD or node.op_type in _KEPT or any(True for _ in subgraphs(node)):
        return None
    if node.op_type in ("Shape", "Size") and (shape := graph.shape(node.input[0])) is not None:
        return [_shape_of(node, shape)]
    inputs = {name: graph.constant(name) for name in node.input if name}
    if any(value is None for value in inputs.values()) or (not inputs and node.op_type != "Constant"):
        return None
    if node.op_type == "Constant" and "value" in attributes(node):
        return None
    sizes = [np.prod(graph.shape(name) or (), dtype=int) for name in (*inputs, *node.output) if name]
    if max(sizes, default=0) > _LARGEST or any(graph.shape(name) is None for name in node.output if name):
        return None
    try:
        return evaluate(node, {name: value for name, value in inputs.items() if value is not None}, graph)
    except Exception:  # whatever the evaluator cannot do is left to the compiler
        return None


def evaluate(node: NodeProto, inputs: dict[str, Array], graph: Graph) -> list[Array]:
    """The outputs of one node for `inputs`, by onnx's own evaluator."""
    infos = [
        helper.make_tensor_value_info(name, graph.element(name) or helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in inputs.items()
    ]
    names = [name for name in node.output if name]
    results = [helper.make_tensor_value_info(name, graph.element(name), None) for name in names]
    one = helper.make_model(
        helper.make_graph([node], "one", infos, results), opset_imports=[helper.make_opsetid("", opset(graph.model))]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dict(zip(names, ReferenceEvaluator(one).run(None, inputs), strict=True))
    return [np.asarray(found[name]) if name else np.zeros(0) for name in node.output]


def _shape_of(node: NodeProto, shape: tuple[int, ...]) -> Array:
    if node.op_type == "Size":
        return np.array(np.prod(shape, dtype=np.int64), np.int64)
    values = attributes(node)
    start, end = values.get("start", 0), values.get("end", len(shape))
    assert isinstance(start, int)
    assert isinstance(end, int)
    return np.array(shape[slice(start, end)], np.int64)


def _branch_taken(graph: Graph, node: NodeProto) -> list[NodeProto] | None:
    """The nodes of the branch that an If with a constant condition takes, with names of their own."""
    if node.op_type != "If" or node.domain not in STANDARD:
        return None
    condition = graph.constant(node.input[0])
    if condition is None:
        return None
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
    names: dict[str, str] = {}
    for tensor in branch.initializer:
        names[tensor.name] = graph.fresh(f"{node.name}/{tensor.name}")
        renamed = TensorProto()
        renamed.CopyFrom(tensor)
        renamed.name = names[tensor.name]
        graph.add_initializer(renamed)
    nodes = []
    for each in branch.node:
        copy = NodeProto()
        copy.CopyFrom(each)
        rename_uses(copy, names)
        for index, name in enumerate(copy.output):
            if name:
                names[name] = graph.fresh(f"{node.name}/{name}")
                copy.output[index] = names[name]
        nodes.append(copy)
    for inner, outer in zip(branch.output, node.output, strict=True):
        source = names.get(inner.name, inner.name)
        nodes.append(helper.make_node("Identity", [source], [outer], name=node.name))
    return nodes
