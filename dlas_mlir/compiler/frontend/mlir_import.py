"""Modules that are MLIR already: reading and checking them."""

from __future__ import annotations

from pathlib import Path

from iree.compiler import ir

from dlas_mlir.compiler.frontend.onnx import lowering as onnx_lowering
from dlas_mlir.errors import DlasError
from dlas_mlir.ir import sparsity
from dlas_mlir.ir.constants import check_resources
from dlas_mlir.opt.base import PassError
from dlas_mlir.opt.diagnostics import place_of
from dlas_mlir.opt.truncated import check_text


def read_module(path: Path) -> ir.Module:
    """Parse MLIR text or bytecode. Raises DlasError with the parser's messages."""
    try:
        check_text(path)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        context = ir.Context()
        context.allow_unregistered_dialects = sparsity.names_dialect(path)
        module = ir.Module.parseFile(str(path), context)
        module.operation.verify()
        check_resources(module)
    except (ir.MLIRError, ValueError) as error:
        raise DlasError(f"not valid MLIR: {_diagnosis(error)}") from None
    except PassError as error:
        where = place_of(error.op.location) if error.op is not None else path
        raise DlasError(f"{where}: {error.message}") from None
    return module


def check_main(module: ir.Module, name: str) -> ir.OpView:
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
    return main


def write_linalg(path: Path, output: Path) -> None:
    """Write an .mlir or .mlirbc file as bytecode with a function `main`; the torch dialect is lowered to linalg.

    Raises DlasError when the file is damaged, cannot be lowered or has no such function.
    """
    module = read_module(path)
    if onnx_lowering.is_torch(module):
        try:
            onnx_lowering.lower(module)
        except onnx_lowering.LoweringError as error:
            raise DlasError(f"{path} is of the torch dialect and cannot be lowered: {error}") from None
    check_main(module, str(path))
    with output.open("wb") as file:
        module.operation.write_bytecode(file)


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
