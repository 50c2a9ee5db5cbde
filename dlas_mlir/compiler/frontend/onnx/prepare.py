"""An ONNX model as people have it, made one that the importer takes and gets right.

The lowering from ONNX to torch knows fixed shapes, recent operations, and not everything that the standard allows.
So shapes are inferred, what depends on them alone is computed, old operations are brought to a newer opset, and nodes
that it would refuse or get wrong are written with others. What is left without a lowering is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import ModelProto, TensorProto, helper, inliner

from dlas_mlir.compiler.frontend.onnx import rewrite as onnx_rewrite
from dlas_mlir.compiler.frontend.onnx.expand import expand, spell_out
from dlas_mlir.compiler.frontend.onnx.fold import fold, infer
from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Graph, opset
from dlas_mlir.compiler.frontend.onnx.refusals import check_constants, check_operations, check_types
from dlas_mlir.errors import DlasError

# Where the lowering knows all operations in the form that they have; newer ones stay as they are.
_OPSET = 17
# Weights are kept out of what onnx's own native code is given: it takes no more than 2 GB.
_SMALL = 4096


def prepare(model: ModelProto, name: str) -> ModelProto:
    """`model`, whose input shapes are fixed, without what the importer would not take. Raises DlasError."""
    model.ir_version = max(model.ir_version, 8)
    model.graph.name = "main"
    if model.functions:
        model = _native(name, lambda: inliner.inline_local_functions(model, convert_version=True))
    check_operations(model, name)
    spell_out(model)
    weights = _set_aside(model)
    model = _native(name, lambda: fold(model))
    check_types(model, name)
    model = _upgraded(model, name)
    model = _native(name, lambda: expand(model))
    check_constants(model, name)
    model = onnx_rewrite.rewrite(model, name)
    model = _native(name, lambda: fold(model))
    _put_back(model, weights)
    return model


def _native(name: str, call: Callable[[], ModelProto]) -> ModelProto:
    """What `call` returns; onnx's native code raises many kinds of errors. Raises DlasError."""
    try:
        return call()
    except DlasError:
        raise
    except Exception as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
        raise DlasError(f"{name} is no valid ONNX model: {lines[0]}") from None


def _upgraded(model: ModelProto, name: str) -> ModelProto:
    if opset(model) >= _OPSET:
        return model
    try:
        newer = onnx.version_converter.convert_version(model, _OPSET)
        return fold(newer)
    except Exception:  # it does not know how to convert an operation: perhaps the importer takes it as it is
        return _native(name, lambda: infer(model))


def _set_aside(model: ModelProto) -> dict[str, TensorProto]:
    """Make large initializers inputs of the same name; returns them."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.add_initializer(tensor)
    graph.replace_nodes(node for node in model.graph.node if not set(node.output) & graph.initializers.keys())
    weights = {}
    small = []
    for tensor in model.graph.initializer:
        if _elements(tensor) <= _SMALL:
            small.append(tensor)
            continue
        weights[tensor.name] = tensor
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del model.graph.initializer[:]
    model.graph.initializer.extend(small)
    return weights


def _elements(tensor: TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _put_back(model: ModelProto, weights: dict[str, TensorProto]) -> None:
    used = {info.name for info in model.graph.input}
    free = [info for info in model.graph.input if info.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(free)
    model.graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    Graph(model).drop_unused()
