"""What each ATen operation makes of the labels of channels. An operation that no rule knows pins what it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import fx

from dlas_mlir.compression.channels.call import Call, shape_of
from dlas_mlir.compression.channels.labels import Dim, Dims

Result = Dims | list[Dims] | None
Rule = Callable[[Call], Result]

RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


def apply(call: Call) -> Any:
    """The labels of the results: a tuple for each tensor, in a list where there are several."""
    found = _apply(call)
    shapes = call.result()
    several = isinstance(found, list)
    results = found if isinstance(found, list) else [found or ()]
    if found is None:
        for node in call.node.all_input_nodes:
            _pin_all(call, call.dims(node))
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
        return _spatial(call)
    return None


def _checked(call: Call, dims: Dims, shape: tuple[int, ...]) -> Dims:
    """Labels that fit the shape; those that do not are pinned."""
    if len(dims) != len(shape):
        _pin_all(call, dims)
        return (None,) * len(shape)
    for dim, size in zip(dims, shape, strict=True):
        if dim is not None and len(dim) != size:
            call.pin(dim)
    return tuple(dim if dim is None or len(dim) == size else None for dim, size in zip(dims, shape, strict=True))


def _pin_all(call: Call, dims: Iterable[Dim], why: str = "") -> None:
    for dim in dims:
        call.pin(dim, why)


# Element by element.


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


@_rule("clone", "dropout", "feature_dropout", "alpha_dropout", "contiguous", "alias", "detach", "_to_copy", "to")
@_rule("lift_fresh_copy", "zeros_like", "ones_like", "full_like", "hardswish", "log_sigmoid", "type_as")
def _same(call: Call) -> Dims:
    return call.dims(call.first())


@_rule("masked_fill", "copy", "floor_divide", "expand_as", "fill")
def _pointwise_too(call: Call) -> Dims:
    return pointwise(call)


@_rule("glu")
def _glu(call: Call) -> Dims:
    dims, dim = call.dims(call.first()), call.dim(default=-1)
    return _replaced(dims, dim, _parts(call, dims[dim], 2)[0])


def _replaced(dims: Dims, place: int, dim: Dim) -> Dims:
    return (*dims[:place], dim, *dims[place + 1 :])


# Layers.


@_rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def _convolution(call: Call) -> Dims:
    data, weight = call.argument("input"), call.argument("weight")
    groups = int(call.argument("groups", 1))
    transposed = "transpose" in call.operation or bool(call.argument("transposed", False))
    spatial = len(shape_of(weight)) - 2
    dims, kernel = call.dims(data), call.dims(weight)
    channels = dims[-spatial - 1]
    _pin_all(call, dims[len(dims) - spatial :], "slides along them")
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
        _pin_all(call, (channels, outputs, inputs))
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
        _pin_all(call, (channels, outputs, inputs))
        return None
    if len(inputs) == groups:
        call.pin(outputs, "has them in every group")
        return np.repeat(inputs, len(outputs))
    call.labels.together(inputs.reshape(groups, -1))
    return np.tile(outputs, groups)


@_rule("linear")
def _linear(call: Call) -> Dims:
    data, weight, bias = (call.argument(name) for name in ("input", "weight", "bias"))
    outputs, inputs = call.dims(weight)
    call.tie(call.at(data, -1), inputs)
    if bias is not None:
        call.tie(call.at(bias, 0), outputs)
    return (*call.dims(data)[:-1], outputs)


@_rule("matmul", "mm", "bmm", "mv", "dot")
def _matmul(call: Call) -> Result:
    a, b = call.node.args[:2]
    assert isinstance(a, fx.Node)
    assert isinstance(b, fx.Node)
    if len(shape_of(a)) < 2 or len(shape_of(b)) < 2:
        return None
    call.tie(call.at(a, -1), call.at(b, -2))
    batch = broadcast(call, [a, b], call.result()[0], skip=2)
    return (*batch, call.at(a, -2), call.at(b, -1))


@_rule("addmm", "baddbmm")
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


@_rule("einsum")
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


@_rule("scaled_dot_product_attention")
def _attention(call: Call) -> Result:
    query, key, value = (call.argument(name) for name in ("query", "key", "value"))
    if call.argument("enable_gqa", False):
        return None
    for node in (query, key):
        call.pin(call.at(node, -1), "divides by the root of their number")
    call.tie(call.at(key, -2), call.at(value, -2))
    mask = call.argument("attn_mask")
    if mask is not None:
        _pin_all(call, call.dims(mask))
    batch = broadcast(call, [query, key, value], call.result()[0], skip=2)
    return (*batch, call.at(query, -2), call.at(value, -1))


@_rule("embedding")
def _embedding(call: Call) -> Dims:
    weight, indices = call.argument("weight"), call.argument("indices")
    call.pin(call.at(weight, 0), "finds words in them")
    return (*[None] * len(shape_of(indices)), call.at(weight, 1))


@_rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "prelu", "native_batch_norm")
@_rule("_native_batch_norm_legit")
def _per_channel(call: Call) -> Result:
    data = call.argument("input", call.argument("self"))
    dims = call.dims(data)
    for node in call.node.all_input_nodes:
        if node is not data and shape_of(node) not in ((), (1,)):
            call.tie(dims[1], call.at(node, 0))
    results = call.result()
    return [dims, *((None,) * len(shape) for shape in results[1:])] if len(results) > 1 else dims


@_rule("group_norm", "native_group_norm")
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


@_rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
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


def _spatial(call: Call) -> Result:
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


# Reductions.

_STATISTICS = ("mean", "var", "std", "var_mean", "std_mean")


def _reduced(call: Call, dims: Dims) -> list[int]:
    given = call.argument("dim", call.argument("dims"))
    if given is None or given == []:
        return list(range(len(dims)))
    rank = max(len(dims), 1)
    return [int(dim) % rank for dim in (given if isinstance(given, list | tuple) else [given])]


@_rule(*_STATISTICS)
@_rule("sum", "amax", "amin", "max", "min", "prod", "any", "all", "argmax", "argmin", "norm", "linalg_vector_norm")
@_rule("logsumexp", "median", "aminmax")
def _reduction(call: Call) -> Result:
    node = call.first()
    if len([each for each in call.node.all_input_nodes if shape_of(each)]) > 1:
        return pointwise(call)  # max and min of two tensors
    dims = call.dims(node)
    gone = _reduced(call, dims)
    for dim in (dims[place] for place in gone):
        if dim is not None and call.operation in _STATISTICS:
            call.labels.changed.append(dim)
        else:
            call.pin(dim, "takes all of them together")
    keep = bool(call.argument("keepdim", False))
    one = tuple(None if place in gone else dim for place, dim in enumerate(dims) if keep or place not in gone)
    return [one] * len(call.result()) if len(call.result()) > 1 else one


@_rule("softmax", "log_softmax", "_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "flip", "roll", "topk")
def _along(call: Call) -> Result:
    """What mixes or moves the elements along some dimensions."""
    dims = call.dims(call.first())
    places = _reduced(call, dims)
    if call.operation in ("sort", "topk") and call.argument("dim") is None:
        places = [len(dims) - 1]
    for place in places:
        call.pin(dims[place], "takes all of them together")
    one = tuple(None if place in places else dim for place, dim in enumerate(dims))
    return [one] * len(call.result()) if len(call.result()) > 1 else one


# Shapes.


@_rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "_reshape_alias")
@_rule("view_copy", "squeeze_copy", "unsqueeze_copy")
def _view(call: Call) -> Dims:
    return call.reshaped(call.first(), call.result()[0])


@_rule("permute", "permute_copy")
def _permute(call: Call) -> Dims:
    dims = call.dims(call.first())
    return tuple(dims[place] for place in call.argument("dims"))


@_rule("transpose", "t", "swapaxes", "transpose_copy", "numpy_T", "mT")
def _transpose(call: Call) -> Dims:
    dims = list(call.dims(call.first()))
    if len(dims) > 1:
        a, b = (int(call.argument(name, default)) for name, default in (("dim0", -2), ("dim1", -1)))
        dims[a], dims[b] = dims[b], dims[a]
    return tuple(dims)


@_rule("expand", "expand_copy")
def _expand(call: Call) -> Dims:
    return broadcast(call, [call.first()], call.result()[0])


@_rule("repeat")
def _repeat(call: Call) -> Dims:
    dims, times = call.dims(call.first()), call.argument("repeats")
    dims = ((None,) * (len(times) - len(dims))) + dims
    return tuple(None if dim is None else np.tile(dim, count) for dim, count in zip(dims, times, strict=True))


@_rule("cat", "concat", "concatenate")
def _cat(call: Call) -> Dims:
    nodes = [node for node in call.argument("tensors") if shape_of(node) != (0,)]
    rank = len(call.result()[0])
    place = int(call.argument("dim", 0)) % rank
    one = list(call.dims(nodes[0]))
    for node in nodes[1:]:
        for i, dim in enumerate(call.dims(node)):
            if i != place:
                call.tie(one[i], dim)
                one[i] = one[i] if dim is not None else None
    parts = [call.at(node, place) for node in nodes]
    if all(part is None for part in parts):
        one[place] = None
    else:
        one[place] = np.concatenate([_known(call, node, place) for node in nodes])
    return tuple(one)


def _known(call: Call, node: fx.Node, place: int) -> np.ndarray:
    """The labels along a dimension; new ones that stay where it has none."""
    found = call.at(node, place)
    if found is None:
        found = call.labels.fresh(shape_of(node)[place])
        call.pin(found, "joins something of a fixed size")
    return found


@_rule("stack")
def _stack(call: Call) -> Dims:
    nodes = call.argument("tensors")
    shape = shape_of(nodes[0])
    place = int(call.argument("dim", 0)) % (len(shape) + 1)
    dims = list(broadcast(call, nodes, shape))
    dims.insert(place, None)
    return tuple(dims)


def _parts(call: Call, dim: Dim, count: int) -> list[Dim]:
    """Equal parts: the same channels go from each of them."""
    if dim is None:
        return [None] * count
    rows = dim.reshape(count, -1)
    call.labels.together(rows)
    return list(rows)


@_rule("split", "split_with_sizes", "chunk", "split_copy", "split_with_sizes_copy", "tensor_split")
def _split(call: Call) -> list[Dims]:
    dims, place = call.dims(call.first()), call.dim()
    sizes = [shape[place] for shape in call.result()]
    if len(set(sizes)) == 1:
        parts = _parts(call, dims[place], len(sizes))
    else:
        call.pin(dims[place], "cuts them at fixed places")
        parts = [None] * len(sizes)
    return [_replaced(dims, place, part) for part in parts]


@_rule("unbind", "unbind_copy")
def _unbind(call: Call) -> list[Dims]:
    dims, place = call.dims(call.first()), call.dim()
    call.pin(dims[place], "takes single ones")
    return [dims[:place] + dims[place + 1 :]] * len(call.result())


@_rule("select", "select_copy")
def _select(call: Call) -> Dims:
    dims, place = call.dims(call.first()), call.dim()
    call.pin(dims[place], "takes a single one")
    return dims[:place] + dims[place + 1 :]


@_rule("slice", "slice_copy", "narrow")
def _slice(call: Call) -> Dims:
    node, place = call.first(), call.dim()
    dims, size = call.dims(node), shape_of(call.first())[place]
    taken = call.result()[0][place]
    start, step = int(call.argument("start", 0)), int(call.argument("step", 1))
    start = min(max(start + size if start < 0 else start, 0), size)
    dim = dims[place]
    if dim is None or taken == size:
        return dims
    if step == 1 and taken and size % taken == 0 and start % taken == 0:
        return _replaced(dims, place, _parts(call, dim, size // taken)[start // taken])
    if step > 1 and size % step == 0 and start < step and taken == size // step:
        call.labels.together(dim.reshape(-1, step).T)
        return _replaced(dims, place, dim[start::step])
    call.pin(dim, "takes some of them")
    return _replaced(dims, place, None)


@_rule("pixel_shuffle")
def _pixel_shuffle(call: Call) -> Dims:
    dims, square = call.dims(call.first()), int(call.argument("upscale_factor")) ** 2
    channels = dims[-3]
    if channels is not None:
        rows = channels.reshape(-1, square)
        call.labels.together(rows.T)
        channels = rows[:, 0]
    _pin_all(call, dims[-2:])
    return (*dims[:-3], channels, None, None)


@_rule("pixel_unshuffle")
def _pixel_unshuffle(call: Call) -> Dims:
    dims, square = call.dims(call.first()), int(call.argument("downscale_factor")) ** 2
    channels = dims[-3]
    _pin_all(call, dims[-2:])
    return (*dims[:-3], None if channels is None else np.repeat(channels, square), None, None)


@_rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(call: Call) -> Dims:
    dims, groups = call.dims(call.first()), int(call.argument("groups"))
    channels = dims[1]
    if channels is not None:
        rows = channels.reshape(groups, -1)
        call.labels.together(rows)
        channels = rows.T.reshape(-1)
    return _replaced(dims, 1, channels)


@_rule(
    "full", "zeros", "ones", "empty", "arange", "scalar_tensor", "new_zeros", "new_ones", "new_full", "rand", "randn"
)
@_rule("new_empty", "eye", "linspace")
def _made(call: Call) -> Dims:
    return (None,) * len(call.result()[0])
