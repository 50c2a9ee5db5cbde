"""What the rules of operations share: the table that they stand in, broadcasting, parts of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import fx

from dlas_mlir.compression.channels.call import Call, shape_of
from dlas_mlir.compression.channels.labels import Dim, Dims

Result = Dims | list[Dims] | None
Rule = Callable[[Call], Result]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


def pin_all(call: Call, dims: Iterable[Dim], why: str = "") -> None:
    for dim in dims:
        call.pin(dim, why)


def pointwise(call: Call) -> Dims:
    """Tensors that are broadcast against one another."""
    return broadcast(call, [node for node in call.node.all_input_nodes if shape_of(node)], call.result()[0])


def broadcast(call: Call, nodes: Sequence[fx.Node], shape: tuple[int, ...], skip: int = 0) -> Dims:
    """The labels of the leading dimensions (all but `skip`) of tensors that are broadcast to `shape`."""
    result: list[Dim] = []
    count = len(shape) - skip
    for place in range(count):
        back = place - count - skip
        whole = [
            call.at(node, back)
            for node in nodes
            if len(shape_of(node)) >= -back and shape_of(node)[back] == shape[place]
        ]
        for other in whole[1:]:
            call.tie(whole[0], other)
        result.append(whole[0] if whole and all(dim is not None for dim in whole) else None)
    return tuple(result)


def replaced(dims: Dims, place: int, dim: Dim) -> Dims:
    return (*dims[:place], dim, *dims[place + 1 :])


def in_parts(call: Call, dim: Dim, count: int) -> list[Dim]:
    """Equal parts: the same channels go from each of them."""
    if dim is None:
        return [None] * count
    rows = dim.reshape(count, -1)
    call.labels.together(rows)
    return list(rows)
