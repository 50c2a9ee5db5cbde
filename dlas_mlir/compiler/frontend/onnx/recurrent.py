"""Rules for recurrent layers: the lowering knows those that go forward, with the usual gates.

Inputs are X, W, R, B, sequence_lens, initial_h, and of an LSTM initial_c and its peepholes P; X is [T, N, I] and Y is
[T, D, N, H] for D directions, or with `layout` 1 [N, T, I] and [N, T, D, H].
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import NodeProto

from dlas_mlir.compiler.frontend.onnx.graph import Graph, attributes, node
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape, set_attributes

_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")
_X, _LENGTHS, _PEEPHOLES = 0, 4, 7
# The inputs that have an entry for each direction: W, R, B first, the initial states behind the batch if so laid out.
_WEIGHTS, _STATES = (1, 2, 3), (5, 6)


def _recurrent(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """One layer for each direction, on the sequence backwards where the direction is; their results joined."""
    _check(graph, each)
    values = attributes(each)
    ways = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}.get(str(values.get("direction", "forward")))
    if ways is None:
        raise ValueError(f"direction is '{values['direction']}': it is forward, reverse or bidirectional")
    if ways == [1]:
        return None
    write = Writer(graph, each)
    inputs = _of_each_direction(write, each, len(ways))
    backwards = _Backwards(write, fixed_shape(graph, inputs[0][_X])[0])
    results = [_one_way(write, each, index, way, inputs[index], backwards) for index, way in enumerate(ways)]
    _join(write, each, results)
    return write.nodes


def _check(graph: Graph, each: NodeProto) -> None:
    """Raise ValueError for what the lowering would leave out without a word, or end at."""
    values = attributes(each)
    inputs = [*each.input, *[""] * 8]
    time = 1 if values.get("layout") else 0
    lengths = graph.constant(inputs[_LENGTHS])
    whole = lengths is not None and bool((lengths == fixed_shape(graph, each.input[_X])[time]).all())
    for wrong, what in (
        (each.op_type == "LSTM" and bool(inputs[_PEEPHOLES]), "peepholes are"),
        (bool(values.get("input_forget")), "coupled input and forget gates are"),
        (bool(values.get("clip")), "a limit of its gates (clip) is"),
        (bool(inputs[_LENGTHS]) and not whole, "sequences shorter than the input (sequence_lens) are"),
    ):
        if wrong:
            raise ValueError(f"{what} not supported")
    if others := sorted(set(_activations(each)) - set(_ACTIVATIONS)):
        raise ValueError(f"the activation {others[0]} is not supported: only {', '.join(_ACTIVATIONS)} are")


def _activations(each: NodeProto) -> list[str]:
    return [name.decode() for found in each.attribute if found.name == "activations" for name in found.strings]


class _Backwards:
    """Turns sequences of `steps` around, along their first axis."""

    def __init__(self, write: Writer, steps: int) -> None:
        self._write, self._steps = write, steps
        self._order = ""

    def __call__(self, sequence: str, output: str = "") -> str:
        order = np.arange(self._steps - 1, -1, -1, dtype=np.int64)
        self._order = self._order or self._write.constant(order, "backwards")
        return self._write.add("Gather", [sequence, self._order], output, axis=0)


def _of_each_direction(write: Writer, each: NodeProto, count: int) -> list[list[str]]:
    """The inputs of the layer that goes each way, with time before the batch."""
    given = [*each.input, *[""] * (1 + max(_STATES) - len(each.input))]
    if attributes(each).get("layout"):
        for index in (_X, *_STATES):
            if given[index]:
                given[index] = write.transposed(given[index], (1, 0, 2))
    given[_LENGTHS] = ""  # they are whole
    while not given[-1]:
        given.pop()
    parts = [list(given) for _ in range(count)]
    for index in (*_WEIGHTS, *_STATES):
        if index < len(given) and given[index] and count > 1:
            for part, name in zip(parts, write.split(given[index], 0, count), strict=True):
                part[index] = name
    return parts


def _one_way(
    write: Writer, each: NodeProto, index: int, way: int, inputs: list[str], backwards: _Backwards
) -> list[str]:
    """The results of the layer for direction number `index`, those that are asked for."""
    if way < 0:
        inputs = [backwards(inputs[_X]), *inputs[1:]]
    layer = NodeProto()
    layer.CopyFrom(each)
    names = _activations(each)
    own = len(names) // (2 if attributes(each).get("direction") == "bidirectional" else 1)
    mine = names[index * own : (index + 1) * own]
    set_attributes(layer, direction=None, layout=None, activations=mine or None)
    del layer.input[:], layer.output[:]
    layer.input.extend(inputs)
    results = [write.graph.fresh(f"{name}/{index}") if name else "" for name in each.output]
    layer.output.extend(results)
    write.nodes.append(layer)
    if way < 0 and results[0]:
        results[0] = backwards(results[0])
    return results


def _join(write: Writer, each: NodeProto, results: Iterable[list[str]]) -> None:
    """Make each output from the results of all directions: Y [T, D, N, H], the last states [D, N, H]."""
    behind = bool(attributes(each).get("layout"))
    for index, parts in enumerate(zip(*results, strict=True)):
        output = each.output[index]
        if not output:
            continue
        axis, order = (1, (2, 0, 1, 3)) if index == 0 else (0, (1, 0, 2))
        joined = write.add("Concat", list(parts), "" if behind else output, axis=axis)
        if behind:
            write.nodes.append(node("Transpose", [joined], [output], each.name, perm=order))


RULES: dict[str, Rule] = {"GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent}
