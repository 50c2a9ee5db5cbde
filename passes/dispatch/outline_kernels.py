"""dlas-outline-kernels: put kernels of threads in executables of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir
from iree.compiler.dialects import util
from iree.compiler.passmanager import PassManager

from dlas_mlir.ir import build
from dlas_mlir.opt.base import Pass

_OUTLINE = "builtin.module(iree-flow-outline-dispatch-regions)"
# Before the name of a function: iree-compile numbers the kernels that it makes of the rest anew.
_PREFIX = "threads_"


@dataclass(frozen=True)
class OutlineKernelsPass(Pass):
    """Put each flow.dispatch.workgroups in a flow.executable, as iree-compile does later itself (by its own pass), and
    call it by the function's name with `threads_` before it.

    iree-compile does not inline a function with operations of iree_gpu (barriers) in it into the one that takes
    buffers, and copies the inputs of a call for it: a launch more.

    A kernel that reads nothing but constants (the first step of a recurrent layer) gets one of them behind a
    util.optimization_barrier: iree-compile would compute it itself, with the kernel compiled for a CPU, and fails.

    Before:
    ```mlir
    func.func @main(%x: tensor<4x8xf32>) -> tensor<4x1xf32> {
      %0 = flow.dispatch.workgroups(%x) : (tensor<4x8xf32>) -> tensor<4x1xf32> = (...) { ... }
    ```
    After:
    ```mlir
    flow.executable private @threads_main_dispatch_0 { ... }
    func.func @main(%x: tensor<4x8xf32>) -> tensor<4x1xf32> {
      %0 = flow.dispatch @threads_main_dispatch_0::@threads_main_dispatch_0(%x)
    ```
    """

    name: ClassVar[str] = "dlas-outline-kernels"

    def run(self, module: ir.Module) -> None:
        functions = [op.operation for op in module.body.operations if op.operation.name == "func.func"]
        # The longest name first, so that none is that of another one meanwhile.
        functions.sort(key=lambda op: -len(_name(op)))
        for op in functions:
            _rename(module, op, _PREFIX + _name(op))
        try:
            PassManager.parse(_OUTLINE).run(module.operation)
        finally:
            for op in reversed(functions):
                _rename(module, op, _name(op).removeprefix(_PREFIX))
        for block in build.functions(module):
            _compute_on_the_device(block)


def _compute_on_the_device(block: ir.Block) -> None:
    """Put a barrier before each kernel that reads nothing but constants."""
    known: set[ir.Value] = set()
    for op in list(block.operations):
        op = op.operation
        if not all(value in known for value in op.operands):
            continue
        if op.name != "flow.dispatch":
            known.update(op.results)
        elif op.operands:
            with ir.InsertionPoint(op), op.location:
                op.operands[0] = util.optimization_barrier([op.operands[0].type], [op.operands[0]])


def _name(function: ir.Operation) -> str:
    return ir.StringAttr(function.attributes["sym_name"]).value


def _rename(module: ir.Module, function: ir.Operation, name: str) -> None:
    """Give a function another name, where it is called, too."""
    ir.SymbolTable.replace_all_symbol_uses(_name(function), name, module.operation)
    ir.SymbolTable.set_symbol_name(function, name)
