"""Scalar bodies of linalg operations, executed by each thread as they stand."""

from __future__ import annotations

from collections.abc import Sequence

from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir.linalg import scalar_constant
from dlas_mlir.opt.base import PassError


def evaluate(block: ir.Block, arguments: Sequence[ir.Value | None]) -> ir.Value:
    """What `block` yields for scalar arguments. None stands for one that is not used."""
    given = zip(block.arguments, arguments, strict=True)
    values: dict[ir.Value, ir.Value] = {argument: value for argument, value in given if value is not None}

    def operand(value: ir.Value) -> ir.Value:
        if value in values:
            return values[value]
        constant = scalar_constant(value)
        if constant is None:
            raise PassError("a kernel's body may only use its arguments and constants", value.owner)
        values[value] = arith.constant(constant.type, constant)  # type: ignore[attr-defined]
        return values[value]

    for op in block.operations:
        op = op.operation
        if op.name == "linalg.yield":
            return operand(op.operands[0])
        if op.name != "arith.constant":
            operands = [operand(value) for value in op.operands]
            clone = op.clone()
            for place, value in enumerate(operands):
                clone.operands[place] = value
            values[op.results[0]] = clone.results[0]
    raise PassError("a body without linalg.yield", block.owner)
