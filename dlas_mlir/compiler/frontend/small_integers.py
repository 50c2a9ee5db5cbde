"""Arithmetic of 8 and 16 bits, done in 32: torch-mlir dies of some of it, and takes uint8 for int8 in nearly all.

What only moves elements, or converts them, is right as it is.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

_aten = torch.ops.aten
_convert = torch.ops.prims.convert_element_type
_SMALL = (torch.uint8, torch.int8, torch.int16)
_MOVES = frozenset(
    (
        _convert,
        _aten._to_copy,
        _aten.to,
        _aten.view,
        _aten.reshape,
        _aten._unsafe_view,
        _aten.permute,
        _aten.transpose,
        _aten.t,
        _aten.expand,
        _aten.slice,
        _aten.select,
        _aten.squeeze,
        _aten.unsqueeze,
        _aten.clone,
        _aten.alias,
        _aten.detach,
        _aten.lift_fresh_copy,
        _aten.cat,
        _aten.stack,
        _aten.split,
        _aten.split_with_sizes,
        _aten.unbind,
        _aten.index,
        _aten.index_select,
        _aten.gather,
        _aten.embedding,
        _aten.flip,
        _aten.roll,
        _aten.repeat,
        _aten.diagonal,
        _aten.as_strided,
        _aten.slice_scatter,
        _aten.select_scatter,
        _aten.copy,
        _aten.where,
    )
)


# Whose numbers PyTorch brings to the tensor's type: none is below 0 in uint8.
_WITH_NUMBERS = frozenset(
    getattr(_aten, name) for name in ("lt", "le", "gt", "ge", "eq", "ne", "clamp", "clamp_min", "clamp_max")
)


def widen(graph: fx.Graph) -> None:
    """Rewrite `graph`, in place: small operands are converted to int32, and small results from it."""
    for node in list(graph.nodes):
        if node.op == "call_function" and _is_arithmetic(node):
            _widen(graph, node)


def _is_arithmetic(node: fx.Node) -> bool:
    if getattr(node.target, "namespace", "") not in ("aten", "prims"):
        return False
    return getattr(node.target, "overloadpacket", None) not in _MOVES


def _widen(graph: fx.Graph, node: fx.Node) -> None:
    if getattr(node.target, "overloadpacket", None) in _WITH_NUMBERS and _is(torch.uint8, node.args[0]):
        node.args = tuple(value % 256 if isinstance(value, int) else value for value in node.args)
    with graph.inserting_before(node):
        node.args = fx.map_arg(node.args, lambda operand: _converted(graph, operand, torch.int32, node))
        node.kwargs = fx.map_arg(node.kwargs, lambda operand: _converted(graph, operand, torch.int32, node))
    if node.kwargs.get("dtype") in _SMALL:
        node.kwargs = {**node.kwargs, "dtype": torch.int32}
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        _narrow_again(graph, node, node)
    elif isinstance(value, tuple | list):
        _set_value(node, type(value)(map(_wide, value)))
        for user in list(node.users):
            if user.target is operator.getitem:
                _narrow_again(graph, user, node)


def _narrow_again(graph: fx.Graph, result: fx.Node, origin: fx.Node) -> None:
    """Let the users of `result`, which is computed in 32 bits now, have it in its own type."""
    value = result.meta["val"]
    if value.dtype not in _SMALL:
        return
    _set_value(result, _wide(value))
    with graph.inserting_after(result):
        narrow = _converted(graph, result, value.dtype, origin)
    result.replace_all_uses_with(narrow, delete_user_cb=lambda user: user is not narrow)


def _converted(graph: fx.Graph, node: Any, dtype: torch.dtype, origin: fx.Node) -> Any:
    """`node` in another type, if it is a tensor of a small one or is to become so; named as `origin` is."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or (dtype == torch.int32 and value.dtype not in _SMALL):
        return node
    converted = graph.call_function(_convert.default, (node, dtype))
    converted.meta = dict(origin.meta)
    _set_value(converted, value.to(dtype))
    return converted


def _is(dtype: torch.dtype, node: Any) -> bool:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return isinstance(value, Tensor) and value.dtype == dtype


def _set_value(node: fx.Node, value: Any) -> None:
    node.meta["val"] = value
    node.meta.pop("tensor_meta", None)  # torch-mlir would believe it


def _wide(value: Any) -> Any:
    return value.to(torch.int32) if isinstance(value, Tensor) and value.dtype in _SMALL else value
