"""From the torch dialect to linalg on tensors, by torch-mlir. Does not import torch, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.passmanager import PassManager

from dlas_mlir.compiler.frontend import torch_repairs
from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering

_LOWERING = (
    "builtin.module("
    "func.func(torch-match-quantized-custom-ops),"
    "torchdynamo-export-to-torch-backend-pipeline{backend-legal-ops=aten.adaptive_max_pool2d extra-library=},"
    "torch-backend-to-linalg-on-tensors-backend-pipeline{allow-non-finites=true})"
)


@dataclass(frozen=True)
class Notes:
    """What a module in the torch dialect does not say of itself; `vars` of it can be written as JSON.

    `nodes` maps the location of an operation, which is its layer, to what PyTorch calls it and where it stands in the
    user's code, ` (FILE:LINE)`. `unsigned_inputs` and `unsigned_outputs` are the positions of those in uint8.
    `results` are the layer and the type in linalg of each output.
    """

    nodes: dict[str, tuple[str, str]] = field(default_factory=dict)
    unsigned_inputs: tuple[int, ...] = ()
    unsigned_outputs: tuple[int, ...] = ()
    results: tuple[tuple[str, str], ...] = ()


def lower(source: Path, output: Path, name: str, notes: Notes) -> None:
    """Lower bytecode of the torch dialect to a function `main` of linalg on tensors, as bytecode.

    Raises DlasError for an operation that cannot be lowered, with its layer.
    """
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
    again = ("torch-mlir-opt", str(source), f"--pass-pipeline={_LOWERING}", "-o", "/dev/null")
    entering("torch-mlir's lowering", again=again, keep=source)
    try:
        module = ir.Module.parse(source.read_bytes(), context)
        torch_repairs.repair(module)
        PassManager.parse(_LOWERING, context).run(module.operation)
    except ir.MLIRError as error:
        raise DlasError(_lowering_error(name, error, problems, notes)) from None
    finally:
        handler.detach()
    main = next(op for op in module.body.operations if ir.StringAttr(op.attributes["sym_name"]).value == "main")
    function_type = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
    _check_results(name, function_type.results, notes)
    _say_unsigned(main, function_type, notes)
    with output.open("wb") as file:
        module.operation.write_bytecode(file)


def _check_results(name: str, types: Sequence[ir.Type], notes: Notes) -> None:
    """Raise DlasError where torch-mlir's lowering of an operation gives another type than PyTorch's."""
    for of_type, (layer, wanted) in zip(types, notes.results, strict=True):
        if str(of_type) != wanted:
            raise DlasError(_not_lowered(name, layer, f"is lowered to {of_type}, where it is {wanted}", notes))


def _say_unsigned(main: ir.OpView, function_type: ir.FunctionType, notes: Notes) -> None:
    """Note which arguments and results of `main` are unsigned: linalg's integers do not say it, IREE's callers ask."""
    for key, positions, types in (
        ("arg_attrs", notes.unsigned_inputs, function_type.inputs),
        ("res_attrs", notes.unsigned_outputs, function_type.results),
    ):
        if positions:
            with ir.Location.unknown(main.context):
                main.attributes[key] = ir.ArrayAttr.get([_encoding(t, i in positions) for i, t in enumerate(types)])


def _encoding(of_type: ir.Type, unsigned: bool) -> ir.Attribute:
    if not unsigned:
        return ir.DictAttr.get({})
    tensor_type = ir.RankedTensorType(of_type)
    element = ir.IntegerType.get_unsigned(ir.IntegerType(tensor_type.element_type).width)
    return ir.DictAttr.get({"iree.abi.encoding": ir.TypeAttr.get(ir.RankedTensorType.get(tensor_type.shape, element))})


class _Problem(NamedTuple):
    layer: str
    message: str


def _problem(diagnostic: ir.Diagnostic) -> _Problem:
    location = diagnostic.location
    return _Problem(location.name_str if isinstance(location, ir.NameLoc) else "", diagnostic.message)


def _lowering_error(name: str, error: Exception, problems: list[_Problem], notes: Notes) -> str:
    if not problems:
        return f"{name} cannot be lowered to linalg: {str(error).strip().splitlines()[0]}"
    layer, message = problems[0]
    returned = re.search(r"type of return operand (\d+)", message)
    if returned is not None:  # of the operation that makes it, not of the return
        layer = notes.results[int(returned.group(1))][0]
    named = re.search(r'name = "torch\.([^"]+)"', message) or re.search(r"operation '([^']+)'", message)
    what = "is not supported" if "failed to legalize" in message else f"cannot be lowered: {message.splitlines()[0]}"
    return _not_lowered(name, layer, what, notes, named.group(1) if named else "an operation")


def _not_lowered(name: str, layer: str, what: str, notes: Notes, operation: str = "an operation") -> str:
    target, source = notes.nodes.get(layer, (operation, ""))
    where = f" of {layer}" if layer else ""
    return f"{name}: operation {target}{where}{source} {what}; replace it in the model by supported ones"
