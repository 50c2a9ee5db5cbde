"""Rules for layers: what contracts channels, and norms and windows, which keep them."""

from __future__ import annotations

import re

import numpy as np
from torch import fx

from dlas_mlir.compression.channels.call import Call, shape_of
from dlas_mlir.compression.channels.labels import Dim, Dims
from dlas_mlir.compression.channels.table import Result, broadcast, pin_all, rule


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def _convolution(call: Call) -> Dims:
    data, weight = call.argument("input"), call.argument("weight")
    groups = int(call.argument("groups", 1))
    transposed = "transpose" in call.operation or bool(call.argument("transposed", False))
    spatial = len(shape_of(weight)) - 2
    dims, kernel = call.dims(data), call.dims(weight)
    channels = dims[-spatial - 1]
    pin_all(call, dims[len(dims) - spatial :], "slides along them")
    outputs = (_transposed if transposed else _forward)(call, channels, kernel[0], kernel[1], groups)
    bias = call.argument("bias")
    if bias is not None:
        call.tie(call.at(bias, 0), outputs)
    return (*dims[: len(dims) - spatial - 1], outputs, *[None] * spatial)


def _forward(call: Call, channels: Dim, outputs: Dim, inputs: Dim, groups: int) -> Dim:
    """The labels of the outputs of a convolution with weights [outputs, inputs of a group]."""
    if groups == 1:
        call.tie(channels, inputs)
    elif inputs is None or outputs is None:
        pin_all(call, (channels, outputs, inputs))
    elif len(inputs) == 1:  # depthwise: a group goes with its input
        call.tie(None if channels is None else np.repeat(channels, len(outputs) // groups), outputs)
    else:
        call.tie(channels, np.tile(inputs, groups))
        call.labels.together(outputs.reshape(groups, -1))
    return outputs


def _transposed(call: Call, channels: Dim, inputs: Dim, outputs: Dim, groups: int) -> Dim:
    """The same of a transposed convolution, weights [inputs, outputs of a group]."""
    call.tie(channels, inputs)
    if groups == 1:
        return outputs
    if inputs is None or outputs is None:
        pin_all(call, (channels, outputs, inputs))
        return None
    if len(inputs) == groups:
        call.pin(outputs, "has them in every group")
        return np.repeat(inputs, len(outputs))
    call.labels.together(inputs.reshape(groups, -1))
    return np.tile(outputs, groups)


@rule("linear")
def _linear(call: Call) -> Dims:
    data, weight, bias = (call.argument(name) for name in ("input", "weight", "bias"))
    outputs, inputs = call.dims(weight)
    call.tie(call.at(data, -1), inputs)
    if bias is not None:
        call.tie(call.at(bias, 0), outputs)
    return (*call.dims(data)[:-1], outputs)


@rule("matmul", "mm", "bmm", "mv", "dot")
def _matmul(call: Call) -> Result:
    a, b = call.node.args[:2]
    assert isinstance(a, fx.Node)
    assert isinstance(b, fx.Node)
    if len(shape_of(a)) < 2 or len(shape_of(b)) < 2:
        return None
    call.tie(call.at(a, -1), call.at(b, -2))
    batch = broadcast(call, [a, b], call.result()[0], skip=2)
    return (*batch, call.at(a, -2), call.at(b, -1))


@rule("addmm", "baddbmm")
def _addmm(call: Call) -> Dims:
    bias, a, b = call.node.args[:3]
    assert isinstance(bias, fx.Node)
    assert isinstance(a, fx.Node)
    assert isinstance(b, fx.Node)
    call.tie(call.at(a, -1), call.at(b, -2))
    product = (*broadcast(call, [a, b], call.result()[0], skip=2), call.at(a, -2), call.at(b, -1))
    for back in range(1, len(shape_of(bias)) + 1):
        if shape_of(bias)[-back] != 1:
            call.tie(call.at(bias, -back), product[-back])
    return product


@rule("einsum")
def _einsum(call: Call) -> Result:
    equation, operands = str(call.argument("equation")).replace(" ", ""), call.argument("tensors")
    sides = equation.split("->")
    if len(sides) != 2 or "." in equation:
        return None
    known: dict[str, list[Dim]] = {}
    for names, node in zip(sides[0].split(","), operands, strict=True):
        for name, dim, size in zip(names, call.dims(node), shape_of(node), strict=True):
            if size != 1:
                known.setdefault(name, []).append(dim)
    for found in known.values():
        for other in found[1:]:
            call.tie(found[0], other)
    return tuple(known.get(name, [None])[0] for name in sides[1])


@rule("scaled_dot_product_attention")
def _attention(call: Call) -> Result:
    query, key, value = (call.argument(name) for name in ("query", "key", "value"))
    if call.argument("enable_gqa", False):
        return None
    for node in (query, key):
        call.pin(call.at(node, -1), "divides by the root of their number")
    call.tie(call.at(key, -2), call.at(value, -2))
    mask = call.argument("attn_mask")
    if mask is not None:
        pin_all(call, call.dims(mask))
    batch = broadcast(call, [query, key, value], call.result()[0], skip=2)
    return (*batch, call.at(query, -2), call.at(value, -1))


@rule("embedding")
def _embedding(call: Call) -> Dims:
    weight, indices = call.argument("weight"), call.argument("indices")
    call.pin(call.at(weight, 0), "finds words in them")
    return (*[None] * len(shape_of(indices)), call.at(weight, 1))


@rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "prelu", "native_batch_norm")
@rule("_native_batch_norm_legit")
def _per_channel(call: Call) -> Result:
    data = call.argument("input", call.argument("self"))
    dims = call.dims(data)
    for node in call.node.all_input_nodes:
        if node is not data and shape_of(node) not in ((), (1,)):
            call.tie(dims[1], call.at(node, 0))
    results = call.result()
    return [dims, *((None,) * len(shape) for shape in results[1:])] if len(results) > 1 else dims


@rule("group_norm", "native_group_norm")
def _group_norm(call: Call) -> Result:
    data, groups = call.argument("input"), int(call.argument("num_groups", call.argument("group", 1)))
    dims = call.dims(data)
    for name in ("weight", "bias"):
        node = call.argument(name)
        if node is not None:
            call.tie(dims[1], call.at(node, 0))
    if dims[1] is not None:
        call.labels.together(dims[1].reshape(groups, -1))
        call.labels.changed.append(dims[1])
    results = call.result()
    return [dims, *((None,) * len(shape) for shape in results[1:])] if len(results) > 1 else dims


@rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(call: Call) -> Result:
    data, count = call.argument("input"), len(call.argument("normalized_shape"))
    dims = call.dims(data)
    for back in range(1, count + 1):
        for name in ("weight", "bias"):
            node = call.argument(name)
            if node is not None:
                call.tie(dims[-back], call.at(node, -back))
    call.labels.changed += [dim for dim in dims[-count:] if dim is not None]
    results = call.result()
    return [dims, *((None,) * len(shape) for shape in results[1:])] if len(results) > 1 else dims


def windowed(call: Call) -> Result:
    """Pooling, resizing and padding, which see each channel by itself: [..., H, W] for what is named 2d."""
    node = call.first()
    dims = call.dims(node)
    found = re.search(r"(\d)d", call.operation)
    if call.operation in ("constant_pad_nd", "pad"):
        padding = call.argument("pad", [])
        pairs = list(zip(padding[::2], padding[1::2], strict=True))
        moved = [len(dims) - 1 - i for i, pair in enumerate(pairs) if tuple(pair) != (0, 0)]
    elif found is not None:
        moved = list(range(len(dims) - int(found[1]), len(dims)))
    else:
        moved = list(range(2, len(dims)))
    for place in moved:
        call.pin(dims[place], "goes along them")
    one = tuple(None if place in moved else dim for place, dim in enumerate(dims))
    return [one] * len(call.result()) if len(call.result()) > 1 else one
