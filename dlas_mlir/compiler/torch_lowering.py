"""From the torch dialect, as ONNX importers write it, to linalg on tensors: the passes, and what they complain of."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.ir.diagnostics import place_of

_PIPELINE = (
    "builtin.module("
    "func.func(convert-torch-onnx-to-torch),"
    "torch-onnx-to-torch-backend-pipeline,"
    "torch-backend-to-linalg-on-tensors-backend-pipeline)"
)


@dataclass(frozen=True)
class Problem:
    """One complaint: where (a file with line and column, or the name of a node), and what."""

    place: str
    message: str


class LoweringError(Exception):
    """The passes failed; `problems` are their complaints, one at least."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{problems[0].place}: {problems[0].message}")
        self.problems = problems


def is_torch(module: ir.Module) -> bool:
    """Whether anything in `module` is of the torch dialect."""
    found = False

    def visit(op: ir.Operation) -> ir.WalkResult:
        nonlocal found
        found = op.name.startswith("torch.")
        return ir.WalkResult.INTERRUPT if found else ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found or "!torch." in _signatures(module)


def _signatures(module: ir.Module) -> str:
    functions = [op for op in module.body.operations if op.operation.name == "func.func"]
    return " ".join(str(op.attributes["function_type"]) for op in functions)


def lower(module: ir.Module) -> None:
    """Lower `module` in place. Raises LoweringError."""
    context = module.context
    problems: list[Problem] = []

    def collect(diagnostic: ir.Diagnostic) -> bool:
        if diagnostic.severity == ir.DiagnosticSeverity.ERROR:
            problems.append(Problem(str(place_of(diagnostic.location)), diagnostic.message.splitlines()[0]))
        return True

    context.emit_error_diagnostics = True
    handler = context.attach_diagnostic_handler(collect)
    try:
        PassManager.parse(_PIPELINE, context).run(module.operation)
    except ir.MLIRError as error:
        lines = [line.strip(" -:") for line in str(error).splitlines() if line.strip()]
        raise LoweringError(problems or [Problem("", lines[-1] if lines else "no reason is given")]) from None
    finally:
        handler.detach()
