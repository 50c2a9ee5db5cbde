"""What of ONNX is refused by name before anything is lowered."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Graph, all_nodes, describe, element_name, opset
from dlas_mlir.errors import DlasError

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
# Whose results are as large as values say.
_SIZED_BY_VALUES = frozenset({"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
# The inputs that decide what shape a result has, or along which axis it is computed; by their position.
_DECIDING: dict[str, tuple[int, ...]] = {
    "CumProd": (1,),
    "CumSum": (1,),
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
# What callers can pass and get; numbers in float64 are computed in float32, which is not what was asked for.
_TYPES = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
)


def check_operations(model: ModelProto, name: str) -> None:
    """Raise DlasError for operations that are not the standard's or that it does not have, and for random numbers."""
    version = opset(model)
    for node in all_nodes(model.graph.node):
        if node.domain not in STANDARD:
            raise DlasError(
                f"{name}: {describe(node)} is an operation of the domain {node.domain}, which is not supported: "
                "export the model with the operations of standard ONNX only"
            )
        if not onnx.defs.has(node.op_type, max_inclusive_version=version):
            raise DlasError(f"{name}: {describe(node)}: opset {version} of ONNX has no such operation")
        if node.op_type in _RANDOM:
            raise DlasError(f"{name}: {describe(node)} takes random numbers, which are not supported")
        if node.op_type == "Scan" and version < 9:
            raise DlasError(f"{name}: {describe(node)} is not supported in opset {version}: export it with opset 17")


def check_types(model: ModelProto, name: str) -> None:
    """Raise DlasError for inputs and outputs of types that cannot be passed."""
    for what, infos in (("input", model.graph.input), ("output", model.graph.output)):
        for info in infos:
            element = info.type.tensor_type.elem_type
            if element in _TYPES or element == TensorProto.UNDEFINED:
                continue
            written = element_name(element).lower()
            if element == TensorProto.DOUBLE:
                raise DlasError(
                    f"{name}: {what} '{info.name}' is float64, and iree-compile makes everything float32: "
                    "export the model in float32"
                )
            raise DlasError(f"{name}: {what} '{info.name}' is of the type {written}, which is not supported")


def check_constants(model: ModelProto, name: str) -> None:
    """Raise DlasError for nodes whose results have no fixed shape: `model` is folded."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type in _SIZED_BY_VALUES:
            raise DlasError(f"{name}: {describe(node)}: the size of its result depends on values; sizes must be fixed")
        if node.op_type == "Dropout" and _drops(graph, node):
            raise DlasError(f"{name}: {describe(node)} takes random numbers, which are not supported")
        for position in _DECIDING.get(node.op_type, ()):
            given = node.input[position] if position < len(node.input) else ""
            if given and graph.constant(given) is None and graph.shape(given) != (0,):
                raise DlasError(
                    f"{name}: {describe(node)}: its input '{given}' must be constant, since sizes or axes depend on it"
                )


def _drops(graph: Graph, node: NodeProto) -> bool:
    """Whether a Dropout does anything at inference: it is told that it is in training, and with which ratio."""
    _, ratio, training = (*node.input, "", "")[:3]
    if not training:
        return False
    drops, share = graph.constant(training), graph.constant(ratio) if ratio else np.array(0.5)
    return (drops is None or bool(drops)) and (share is None or bool(share))
