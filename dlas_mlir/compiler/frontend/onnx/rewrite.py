"""Nodes that the lowering from ONNX refuses or gets wrong, written with others that it gets right."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from dlas_mlir.compiler.frontend.onnx import loops, quantized, recurrent, sampling, windows
from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Graph, attributes, describe, integers, node
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape
from dlas_mlir.errors import DlasError

# Numbers that are added one after the other.
_CHAIN = 256


def rewrite(model: ModelProto, name: str) -> ModelProto:
    """`model`, with inferred shapes, with such nodes replaced. Raises DlasError for one that cannot be."""
    graph = Graph(model)
    nodes: list[NodeProto] = []
    for each in graph.proto.node:
        try:
            made = _rewritten(graph, each)
        except ValueError as error:
            raise DlasError(f"{name}: {describe(each)}: {error}") from None
        nodes += [each] if made is None else made
    graph.replace_nodes(nodes)
    return model


def _rewritten(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    rule = _RULES.get(each.op_type) if each.domain in STANDARD else None
    return rule(graph, each) if rule else None


def _product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MatMul of a vector and a stack of matrices: with a dimension of one, taken away again."""
    ranks = [len(fixed_shape(graph, name)) for name in each.input]
    if 1 not in ranks or max(ranks) <= 2:
        return None
    code = Writer(graph, each)
    inputs = list(each.input)
    taken = []
    for index, axis in ((0, -2), (1, -1)):
        if ranks[index] == 1:
            shape = [1, -1] if index == 0 else [-1, 1]
            inputs[index] = code.add("Reshape", [inputs[index], code.constant(shape, "shape")])
            taken.append(axis)
    code.add("Squeeze", [code.add("MatMul", inputs), code.constant(taken, "axes")], each.output[0])
    return code.nodes


def _normalization(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MeanVarianceNormalization: the standard takes E[x]^2 from E[x^2], of which little is left far from zero."""
    (x,), axes = each.input, integers(each, "axes", [0, 2, 3])
    write = Writer(graph, each)
    apart = write.add("Sub", [x, write.reduced("ReduceMean", x, axes)])
    variance = write.reduced("ReduceMean", write.add("Mul", [apart, apart]), axes)
    least = np.array(1e-9, helper.tensor_dtype_to_np_dtype(graph.element(x)))
    deviation = write.add("Add", [write.add("Sqrt", [variance]), write.constant(least, "least")])
    write.add("Div", [apart, deviation], each.output[0])
    return write.nodes


def _unit_norm(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """LpNormalization: what is all zero stays so."""
    values, (x,) = attributes(each), each.input
    order, axis = int(values.get("p", 2)), int(values.get("axis", -1))  # pyright: ignore
    write = Writer(graph, each)
    norm = write.reduced(f"ReduceL{order}", x, [axis])
    element = helper.tensor_dtype_to_np_dtype(graph.element(x))
    zero, one = (write.constant(np.array(number, element), "number") for number in (0, 1))
    divisor = write.add("Where", [write.add("Equal", [norm, zero]), one, norm])
    write.add("Div", [x, divisor], each.output[0])
    return write.nodes


def _backward_slice(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """Slice with steps that go backwards, such as a flip: places, which are constant, along each axis."""
    shape = fixed_shape(graph, each.input[0])
    starts, ends, axes, steps = (graph.constant(name) if name else None for name in [*each.input[1:], "", ""][:4])
    if starts is None or ends is None or steps is None or (steps > 0).all():
        return None
    write, current = Writer(graph, each), each.input[0]
    found = np.arange(len(starts)) if axes is None else axes
    for axis, start, end, step in zip(found.tolist(), starts.tolist(), ends.tolist(), steps.tolist(), strict=True):
        places = np.arange(shape[axis], dtype=np.int64)[start:end:step]
        if len(places) != shape[axis] or step < 0:
            current = write.add("Gather", [current, write.constant(places, "places")], axis=axis)
    write.add("Identity", [current], each.output[0])
    return write.nodes


def _cumulative_sum(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """CumSum of many numbers, in blocks: the compiled loop adds them in one chain. See `decompositions`."""
    x, axis = each.input[0], graph.constant(each.input[1])
    shape, element = fixed_shape(graph, x), graph.element(x)
    if axis is None or element != TensorProto.FLOAT or shape[int(axis)] <= _CHAIN:
        return None
    write, values = Writer(graph, each), attributes(each)
    size = shape[int(axis)]
    order = [*(dim for dim in range(len(shape)) if dim != int(axis) % len(shape)), int(axis) % len(shape)]
    current = write.add("Transpose", [x], perm=order)
    backwards = write.constant(np.arange(size - 1, -1, -1, dtype=np.int64), "backwards")
    if values.get("reverse"):
        current = write.add("Gather", [current, backwards], axis=-1)
    current = _sums_in_blocks(write, current, [shape[dim] for dim in order])
    if values.get("exclusive"):
        current = _shifted(write, current, size, len(shape))
    if values.get("reverse"):
        current = write.add("Gather", [current, backwards], axis=-1)
    write.nodes.append(node("Transpose", [current], [each.output[0]], each.name, perm=np.argsort(order).tolist()))
    return write.nodes


def _sums_in_blocks(write: Writer, x: str, shape: list[int]) -> str:
    """The cumulative sums of the last dimension."""
    last = write.constant(np.array(-1, np.int64), "last")
    *others, size = shape
    if size <= _CHAIN:
        return write.add("CumSum", [x, last])
    count = -(-size // _CHAIN)
    padded = write.add("Pad", [x, write.constant([*[0] * (2 * len(shape) - 1), count * _CHAIN - size], "filler")])
    blocks = write.add("Reshape", [padded, write.constant([*others, count, _CHAIN], "blocks")])
    inside = write.add("CumSum", [blocks, last])
    totals = write.add("Gather", [inside, last], axis=-1)
    before = _shifted(write, _sums_in_blocks(write, totals, [*others, count]), count, len(shape))
    column = write.add("Reshape", [before, write.constant([*others, count, 1], "column")])
    whole = write.add("Reshape", [write.add("Add", [inside, column]), write.constant([*others, -1], "whole")])
    bounds = (write.constant(bound, "bound") for bound in ([0], [size], [-1]))
    return write.add("Slice", [whole, *bounds])


def _shifted(write: Writer, x: str, size: int, rank: int) -> str:
    """All but the last entry of the last dimension, of `size`, behind a zero."""
    bounds = (write.constant(bound, "bound") for bound in ([0], [size - 1], [-1]))
    kept = write.add("Slice", [x, *bounds])
    return write.add("Pad", [kept, write.constant([*[0] * (rank - 1), 1, *[0] * rank], "zero")])


def _space_to_depth(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """With the channels first (mode CRD), which the lowering does not look at."""
    if attributes(each).get("mode", "DCR") != "CRD":
        return None
    batch, channels, height, width = fixed_shape(graph, each.input[0])
    (size,) = (found.i for found in each.attribute if found.name == "blocksize")
    write = Writer(graph, each)
    apart = [batch, channels, height // size, size, width // size, size]
    blocks = write.add("Reshape", [each.input[0], write.constant(apart, "apart")])
    turned = write.add("Transpose", [blocks], perm=[0, 1, 3, 5, 2, 4])
    whole = [batch, channels * size * size, height // size, width // size]
    write.add("Reshape", [turned, write.constant(whole, "whole")], each.output[0])
    return write.nodes


def _determinant(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """By its definition: the lowering eliminates without looking whether it divides by zero."""
    *_, size = fixed_shape(graph, each.input[0])
    if size > 3:
        raise ValueError(f"determinants of {size}x{size} are not supported: only up to 3x3")
    write = Writer(graph, each)
    numbers = [write.constant(np.array(index, np.int64), "index") for index in range(size)]
    rows = [write.add("Gather", [each.input[0], row], axis=-2) for row in numbers]
    items = [[write.add("Gather", [row, column], axis=-1) for column in numbers] for row in rows]
    write.add("Identity", [_expanded_by_row(write, items)], each.output[0])
    return write.nodes


def _expanded_by_row(write: Writer, items: list[list[str]]) -> str:
    if len(items) == 1:
        return items[0][0]
    total = ""
    for column, item in enumerate(items[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in items[1:]]
        part = write.add("Mul", [item, _expanded_by_row(write, minor)])
        total = write.add("Sub" if column % 2 else "Add", [total, part]) if total else part
    return total


def _windowed(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """STFT without a window: with one that leaves a frame as it is."""
    signal, step, window, length = [*each.input, "", ""][:4]
    frame = graph.constant(length) if length else None
    if window or frame is None:
        return None
    write = Writer(graph, each)
    element = helper.tensor_dtype_to_np_dtype(graph.element(signal))
    ones = write.constant(np.ones(int(frame), element), "window")
    write.add("STFT", [signal, step, ones, length], each.output[0], **attributes(each))
    return write.nodes


_RULES: dict[str, Rule] = {
    "CumSum": _cumulative_sum,
    "Det": _determinant,
    "LpNormalization": _unit_norm,
    "MatMul": _product,
    "MeanVarianceNormalization": _normalization,
    "STFT": _windowed,
    "Slice": _backward_slice,
    "SpaceToDepth": _space_to_depth,
    **loops.RULES,
    **quantized.RULES,
    **recurrent.RULES,
    **sampling.RULES,
    **windows.RULES,
}
