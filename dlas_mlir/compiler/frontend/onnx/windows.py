"""Rules for what looks at windows: convolutions, pools, and padding."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import NodeProto, helper

from dlas_mlir.compiler.frontend.onnx.graph import Array, Graph, attributes, integers, node
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, fixed_shape, set_attributes


def padding(sizes: tuple[int, ...], each: NodeProto, kernel: list[int]) -> list[int]:
    """The pads of a convolution or pool over `sizes`, all begins, then all ends; `kernel` are its dilated sizes."""
    rank = len(sizes)
    kind = attributes(each).get("auto_pad", "NOTSET")
    if kind == "NOTSET":
        return integers(each, "pads", [0] * (2 * rank))
    if kind == "VALID":
        return [0] * (2 * rank)
    strides = integers(each, "strides", [1] * rank)
    total = [max(0, (-(-n // s) - 1) * s + k - n) for n, s, k in zip(sizes, strides, kernel, strict=True)]
    less, more = [n // 2 for n in total], [n - n // 2 for n in total]
    return less + more if kind == "SAME_UPPER" else more + less


def dilated(each: NodeProto, kernel: tuple[int, ...]) -> list[int]:
    dilations = integers(each, "dilations", [1] * len(kernel))
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]


def _convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """`auto_pad` as pads."""
    kind = attributes(each).get("auto_pad", "NOTSET")
    weights = fixed_shape(graph, each.input[1])
    if kind != "NOTSET":
        pads = padding(fixed_shape(graph, each.input[0])[2:], each, dilated(each, weights[2:]))
        set_attributes(each, auto_pad=None, pads=pads)
    return None


def _transposed_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """One for each group, and each without what the lowering does not take."""
    groups = attributes(each).get("group", 1)
    assert isinstance(groups, int)
    if groups == 1:
        return _whole_transposed(graph, each)
    code = Writer(graph, each)
    parts = [code.split(each.input[0], 1, groups), code.split(each.input[1], 0, groups)]
    outputs = []
    for x, w in zip(*parts, strict=True):
        one = NodeProto()
        one.CopyFrom(each)
        set_attributes(one, group=None)
        del one.input[2:]
        one.input[0], one.input[1] = x, w
        one.output[0] = graph.fresh(f"{each.output[0]}/group")
        outputs.append(one.output[0])
        code.nodes += _whole_transposed(graph, one) or [one]
    if len(each.input) < 3:
        code.add("Concat", outputs, each.output[0], axis=1)
        return code.nodes
    shape = np.array([1, -1, *[1] * (code.rank(each.input[1]) - 2)], np.int64)
    column = code.add("Reshape", [each.input[2], graph.add_constant(shape, f"{each.output[0]}/shape")])
    code.add("Add", [code.add("Concat", outputs, axis=1), column], each.output[0])
    return code.nodes


def _whole_transposed(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """`auto_pad`, `output_shape` and pads that differ at both ends: the whole result, cut or widened."""
    values = attributes(each)
    sizes, kernel = fixed_shape(graph, each.input[0])[2:], fixed_shape(graph, each.input[1])[2:]
    rank = len(sizes)
    pads = integers(each, "pads", [0] * (2 * rank))
    wanted = integers(each, "output_shape", [])[-rank:]
    kind = values.get("auto_pad", "NOTSET")
    if kind == "NOTSET" and not wanted and pads[:rank] == pads[rank:]:
        return None
    strides, added = integers(each, "strides", [1] * rank), integers(each, "output_padding", [0] * rank)
    spread = dilated(each, kernel)
    whole = [(n - 1) * s + k + a for n, s, k, a in zip(sizes, strides, spread, added, strict=True)]
    if str(kind).startswith("SAME") and not wanted:
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    if wanted:
        total = [max(0, n - size) for n, size in zip(whole, wanted, strict=True)]
        begins = [n // 2 if kind == "SAME_UPPER" else n - n // 2 for n in total]
    else:
        pads = pads if kind == "NOTSET" else [0] * (2 * rank)
        begins = pads[:rank]
        wanted = [n - a - b for n, a, b in zip(whole, begins, pads[rank:], strict=True)]
    missing = [max(0, b + n - have) for b, n, have in zip(begins, wanted, whole, strict=True)]
    set_attributes(each, auto_pad=None, output_shape=None, pads=None, kernel_shape=list(kernel))
    output, bias = each.output[0], each.input[2] if len(each.input) > 2 else ""
    del each.input[2:]
    current = each.output[0] = graph.fresh(f"{output}/whole")
    nodes = [each]
    if any(missing):
        amounts = graph.add_constant(np.array([0] * (2 + rank) + [0, 0] + missing, np.int64), f"{output}/missing")
        nodes.append(node("Pad", [current, amounts], [graph.fresh(f"{output}/padded")], each.name))
        current = nodes[-1].output[0]
    ends = [b + n for b, n in zip(begins, wanted, strict=True)]
    cut = [graph.add_constant(np.array(v, np.int64), f"{output}/cut") for v in (begins, ends, range(2, 2 + rank))]
    nodes.append(node("Slice", [current, *cut], [graph.fresh(f"{output}/cut")], each.name))
    if not bias:
        nodes[-1].output[0] = output
        return nodes
    shape = graph.add_constant(np.array([1, -1, *[1] * rank], np.int64), f"{output}/bias_shape")
    column = graph.fresh(f"{output}/bias")
    nodes.append(node("Reshape", [bias, shape], [column], each.name))
    nodes.append(node("Add", [nodes[-2].output[0], column], [output], each.name))
    return nodes


def _pool(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """A pool that rounds up, or is padded at its ends differently: padded before, a mean scaled by what it counts."""
    values = attributes(each)
    shape, kernel = fixed_shape(graph, each.input[0]), integers(each, "kernel_shape", [])
    sizes, rank = shape[2:], len(kernel)
    spread, strides = dilated(each, tuple(kernel)), integers(each, "strides", [1] * rank)
    pads = padding(sizes, each, spread)
    ceil = bool(values.get("ceil_mode", 0)) and values.get("auto_pad", "NOTSET") == "NOTSET"
    plain = not ceil and pads[:rank] == pads[rank:] and all(2 * a <= k for a, k in zip(pads, spread, strict=False))
    mean = each.op_type == "AveragePool"
    if plain or (len(each.output) > 1 and each.output[1]):
        if values.get("auto_pad", "NOTSET") != "NOTSET":
            set_attributes(each, auto_pad=None, pads=pads)
        return None
    outs, after = [], []
    for axis in range(rank):
        room = sizes[axis] + pads[axis] + pads[rank + axis] - spread[axis]
        out = (-(-room // strides[axis]) if ceil else room // strides[axis]) + 1
        if ceil and (out - 1) * strides[axis] >= sizes[axis] + pads[axis]:
            out -= 1
        outs.append(out)
        after.append(max(0, (out - 1) * strides[axis] + spread[axis] - sizes[axis] - pads[axis]))
    element = helper.tensor_dtype_to_np_dtype(graph.element(each.input[0]))
    filler = np.zeros((), element) if mean else _least(element)
    amounts = np.array([0, 0, *pads[:rank], 0, 0, *after], np.int64)
    output, padded = each.output[0], graph.fresh(f"{each.output[0]}/padded")
    constants = [graph.add_constant(amounts, f"{output}/pads"), graph.add_constant(filler, f"{output}/filler")]
    nodes = [node("Pad", [each.input[0], *constants], [padded], each.name), each]
    included = values.get("count_include_pad", 0)
    set_attributes(each, auto_pad=None, ceil_mode=None, pads=None, count_include_pad=None)
    each.input[0] = padded
    if mean:
        counts = _counts(each, sizes, outs, pads, bool(included))
        scale = (np.prod(kernel) / counts).astype(element).reshape(1, 1, *outs)
        each.output[0] = graph.fresh(f"{output}/mean")
        nodes.append(node("Mul", [each.output[0], graph.add_constant(scale, f"{output}/scale")], [output], each.name))
    return nodes


def _least(element: np.dtype) -> Array:
    if element.kind in "iu":
        return np.array(np.iinfo(element).min, element)
    return np.array(-np.inf, element) if element.kind == "f" else np.array(-np.inf, ml_dtypes.bfloat16)


def _counts(each: NodeProto, sizes: tuple[int, ...], outs: list[int], pads: list[int], included: bool) -> Array:
    """How many values each window of a mean has: of the input, or of the padded one, not of what rounding up adds."""
    kernel = integers(each, "kernel_shape", [])
    rank = len(kernel)
    strides, dilations = integers(each, "strides", [1] * rank), integers(each, "dilations", [1] * rank)
    counts = np.ones((), np.float64)
    for axis in range(rank):
        low = -pads[axis] if included else 0
        high = sizes[axis] + (pads[rank + axis] if included else 0)
        starts = np.arange(outs[axis]) * strides[axis] - pads[axis]
        places = starts[:, None] + np.arange(kernel[axis])[None] * dilations[axis]
        counts = np.multiply.outer(counts, ((places >= low) & (places < high)).sum(1))
    return counts


def _pad(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """Padding with what the input holds: a Gather with constant places along each axis."""
    mode: Any = attributes(each).get("mode", "constant")
    if mode == "constant":
        return None
    shape = fixed_shape(graph, each.input[0])
    amounts = graph.constant(each.input[1])
    axes = graph.constant(each.input[3]) if len(each.input) > 3 and each.input[3] else np.arange(len(shape))
    if amounts is None or axes is None:
        raise ValueError("its pads must be constant")
    nodes, current = [], each.input[0]
    half = len(amounts) // 2
    for axis, begin, end in zip(axes.tolist(), amounts[:half].tolist(), amounts[half:].tolist(), strict=True):
        if not begin and not end:
            continue
        places = np.pad(np.arange(shape[axis]), (max(begin, 0), max(end, 0)), mode=mode)
        places = places[max(-begin, 0) : len(places) - max(-end, 0)].astype(np.int64)
        constant = graph.add_constant(places, f"{each.output[0]}/places")
        nodes.append(node("Gather", [current, constant], [graph.fresh(f"{each.output[0]}/part")], each.name, axis=axis))
        current = nodes[-1].output[0]
    if not nodes:
        return [node("Identity", [current], [each.output[0]], each.name)]
    nodes[-1].output[0] = each.output[0]
    return nodes


RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "MaxPool": _pool,
    "Pad": _pad,
}
