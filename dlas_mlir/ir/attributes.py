"""The `dlas.*` attributes of operations, which people write by hand too: one of a wrong kind is named."""

from __future__ import annotations

from iree.compiler import ir

from dlas_mlir.opt.base import PassError


def text(op: ir.Operation, name: str) -> str:
    """The string attribute `name`, which `op` must have. Raises PassError for none or another kind."""
    return ir.StringAttr(_typed(op, name, ir.StringAttr, "a string")).value


def integer(op: ir.Operation, name: str) -> int:
    """The integer attribute `name`, which `op` must have. Raises PassError for none or another kind."""
    return ir.IntegerAttr(_typed(op, name, ir.IntegerAttr, "an integer")).value


def _typed(op: ir.Operation, name: str, kind: type, what: str) -> ir.Attribute:
    if name not in op.attributes:
        raise PassError(f"`{name}` is missing", op)
    attribute = op.attributes[name]
    if not isinstance(attribute, kind):
        raise PassError(f"`{name}` is {attribute}, not {what}", op)
    return attribute
