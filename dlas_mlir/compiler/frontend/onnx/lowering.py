"""From the torch dialect, as ONNX importers write it, to linalg on tensors: the passes, and what they complain of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.opt.diagnostics import place_of

_PIPELINE = (
    "builtin.module("
    "func.func(convert-torch-onnx-to-torch),"
    "torch-onnx-to-torch-backend-pipeline,"
    "torch-backend-to-linalg-on-tensors-backend-pipeline)"
)


# What is said where an operation that reads the constant is left.
_OF_A_CONSTANT = re.compile(r"failed to legalize operation 'torch\.(constant\.|vtensor\.literal)")


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
        if problems and _OF_A_CONSTANT.match(problems[0].message):
            problems[:0] = _left(module)
        raise LoweringError(problems or [Problem("", lines[-1] if lines else "no reason is given")]) from None
    finally:
        handler.detach()


def _left(module: ir.Module) -> list[Problem]:
    """The first operation that no pass has taken: the last one complains of the constants that it reads."""
    found: list[Problem] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if not op.name.startswith(("torch.aten.", "torch.operator", "torch.prim", "torch.torchvision")):
            return ir.WalkResult.ADVANCE
        name = str(op.attributes["name"]) if op.name == "torch.operator" else op.name
        found.append(Problem(str(place_of(op.location)), f"failed to legalize operation '{name}': = \"{name}\""))
        return ir.WalkResult.INTERRUPT

    module.operation.walk(visit)
    return found


def say_unsigned(main: ir.OpView, inputs: list[bool], outputs: list[bool]) -> None:
    """Note which arguments and results of `main` are unsigned: linalg's integers do not say it, IREE's callers ask."""
    function_type = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
    for key, unsigned, types in (
        ("arg_attrs", inputs, function_type.inputs),
        ("res_attrs", outputs, function_type.results),
    ):
        if any(unsigned):
            with main.context, ir.Location.unknown():
                pairs = zip(types, unsigned, strict=True)
                main.attributes[key] = ir.ArrayAttr.get([_encoding(of_type, each) for of_type, each in pairs])


def _encoding(of_type: ir.Type, unsigned: bool) -> ir.Attribute:
    if not unsigned:
        return ir.DictAttr.get({})
    tensor_type = ir.RankedTensorType(of_type)
    element = ir.IntegerType.get_unsigned(ir.IntegerType(tensor_type.element_type).width)
    return ir.DictAttr.get({"iree.abi.encoding": ir.TypeAttr.get(ir.RankedTensorType.get(tensor_type.shape, element))})
