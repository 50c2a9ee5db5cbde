"""Modules that are MLIR already, or become it without PyTorch: validation, counting, and ONNX files."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.errors import DlasError
from dlas_mlir.ir import sparsity
from dlas_mlir.ir.diagnostics import place_of
from dlas_mlir.ir.truncated import check_resources_end

_ONNX_LOWERING = (
    "builtin.module("
    "func.func(convert-torch-onnx-to-torch),"
    "torch-onnx-to-torch-backend-pipeline,"
    "torch-backend-to-linalg-on-tensors-backend-pipeline)"
)


def read_module(path: Path) -> ir.Module:
    """Parse MLIR text or bytecode. Raises DlasError with the parser's messages."""
    try:
        check_resources_end(path)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        context = ir.Context()
        context.allow_unregistered_dialects = sparsity.names_dialect(path)
        module = ir.Module.parseFile(str(path), context)
        module.operation.verify()
    except (ir.MLIRError, ValueError) as error:
        raise DlasError(f"not valid MLIR: {_diagnosis(error)}") from None
    return module


def check_main(module: ir.Module, name: str) -> None:
    """Call the only function `main`. Raises DlasError unless there is one, of tensors with fixed shapes."""
    public = [op for op in module.body.operations if _is_public_function(op)]
    mains = [op for op in public if _symbol(op) == "main"] or public
    if len(mains) != 1:
        found = ", ".join(_symbol(op) for op in public) or "none"
        raise DlasError(f"{name} must have one public function, or one that is called main; it has {found}")
    (main,) = mains
    main.attributes["sym_name"] = ir.StringAttr.get("main", module.context)
    function_type = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
    for what, types in (("argument", function_type.inputs), ("result", function_type.results)):
        for index, of_type in enumerate(types):
            if not isinstance(of_type, ir.RankedTensorType) or not of_type.has_static_shape:
                raise DlasError(f"{name}: {what} {index} of main is {of_type}; it must be a tensor with a fixed shape")


def write_linalg(path: Path, output: Path) -> None:
    """Write an .onnx, .mlir or .mlirbc file as bytecode with a function `main`; ONNX is lowered to linalg.

    Raises DlasError when the file is damaged, an operation is unsupported or the onnx package is absent.
    """
    module = _onnx_module(path) if path.suffix == ".onnx" else read_module(path)
    check_main(module, str(path))
    with output.open("wb") as file:
        module.operation.write_bytecode(file)


def _onnx_module(path: Path) -> ir.Module:
    if find_spec("onnx") is None:
        raise DlasError(f"{path} needs the onnx package: install dlas-mlir[onnx]")
    with tempfile.TemporaryDirectory() as scratch:
        imported = Path(scratch) / "model.mlirbc"
        command = [sys.executable, "-m", "dlas_mlir.compiler.onnx_import", str(path), str(imported)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            again = shlex.join([*command[:-1], "/dev/null"])
            raise DlasError(f"cannot import {path}: {lines[-1]} (reproduce it with: {again})")
        module = read_module(imported)
    _lower_onnx(module, path)
    return module


def _lower_onnx(module: ir.Module, path: Path) -> None:
    context = module.context
    problems: list[str] = []

    def collect(diagnostic: ir.Diagnostic) -> bool:
        if diagnostic.severity == ir.DiagnosticSeverity.ERROR:
            problems.append(f"{place_of(diagnostic.location)}: {diagnostic.message.splitlines()[0]}")
        return True

    context.emit_error_diagnostics = True
    handler = context.attach_diagnostic_handler(collect)
    try:
        PassManager.parse(_ONNX_LOWERING, context).run(module.operation)
    except ir.MLIRError as error:
        raise DlasError(f"{path} cannot be lowered: {problems[0] if problems else _diagnosis(error)}") from None
    finally:
        handler.detach()


def _is_public_function(op: ir.OpView) -> bool:
    if op.operation.name != "func.func":
        return False
    visibility = op.attributes.get("sym_visibility", None)
    return visibility is None or ir.StringAttr(visibility).value == "public"


def _symbol(op: ir.OpView) -> str:
    return ir.StringAttr(op.attributes["sym_name"]).value


def _diagnosis(error: Exception) -> str:
    diagnostics = getattr(error, "error_diagnostics", None)
    if diagnostics:
        return f"{place_of(diagnostics[0].location)}: {diagnostics[0].message}"
    lines = [line.strip(" -:") for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
