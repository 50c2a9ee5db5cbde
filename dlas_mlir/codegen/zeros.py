"""The attribute `dlas.zeros`: which ends of an operand's dimensions are known to be zero, padding that is in a tensor.

    dlas.zeros = {in0 = {low = [0, 0, 1, 1, 0], high = [0, 0, 1, 1, 0]}}

on a linalg.generic says that of its first operand the first and the last row and column hold nothing but zeros. Kernels
leave out what is multiplied by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from iree.compiler import ir

from dlas_mlir.codegen.workload import zeros_problem
from dlas_mlir.ir import attributes
from dlas_mlir.ir.linalg import shape_of
from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.zeros"
# How many elements are zero at the two ends of each dimension.
Ends = tuple[tuple[int, int], ...]


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    low: tuple[int, ...]
    high: tuple[int, ...]


def zeros_of(op: ir.Operation) -> dict[int, Ends]:
    """What is known of the operands of `op`, by their number. Raises PassError for an attribute that does not fit."""
    if ATTRIBUTE not in op.attributes:
        return {}
    found = {}
    inputs = len(op.operands) - 1
    for name, value in attributes.plain(op, ATTRIBUTE).items():
        number = next((i for i in range(inputs) if name == f"in{i}"), None)
        if number is None:
            raise PassError(f"`{ATTRIBUTE}`: there is no operand `{name}`; there are in0 to in{inputs - 1}", op)
        try:
            written = msgspec.convert(value, _Written)
        except msgspec.ValidationError as error:
            raise PassError(f"`{ATTRIBUTE}`: {name}: {error}", op) from None
        if len(written.low) != len(written.high):
            raise PassError(f"`{ATTRIBUTE}`: {name}: `low` and `high` have not as many entries", op)
        ends = tuple(zip(written.low, written.high, strict=True))
        if (why := zeros_problem(ends, tuple(shape_of(op.operands[number])))) is not None:
            raise PassError(f"`{ATTRIBUTE}`: {name}: {why}", op)
        found[number] = ends
    return found


def set_zeros(op: ir.Operation, zeros: Mapping[int, Ends]) -> None:
    """Say of the operands of `op` what is zero."""
    op.attributes[ATTRIBUTE] = attributes.from_plain(to_value(zeros))


def to_value(zeros: Mapping[int, Ends]) -> dict[str, dict[str, list[int]]]:
    """The attribute as plain values."""
    return {
        f"in{number}": {"low": [low for low, _ in ends], "high": [high for _, high in ends]}
        for number, ends in zeros.items()
    }
