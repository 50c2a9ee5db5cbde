"""An ONNX model as linalg on tensors, for a process of its own.

What `iree-import-onnx` and the torch passes do, after the model was prepared for them, and with the names of the nodes
as locations.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from iree.compiler import ir
from iree.compiler.extras import onnx_importer
from onnx import ModelProto, TensorProto, ValueInfoProto

from dlas_mlir.compiler.frontend import mlir_import
from dlas_mlir.compiler.frontend.input_spec import InputSpec
from dlas_mlir.compiler.frontend.onnx import file as onnx_file
from dlas_mlir.compiler.frontend.onnx import lowering as onnx_lowering
from dlas_mlir.compiler.frontend.onnx.graph import all_nodes, describe, opset
from dlas_mlir.compiler.frontend.onnx.prepare import prepare
from dlas_mlir.errors import DlasError


def convert(path: Path, output: Path, inputs: tuple[InputSpec, ...] | None, batch: int | None = None) -> list[str]:
    """Write `path` as bytecode of linalg on tensors; returns the files that it names. Raises DlasError."""
    warnings.simplefilter("ignore")
    model, files = onnx_file.read(path)
    onnx_file.fix_inputs(model, inputs, batch, str(path))
    model = prepare(model, str(path))
    module = _in_torch(model, str(path))
    try:
        onnx_lowering.lower(module)
    except onnx_lowering.LoweringError as error:
        raise DlasError(f"{path}: {_complaint(error, model)}") from None
    main = mlir_import.check_main(module, str(path))
    onnx_lowering.say_unsigned(main, _unsigned(model.graph.input), _unsigned(model.graph.output))
    with output.open("wb") as file:
        module.operation.write_bytecode(file)
    return files


def _unsigned(infos: Iterable[ValueInfoProto]) -> list[bool]:
    kinds = (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64)
    return [info.type.tensor_type.elem_type in kinds for info in infos]


def _in_torch(model: ModelProto, name: str) -> ir.Module:
    try:
        info = onnx_importer.ModelInfo(model)
        module = info.create_module(context=ir.Context())
        onnx_importer.NodeImporter.define_function(info.main_graph, module.operation).import_all()
        module.operation.verify()
    except Exception as error:  # the importer's and MLIR's
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DlasError(f"{name} cannot be imported: {lines[0]}") from None
    return module


def _complaint(error: onnx_lowering.LoweringError, model: ModelProto) -> str:
    """The first complaint about a node of the model, in its terms."""
    nodes = {node.name: node for node in all_nodes(model.graph.node)}
    for problem in error.problems:
        if (node := nodes.get(problem.place)) is None:
            continue
        if problem.message.startswith("failed to legalize"):
            illegal = re.search(r'= "torch\.(?!operator)([\w.]+)"|^.*"onnx\.', problem.message)
            step = f": torch-mlir cannot lower torch.{illegal[1]}" if illegal and illegal[1] else ""
            return f"{describe(node)} is not supported in this form (opset {opset(model)}){step}"
        return f"{describe(node)} cannot be lowered: {problem.message[:300]}"
    first = error.problems[0]
    return f"it cannot be lowered: {first.place}: {first.message[:300]}"
