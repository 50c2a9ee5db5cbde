"""What each ATen operation makes of the labels of channels. An operation that no rule knows pins what it reads."""

from __future__ import annotations

import re
from typing import Any

from dlas_mlir.compression.channels import shape_rules  # noqa: F401, for its rules
from dlas_mlir.compression.channels.call import Call
from dlas_mlir.compression.channels.labels import Dims
from dlas_mlir.compression.channels.layer_rules import windowed
from dlas_mlir.compression.channels.table import RULES, Result, pin_all, pointwise


def apply(call: Call) -> Any:
    """The labels of the results: a tuple for each tensor, in a list where there are several."""
    found = _apply(call)
    shapes = call.result()
    several = isinstance(found, list)
    results = found if isinstance(found, list) else [found or ()]
    if found is None:
        for node in call.node.all_input_nodes:
            pin_all(call, call.dims(node))
        results = [(None,) * len(shape) for shape in shapes]
        several = len(shapes) > 1
    checked = [_checked(call, dims, shape) for dims, shape in zip(results, shapes, strict=False)]
    return checked if several else checked[0] if checked else ()


def _apply(call: Call) -> Result:
    name = call.operation
    if name in RULES:
        return RULES[name](call)
    if call.pointwise:
        return pointwise(call)
    if re.search(r"pool|upsample|interpolate|pad|grid_sampler", name):
        return windowed(call)
    return None


def _checked(call: Call, dims: Dims, shape: tuple[int, ...]) -> Dims:
    """Labels that fit the shape; those that do not are pinned."""
    if len(dims) != len(shape):
        pin_all(call, dims)
        return (None,) * len(shape)
    for dim, size in zip(dims, shape, strict=True):
        if dim is not None and len(dim) != size:
            call.pin(dim)
    return tuple(dim if dim is None or len(dim) == size else None for dim, size in zip(dims, shape, strict=True))
