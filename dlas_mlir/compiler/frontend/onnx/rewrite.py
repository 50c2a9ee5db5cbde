"""Nodes that the lowering from ONNX refuses or gets wrong, written with others that it gets right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from dlas_mlir.compiler.frontend.onnx.graph import STANDARD, Array, Graph, attributes, describe, integers, node
from dlas_mlir.errors import DlasError

# What a rule makes of a node: others instead, or None where it stays.
Rule = Callable[[Graph, NodeProto], list[NodeProto] | None]


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


def _set(each: NodeProto, **values: object) -> None:
    """Replace attributes of a node; None takes one away."""
    kept = [attribute for attribute in each.attribute if attribute.name not in values]
    del each.attribute[:]
    each.attribute.extend(kept)
    each.attribute.extend(helper.make_attribute(name, value) for name, value in values.items() if value is not None)


def _fixed_shape(graph: Graph, name: str) -> tuple[int, ...]:
    shape = graph.shape(name)
    if shape is None:
        raise ValueError(f"the shape of '{name}' is not known: give the model's inputs fixed shapes")
    return shape


def _padding(sizes: tuple[int, ...], each: NodeProto, kernel: list[int]) -> list[int]:
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


def _dilated(each: NodeProto, kernel: tuple[int, ...]) -> list[int]:
    dilations = integers(each, "dilations", [1] * len(kernel))
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]


def _convolution(weight: int) -> Rule:
    """`auto_pad` as pads, and pads that differ at both ends as a Pad; `weight` is the position of the weights."""

    def rule(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
        kind = attributes(each).get("auto_pad", "NOTSET")
        rank = len(_fixed_shape(graph, each.input[weight])) - 2
        pads = integers(each, "pads", [0] * (2 * rank))
        if kind == "NOTSET" and pads[:rank] == pads[rank:]:
            return None
        kernel = _dilated(each, _fixed_shape(graph, each.input[weight])[2:])
        pads = _padding(_fixed_shape(graph, each.input[0])[2:], each, kernel)
        _set(each, auto_pad=None, pads=pads)
        return None

    return rule


def _transposed_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """One for each group, and each without what the lowering does not take."""
    groups = attributes(each).get("group", 1)
    assert isinstance(groups, int)
    if groups == 1:
        return _whole_transposed(graph, each)
    code = _Codes(graph, each)
    parts = [code.split(each.input[0], 1, groups), code.split(each.input[1], 0, groups)]
    outputs = []
    for x, w in zip(*parts, strict=True):
        one = NodeProto()
        one.CopyFrom(each)
        _set(one, group=None)
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
    sizes, kernel = _fixed_shape(graph, each.input[0])[2:], _fixed_shape(graph, each.input[1])[2:]
    rank = len(sizes)
    pads = integers(each, "pads", [0] * (2 * rank))
    wanted = integers(each, "output_shape", [])[-rank:]
    kind = values.get("auto_pad", "NOTSET")
    if kind == "NOTSET" and not wanted and pads[:rank] == pads[rank:]:
        return None
    strides, added = integers(each, "strides", [1] * rank), integers(each, "output_padding", [0] * rank)
    spread = _dilated(each, kernel)
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
    _set(each, auto_pad=None, output_shape=None, pads=None, kernel_shape=list(kernel))
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
    shape, kernel = _fixed_shape(graph, each.input[0]), integers(each, "kernel_shape", [])
    sizes, rank = shape[2:], len(kernel)
    spread, strides = _dilated(each, tuple(kernel)), integers(each, "strides", [1] * rank)
    pads = _padding(sizes, each, spread)
    ceil = bool(values.get("ceil_mode", 0)) and values.get("auto_pad", "NOTSET") == "NOTSET"
    plain = not ceil and pads[:rank] == pads[rank:] and all(2 * a <= k for a, k in zip(pads, spread, strict=False))
    mean = each.op_type == "AveragePool"
    if plain or (len(each.output) > 1 and each.output[1]):
        if values.get("auto_pad", "NOTSET") != "NOTSET":
            _set(each, auto_pad=None, pads=pads)
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
    _set(each, auto_pad=None, ceil_mode=None, pads=None, count_include_pad=None)
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
    shape = _fixed_shape(graph, each.input[0])
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


class _Codes:
    """Writes arithmetic on codes as arithmetic on numbers, for one node."""

    def __init__(self, graph: Graph, each: NodeProto) -> None:
        self.graph, self.each = graph, each
        self.nodes: list[NodeProto] = []

    def add(self, op_type: str, inputs: list[str], output: str = "", **values: object) -> str:
        output = output or self.graph.fresh(f"{self.each.output[0]}/{op_type}")
        self.nodes.append(node(op_type, inputs, [output], self.each.name, **values))
        return output

    def numbers(self, codes: str, zero: str, axis: int, element: int) -> str:
        """Codes without their zero points, as `element`; zero points along `axis` of what has fixed shape."""
        wide = self.add("Cast", [codes], to=element)
        if not zero:
            return wide
        point = self.add("Cast", [zero], to=element)
        return self.add("Sub", [wide, self.along(point, zero, axis, self.rank(codes))])

    def along(self, value: str, like: str, axis: int, rank: int) -> str:
        """`value`, of the shape of `like`, in a shape that is broadcast along `axis`."""
        shape = _fixed_shape(self.graph, like)
        if len(shape) != 1:
            return value
        target = [1] * rank
        target[axis] = shape[0]
        if shape[0] == 1:
            target = [1]
        constant = self.graph.add_constant(np.array(target, np.int64), f"{self.each.output[0]}/shape")
        return self.add("Reshape", [value, constant])

    def split(self, value: str, axis: int, parts: int) -> list[str]:
        """Equal parts of `value` along `axis`; they have the shapes that the graph knows then."""
        size = _fixed_shape(self.graph, value)[axis] // parts
        names = []
        for index in range(parts):
            bounds = ([index * size], [(index + 1) * size], [axis])
            constants = [self.graph.add_constant(np.array(v, np.int64), f"{self.each.output[0]}/part") for v in bounds]
            names.append(self.add("Slice", [value, *constants]))
            shape = list(_fixed_shape(self.graph, value))
            shape[axis] = size
            self.graph.set_shape(names[-1], self.graph.element(value), shape)
        return names

    def rank(self, name: str) -> int:
        return len(_fixed_shape(self.graph, name))


def _quantized_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """QLinearConv: the convolution of the numbers that the codes stand for, rounded to codes."""
    x, xs, xz, w, ws, wz, ys, yz = each.input[:8]
    code = _Codes(graph, each)
    rank = code.rank(w)
    numbers = code.numbers(x, xz, 1, TensorProto.FLOAT)
    weights = code.numbers(w, wz, 0, TensorProto.FLOAT)
    # Whole numbers meet in the convolution: its sums are exact up to 2^24.
    inputs = [numbers, weights]
    if len(each.input) > 8 and each.input[8]:
        inputs.append(code.add("Cast", [each.input[8]], to=TensorProto.FLOAT))
    convolution = NodeProto()
    convolution.CopyFrom(each)
    convolution.op_type = "Conv"
    del convolution.input[:]
    convolution.input.extend(inputs)
    convolution.output[0] = graph.fresh(f"{each.output[0]}/sums")
    sizes = graph.shape(x)
    kernel = _dilated(each, _fixed_shape(graph, w)[2:])
    if sizes is not None:
        _set(convolution, auto_pad=None, pads=_padding(sizes[2:], each, kernel))
    code.nodes.append(convolution)
    scale = code.along(code.add("Mul", [xs, ws]), ws, 1, rank)
    code.add("QuantizeLinear", [code.add("Mul", [convolution.output[0], scale]), ys, yz], each.output[0])
    return code.nodes


def _quantized_product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """QLinearMatMul: the product of the numbers that the codes stand for, rounded to codes."""
    a, s, az, b, bs, bz, ys, yz = each.input
    code = _Codes(graph, each)
    left = code.numbers(a, az, -2, TensorProto.FLOAT)
    right = code.numbers(b, bz, -1, TensorProto.FLOAT)
    rank = max(code.rank(a), code.rank(b))
    sums = code.add("MatMul", [left, right])
    scales = [code.add("Cast", [name], to=TensorProto.FLOAT) for name in (s, bs, ys)]
    scaled = code.add(
        "Mul", [code.add("Mul", [sums, code.along(scales[0], s, -2, rank)]), code.along(scales[1], bs, -1, rank)]
    )
    code.add("QuantizeLinear", [scaled, scales[2], yz], each.output[0])
    return code.nodes


def _integer_product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MatMulInteger: a product of 32-bit integers without their zero points."""
    code = _Codes(graph, each)
    a, b, az, bz = (*each.input, "", "")[:4]
    left, right = code.numbers(a, az, -2, TensorProto.INT32), code.numbers(b, bz, -1, TensorProto.INT32)
    code.add("MatMul", [left, right], each.output[0])
    return code.nodes


def _integer_convolution(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """ConvInteger: a convolution of whole numbers in f32, where its sums are exact there."""
    x, w, xz, wz = (*each.input, "", "")[:4]
    shape = _fixed_shape(graph, w)
    if int(np.prod(shape[1:])) * 255 * 255 >= 1 << 24:
        return None
    code = _Codes(graph, each)
    convolution = NodeProto()
    convolution.CopyFrom(each)
    convolution.op_type = "Conv"
    del convolution.input[:]
    convolution.input.extend([code.numbers(x, xz, 1, TensorProto.FLOAT), code.numbers(w, wz, 0, TensorProto.FLOAT)])
    convolution.output[0] = graph.fresh(f"{each.output[0]}/sums")
    pads = _padding(_fixed_shape(graph, x)[2:], each, _dilated(each, shape[2:]))
    _set(convolution, auto_pad=None, pads=pads)
    code.nodes.append(convolution)
    code.add("Cast", [convolution.output[0]], each.output[0], to=TensorProto.INT32)
    return code.nodes


def _product(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """MatMul of a vector and a stack of matrices: with a dimension of one, taken away again."""
    ranks = [len(_fixed_shape(graph, name)) for name in each.input]
    if 1 not in ranks or max(ranks) <= 2:
        return None
    code = _Codes(graph, each)
    inputs = list(each.input)
    taken = []
    for index, axis in ((0, -2), (1, -1)):
        if ranks[index] == 1:
            shape = [1, -1] if index == 0 else [-1, 1]
            constant = graph.add_constant(np.array(shape, np.int64), f"{each.output[0]}/shape")
            inputs[index] = code.add("Reshape", [inputs[index], constant])
            taken.append(axis)
    axes = graph.add_constant(np.array(taken, np.int64), f"{each.output[0]}/axes")
    code.add("Squeeze", [code.add("MatMul", inputs), axes], each.output[0])
    return code.nodes


def _recurrent(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """What the lowering of LSTM, GRU and RNN would leave out without a word is refused."""
    values = attributes(each)
    inputs = [*each.input, *[""] * 8]
    lengths = graph.constant(inputs[4])
    whole = lengths is not None and bool((lengths == _fixed_shape(graph, each.input[0])[0]).all())
    for wrong, what in (
        (each.op_type == "LSTM" and bool(inputs[7]), "peepholes are"),
        (bool(values.get("input_forget")), "coupled input and forget gates are"),
        ("clip" in values, "a limit of its gates (clip) is"),
        (bool(inputs[4]) and not whole, "sequences shorter than the input (sequence_lens) are"),
    ):
        if wrong:
            raise ValueError(f"{what} not supported")
    return None


_RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "Conv": _convolution(1),
    "ConvInteger": _integer_convolution,
    "ConvTranspose": _transposed_convolution,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MatMul": _product,
    "MatMulInteger": _integer_product,
    "MaxPool": _pool,
    "Pad": _pad,
    "QLinearConv": _quantized_convolution,
    "QLinearMatMul": _quantized_product,
    "RNN": _recurrent,
}
