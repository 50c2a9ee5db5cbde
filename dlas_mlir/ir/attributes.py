"""The `dlas.*` attributes of operations, which people write by hand too: one of a wrong kind is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree.compiler import ir

from dlas_mlir.opt.base import PassError


def text(op: ir.Operation, name: str) -> str:
    """The string attribute `name`, which `op` must have. Raises PassError for none or another kind."""
    return ir.StringAttr(_typed(op, name, ir.StringAttr, "a string")).value


def integer(op: ir.Operation, name: str) -> int:
    """The integer attribute `name`, which `op` must have. Raises PassError for none or another kind."""
    return ir.IntegerAttr(_typed(op, name, ir.IntegerAttr, "an integer")).value


def plain(op: ir.Operation, name: str) -> dict[str, Any]:
    """The dictionary attribute `name`, which `op` must have, as plain values. Raises PassError for none, another kind,
    or entries that are no strings, numbers, lists and dictionaries."""
    attribute = _typed(op, name, ir.DictAttr, "a dictionary")
    try:
        return to_plain(attribute)
    except ValueError as error:
        raise PassError(f"`{name}`: {error}", op) from None


def _typed(op: ir.Operation, name: str, kind: type, what: str) -> ir.Attribute:
    if name not in op.attributes:
        raise PassError(f"`{name}` is missing", op)
    attribute = op.attributes[name]
    if not isinstance(attribute, kind):
        raise PassError(f"`{name}` is {attribute}, not {what}", op)
    return attribute


def from_plain(value: Any) -> ir.Attribute:
    """A plain value (string, bool, integer, float, list, dictionary of them) as an attribute: i64, f64, arrays."""
    if isinstance(value, Mapping):
        return ir.DictAttr.get({key: from_plain(entry) for key, entry in value.items()})
    if isinstance(value, str):
        return ir.StringAttr.get(value)
    if isinstance(value, bool):
        return ir.BoolAttr.get(value)
    if isinstance(value, int):
        return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
    if isinstance(value, float):
        return ir.FloatAttr.get(ir.F64Type.get(), value)
    if isinstance(value, Sequence):
        return ir.ArrayAttr.get([from_plain(entry) for entry in value])
    raise TypeError(f"{value!r} is no attribute")


def to_plain(attribute: ir.Attribute) -> Any:
    """The plain value that `from_plain` made `attribute` of. Raises ValueError for other attributes."""
    if isinstance(attribute, ir.DictAttr):
        return {named.name: to_plain(named.attr) for named in attribute}
    if isinstance(attribute, ir.ArrayAttr):
        return [to_plain(entry) for entry in attribute]
    if isinstance(attribute, ir.StringAttr | ir.BoolAttr | ir.IntegerAttr | ir.FloatAttr):
        return attribute.value
    raise ValueError(f"{attribute} is no string, number, list or dictionary")
