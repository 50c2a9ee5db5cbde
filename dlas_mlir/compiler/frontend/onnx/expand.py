"""Operations that the lowering does not know and the standard defines by others, written so."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TypeProto, helper, inliner

from dlas_mlir.compiler.frontend.onnx.file import name_nodes
from dlas_mlir.compiler.frontend.onnx.fold import fold
from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Graph, all_nodes, opset

# Without a lowering that works, but with a definition by other operations.
_EXPANDED = frozenset(
    {
        "Attention",
        "CausalConvWithState",
        "LinearAttention",
        "NegativeLogLikelihoodLoss",
        "RMSNormalization",
        "RotaryEmbedding",
        "SoftmaxCrossEntropyLoss",
        "SwiGLU",
        "Swish",
    }
)
_DOMAIN = "dlas.expanded"
# Of which shape inference takes another default than the standard does.
_OTHER_DEFAULTS = ("STFT",)


def spell_out(model: ModelProto) -> None:
    """Write the defaults of attributes that a definition refers to, and those that shape inference does not find."""
    for node in all_nodes(model.graph.node):
        if node.domain not in STANDARD or not onnx.defs.has(node.op_type, max_inclusive_version=opset(model)):
            continue
        schema: Any = onnx.defs.get_schema(node.op_type, opset(model))
        given = {attribute.name for attribute in node.attribute}
        if schema.has_function or node.op_type in _OTHER_DEFAULTS:
            missing = [each for name, each in schema.attributes.items() if name not in given]
            node.attribute.extend(each.default_value for each in missing if each.default_value.name)


def expand(model: ModelProto) -> ModelProto:
    """`model`, whose types are inferred, without such operations in its main graph; they may define each other."""
    while found := [node for node in model.graph.node if node.domain in STANDARD and node.op_type in _EXPANDED]:
        graph = Graph(model)
        functions = [_function(graph, node, f"{node.op_type}_{index}") for index, node in enumerate(found)]
        for node, function in zip(found, functions, strict=True):
            node.op_type, node.domain = function.name, function.domain
        # The inliner asks for the types of what a function is called with, and does not look at the constants.
        model.graph.value_info.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            for tensor in model.graph.initializer
        )
        model.functions.extend(functions)
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        model = inliner.inline_local_functions(model, convert_version=True)
        kept = [entry for entry in model.opset_import if entry.domain != _DOMAIN]
        del model.opset_import[:]
        model.opset_import.extend(kept)
        name_nodes(model)
        spell_out(model)
        model = fold(model)
    return model


def _function(graph: Graph, node: NodeProto, name: str) -> FunctionProto:
    """The definition of one node, for the inputs that it has."""
    schema: Any = onnx.defs.get_schema(node.op_type, opset(graph.model))
    function = FunctionProto()
    if schema.has_context_dependent_function:
        types = [_type(graph, each).SerializeToString() for each in node.input]
        function.ParseFromString(schema.get_context_dependent_function(node.SerializeToString(), types))
    else:
        function.CopyFrom(schema.function_body)
    function.name, function.domain = name, _DOMAIN
    _bring_up(function, opset(graph.model))
    return function


def _bring_up(function: FunctionProto, version: int) -> None:
    """Say that `function` is written in `version`, where that has its operations unchanged.

    The inliner would convert it otherwise, and ends at inputs that are left out.
    """
    for entry in function.opset_import:
        operations = {node.op_type for node in all_nodes(function.node) if node.domain in STANDARD}
        if entry.domain in STANDARD and all(
            _since(name, entry.version) == _since(name, version) for name in operations
        ):
            entry.version = version


def _since(operation: str, version: int) -> int:
    return onnx.defs.get_schema(operation, version).since_version


def _type(graph: Graph, name: str) -> TypeProto:
    if not name:
        return TypeProto()
    shape = graph.dims(name) if graph.shape(name) is None else graph.shape(name)
    return helper.make_tensor_type_proto(graph.element(name), None if shape is None else list(shape))
