"""From PyTorch to linalg on tensors: torch.export, torch-mlir's importer and its lowering, in seconds.

Imports torch: only what has missed the cache comes here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.extras.fx_decomp_util import get_decomposition_table
from torch_mlir.extras.fx_importer import ContextCache, FxImporter, FxImporterHooks, GraphNodeImporter
from torch_mlir.passmanager import PassManager

from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering

_LOWERING = (
    "builtin.module("
    "func.func(torch-match-quantized-custom-ops),"
    "torchdynamo-export-to-torch-backend-pipeline{extra-library=},"
    "torch-backend-to-linalg-on-tensors-backend-pipeline{allow-non-finites=true})"
)

# What numpy and MLIR store alike; bfloat16, which numpy has not, goes through its bits.
_ELEMENT_TYPES = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int16: "i16",
    torch.int8: "i8",
}
# iree-compile may pull a small constant into a dispatch, and there cannot widen a resource of bf16.
_LARGEST_DENSE_BF16 = 1024


def export(model: nn.Module, inputs: tuple[Tensor, ...], name: str) -> ExportedProgram:
    """torch.export with fixed shapes. Raises DlasError with PyTorch's reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        entering("torch.export")
        try:
            return torch.export.export(model, inputs)
        except Exception as error:  # torch.export raises whatever the model or the tracer raises
            raise DlasError(f"torch.export cannot trace {name}: {first_line(error)}") from None


def write_linalg(program: ExportedProgram, path: Path, name: str) -> None:
    """Lower `program` to a function `main` of linalg on tensors, and write it as bytecode to `path`.

    The weights are dense_resource constants with the parameters' names; the location of every operation is
    the name of its layer (`layer1.0.conv1`; what a container does itself is `layer1.0.add`). Raises
    DlasError for an operation that cannot be lowered, with its layer, and for weights in float64.
    """
    for key, value in program.state_dict.items():
        if value.dtype == torch.float64 and value.numel() > 1:
            raise DlasError(
                f"{name}: `{key}` is float64, and iree-compile makes everything float32: call .float() on the model"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            program = program.run_decompositions(get_decomposition_table())
        except Exception as error:  # whatever a decomposition raises
            raise DlasError(f"torch.export cannot decompose {name}: {first_line(error)}") from None
    context = ir.Context()
    torch_dialect.register_dialect(context)
    # Some lowering passes report an error and go on; without this the report is lost.
    context.emit_error_diagnostics = True
    problems: list[_Problem] = []

    def collect(diagnostic: ir.Diagnostic) -> bool:
        if diagnostic.severity == ir.DiagnosticSeverity.ERROR:
            problems.append(_problem(diagnostic))
        return True

    handler = context.attach_diagnostic_handler(collect)
    hooks = _ResourceLiterals(program)
    importer = FxImporter(context=context, hooks=hooks)
    names = _LayerNames(context, py_attr_tracker=importer._py_attr_tracker)
    importer._cc = names
    try:
        importer.import_frozen_program(program, func_name="main")
        _before_lowering(importer.module, path.with_name("torch.mlirbc"))
        with context:
            PassManager.parse(_LOWERING).run(importer.module.operation)
    except Exception as error:  # MLIRError, and what the importer raises for graphs that it does not know
        raise DlasError(_lowering_error(name, error, problems, names.nodes)) from None
    finally:
        handler.detach()
    with path.open("wb") as file:
        importer.module.operation.write_bytecode(file)


def _before_lowering(module: ir.Module, path: Path) -> None:
    """Say what comes, and keep what is lowered: torch-mlir may crash, or hang."""
    again = ("torch-mlir-opt", str(path), f"--pass-pipeline={_LOWERING}", "-o", "/dev/null")
    entering("torch-mlir's lowering", again=again, keep=path, write=module.operation.write_bytecode)


def layer_name(node: fx.Node) -> str:
    """The path of the module that a node comes from, and the operation where that is no leaf layer."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return node.name
    path, kind = list(stack.values())[-1]
    kind_name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if kind_name.startswith("torch.nn.modules.") and path:
        return path
    operation = re.sub(r"_\d+$", "", node.name).rstrip("_")
    return f"{path}.{operation}" if path else operation


class _LayerNames(ContextCache):
    """Gives operations their layer's name as location.

    Not the stack trace that torch-mlir gives: the reports speak of layers, and files' paths would make the
    module's hash differ between machines.
    """

    def __init__(self, context: ir.Context, **arguments: Any) -> None:
        super().__init__(context, **arguments)
        self.nodes: dict[str, fx.Node] = {}

    def get_node_location(self, node: fx.Node) -> ir.Location:
        name = layer_name(node)
        self.nodes.setdefault(name, node)
        return ir.Location.name(name, context=self._c)


class _ResourceLiterals(FxImporterHooks):
    """Hands weights to MLIR as the buffers that they are; torch-mlir would make Python lists of them."""

    def __init__(self, program: ExportedProgram) -> None:
        tensors: Mapping[str, Any] = {**program.constants, **program.state_dict}
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._attributes: dict[int, ir.Attribute] = {}

    def resolve_literal(self, gni: GraphNodeImporter, literal: Any, info: Any) -> ir.Value | None:
        if not isinstance(literal, Tensor) or literal.dtype not in _ELEMENT_TYPES or literal.numel() < 2:
            return None  # torch-mlir makes a splat of one element, and knows the rare types
        attribute = self._attributes.get(id(literal))
        if attribute is None:
            attribute = self._attributes[id(literal)] = self._attribute(gni._c, literal)
        return ir.Operation.create(
            "torch.vtensor.literal",
            results=[gni._cc.tensor_to_vtensor_type(literal)],
            attributes={"value": attribute},
        ).result

    def _attribute(self, context: ir.Context, literal: Tensor) -> ir.Attribute:
        name = self._names.get(id(literal), "constant")
        values = literal.detach().contiguous()
        bits = values.view(torch.int16) if values.dtype == torch.bfloat16 else values
        with context:
            element = ir.Type.parse(_ELEMENT_TYPES[values.dtype])
            tensor_type = ir.RankedTensorType.get(list(values.shape), element)
            if bits is not values and values.numel() <= _LARGEST_DENSE_BF16:
                return ir.DenseElementsAttr.get(bits.numpy(), type=element, shape=list(values.shape))
            return ir.DenseResourceElementsAttr.get_from_buffer(bits.numpy(), name, tensor_type)


class _Problem(NamedTuple):
    layer: str
    message: str


def _problem(diagnostic: ir.Diagnostic) -> _Problem:
    location = diagnostic.location
    return _Problem(location.name_str if isinstance(location, ir.NameLoc) else "", diagnostic.message)


def _lowering_error(name: str, error: Exception, problems: list[_Problem], nodes: Mapping[str, fx.Node]) -> str:
    if not problems:
        return f"{name} cannot be lowered to linalg: {first_line(error)}"
    layer, message = problems[0]
    named = re.search(r'name = "torch\.([^"]+)"', message) or re.search(r"operation '([^']+)'", message)
    node = nodes.get(layer)
    operation = str(node.target) if node is not None else named.group(1) if named else "an operation"
    where = f" of {layer}" if layer else ""
    source = _source_line(node)
    what = "is not supported" if "failed to legalize" in message else f"cannot be lowered: {message.splitlines()[0]}"
    return f"{name}: operation {operation}{where}{source} {what}; replace it in the model by supported ones"


def _source_line(node: fx.Node | None) -> str:
    frames = re.findall(r'File "([^"]+)", line (\d+)', (node.meta.get("stack_trace") or "") if node else "")
    return f" ({frames[-1][0]}:{frames[-1][1]})" if frames else ""


def first_line(error: Exception) -> str:
    """What an exception of PyTorch's says, without the pages that follow."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
