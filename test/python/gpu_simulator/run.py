"""A dispatch of an emitted kernel, run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from iree.compiler import ir

from gpu_simulator import arithmetic
from gpu_simulator.kernel import Kernel, Report
from gpu_simulator.memory import Global


def run(module: ir.Module, inputs: Sequence[np.ndarray], report: Report | None = None) -> list[np.ndarray]:
    """What `@main` returns, whose body is nothing but dispatches (flow.dispatch) of what it is given and of their
    results."""
    operations = [op.operation for op in module.body.operations]
    main = next(op for op in operations if op.name == "func.func")
    block = main.regions[0].blocks[0]
    values = dict(zip(block.arguments, map(np.ascontiguousarray, inputs), strict=True))
    for op in block.operations:
        op = op.operation
        if op.name == "func.return":
            return [values[value] for value in op.operands]
        if op.name == "arith.constant":
            continue  # what a kernel was made of
        assert op.name == "flow.dispatch", f"{op.name} is no dispatch"
        found = _dispatched(op, operations, [values[value] for value in op.operands], report or Report())
        values.update(zip(op.results, found, strict=True))
    raise AssertionError("a function without a return")


def _dispatched(
    dispatch: ir.Operation, module: Sequence[ir.Operation], operands: list[np.ndarray], report: Report
) -> list[np.ndarray]:
    ties = [ir.IntegerAttr(tie).value for tie in ir.ArrayAttr(dispatch.attributes["tied_operands"])]
    results = []
    for kind, tie in zip((ir.RankedTensorType(value.type) for value in dispatch.results), ties, strict=True):
        if tie >= 0:
            operands[tie] = operands[tie].copy()
            results.append(operands[tie])
        else:
            results.append(_garbage(kind.shape, arithmetic.dtype_of(kind.element_type)))
    fresh = [result for result, tie in zip(results, ties, strict=True) if tie < 0]
    entry = ir.SymbolRefAttr(ir.ArrayAttr(dispatch.attributes["entry_points"])[0]).value[0]
    source = next(op for op in module if _symbol(op) == entry)
    buffers = [array.reshape(-1).view(np.uint8) for array in (*operands, *fresh)]
    Kernel(source, Global(buffers), report).run()
    return results


def _garbage(shape: Sequence[int], element: Any) -> np.ndarray:
    """A result of which nothing is written yet: NaN, or a number that nobody expects."""
    count = int(np.prod(shape)) * np.dtype(element).itemsize
    return np.full(count, 0xFF if np.dtype(element).kind not in "iu" else 0x5A, np.uint8).view(element).reshape(shape)


def _symbol(op: ir.Operation) -> str:
    return ir.StringAttr(op.attributes["sym_name"]).value if "sym_name" in op.attributes else ""
