"""From PyTorch to the torch dialect: torch.export and torch-mlir's importer, in seconds.

Imports torch: only what has missed the cache comes here.
"""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.extras.fx_importer import ContextCache, FxImporter, FxImporterHooks, GraphNodeImporter

from dlas_mlir.compiler.frontend.program import first_line, prepare
from dlas_mlir.compiler.frontend.torch_lowering import Notes
from dlas_mlir.compiler.layers import describe, layer_name, source_line
from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering

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
# What a numpy array is no literal of.
_NARROW = {torch.uint8: "i8", torch.bool: "i1"}
# Code that is not the user's: installed, generated, or this package's.
_FOREIGN = re.compile(r"[/\\](site|dist)-packages[/\\]|^<|" + re.escape(str(Path(__file__).parent)) + "|contextlib.py$")
# What PyTorch says of quantized tensors of its eager mode.
_OF_EAGER_QUANTIZATION = ("quantized nyi in meta tensors", "kernel for aten.int_repr")
# iree-compile may pull a small constant into a dispatch, and there cannot widen a resource of bf16.
_LARGEST_DENSE_BF16 = 1024


def export(model: nn.Module, inputs: tuple[Any, ...], name: str) -> ExportedProgram:
    """torch.export with fixed shapes. Raises DlasError with PyTorch's reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        entering("torch.export")
        try:
            return torch.export.export(model, inputs)
        except Exception as error:  # torch.export raises whatever the model or the tracer raises
            raise DlasError(f"torch.export cannot trace {name}{_raised_at(error)}: {_reason(error)}") from None


def _raised_at(error: Exception) -> str:
    """` (FILE:LINE)` of the model's own code that `error` comes from; nothing where that is not known."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if not _FOREIGN.search(frame[0])]
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""


def _reason(error: Exception) -> str:
    reason = first_line(error)
    if any(words in reason for words in _OF_EAGER_QUANTIZATION):
        return f"quantized tensors of PyTorch's eager mode are not supported; quantize with torchao's pt2e ({reason})"
    if "data-dependent expression" not in reason:
        return reason
    return f"it depends on a value that is not known before it runs; use torch.where, or make it an input ({reason})"


def write_torch(program: ExportedProgram, path: Path, name: str) -> Notes:
    """Write `program` as bytecode of the torch dialect, a function `main`, to `path`, which `torch_lowering` takes.

    The weights are dense_resource constants with the parameters' names; the location of every operation is
    the name of its layer (`layer1.0.conv1`; what a container does itself is `layer1.0.add`). Raises
    DlasError for an operation or a type that cannot be imported, with its layer; what else the user should know is
    printed to stderr.
    """
    prepared = prepare(program, name)
    for remark in prepared.remarks:
        print(remark, file=sys.stderr)
    context = ir.Context()
    torch_dialect.register_dialect(context)
    importer = FxImporter(context=context, hooks=_ResourceLiterals(prepared.names))
    names = _LayerNames(context, py_attr_tracker=importer._py_attr_tracker)
    importer._cc = names
    try:
        # The graph modules that loops and branches refer to.
        importer._import_all_child_modules(prepared.program.graph_module, "main")
        importer.import_stateless_graph(prepared.program.graph, func_name="main")
    except Exception as error:  # what the importer raises for graphs that it does not know
        where = f"{describe(names.last)} " if names.last is not None else ""
        raise DlasError(f"{name}: {where}cannot be lowered to linalg: {first_line(error)}") from None
    with path.open("wb") as file:
        importer.module.operation.write_bytecode(file)
    nodes = {layer: (str(node.target), source_line(node)) for layer, node in names.nodes.items()}
    results = tuple((layer_name(node), _tensor_type(node.meta["val"])) for node in prepared.results)
    return Notes(nodes, prepared.unsigned_inputs, prepared.unsigned_outputs, results)


def _tensor_type(tensor: Tensor) -> str:
    """What linalg calls the type, whose integers have no sign."""
    element = _NARROW.get(tensor.dtype) or _ELEMENT_TYPES[tensor.dtype]
    return f"tensor<{'x'.join([*map(str, tensor.shape), element])}>"


class _LayerNames(ContextCache):
    """Gives operations their layer's name as location.

    Not the stack trace that torch-mlir gives: the reports speak of layers, and files' paths would make the
    module's hash differ between machines.
    """

    def __init__(self, context: ir.Context, **arguments: Any) -> None:
        super().__init__(context, **arguments)
        self.nodes: dict[str, fx.Node] = {}
        # The node that is being imported.
        self.last: fx.Node | None = None

    def get_node_location(self, node: fx.Node) -> ir.Location:
        self.last = node
        name = layer_name(node)
        self.nodes.setdefault(name, node)
        return ir.Location.name(name, context=self._c)


class _ResourceLiterals(FxImporterHooks):
    """Hands weights to MLIR as the buffers that they are; torch-mlir would make Python lists of them."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
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
