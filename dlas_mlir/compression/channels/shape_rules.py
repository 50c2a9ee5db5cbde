"""Rules for what reduces, moves, joins and takes apart; and for what goes element by element under other names."""

from __future__ import annotations

import numpy as np
from torch import fx

from dlas_mlir.compression.channels.call import Call, shape_of
from dlas_mlir.compression.channels.labels import Dims
from dlas_mlir.compression.channels.table import Result, broadcast, in_parts, pin_all, pointwise, replaced, rule


@rule("clone", "dropout", "feature_dropout", "alpha_dropout", "contiguous", "alias", "detach", "_to_copy", "to")
@rule("lift_fresh_copy", "zeros_like", "ones_like", "full_like", "hardswish", "log_sigmoid", "type_as")
def _same(call: Call) -> Dims:
    return call.dims(call.first())


@rule("masked_fill", "copy", "floor_divide", "expand_as", "fill")
def _pointwise_too(call: Call) -> Dims:
    return pointwise(call)


@rule("glu")
def _glu(call: Call) -> Dims:
    dims, dim = call.dims(call.first()), call.dim(default=-1)
    return replaced(dims, dim, in_parts(call, dims[dim], 2)[0])


_STATISTICS = ("mean", "var", "std", "var_mean", "std_mean")


def _reduced(call: Call, dims: Dims) -> list[int]:
    given = call.argument("dim", call.argument("dims"))
    if given is None or given == []:
        return list(range(len(dims)))
    rank = max(len(dims), 1)
    return [int(dim) % rank for dim in (given if isinstance(given, list | tuple) else [given])]


@rule(*_STATISTICS)
@rule("sum", "amax", "amin", "max", "min", "prod", "any", "all", "argmax", "argmin", "norm", "linalg_vector_norm")
@rule("logsumexp", "median", "aminmax")
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


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "flip", "roll", "topk")
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


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "_reshape_alias")
@rule("view_copy", "squeeze_copy", "unsqueeze_copy")
def _view(call: Call) -> Dims:
    return call.reshaped(call.first(), call.result()[0])


@rule("permute", "permute_copy")
def _permute(call: Call) -> Dims:
    dims = call.dims(call.first())
    return tuple(dims[place] for place in call.argument("dims"))


@rule("transpose", "t", "swapaxes", "transpose_copy", "numpy_T", "mT")
def _transpose(call: Call) -> Dims:
    dims = list(call.dims(call.first()))
    if len(dims) > 1:
        a, b = (int(call.argument(name, default)) for name, default in (("dim0", -2), ("dim1", -1)))
        dims[a], dims[b] = dims[b], dims[a]
    return tuple(dims)


@rule("expand", "expand_copy")
def _expand(call: Call) -> Dims:
    return broadcast(call, [call.first()], call.result()[0])


@rule("repeat")
def _repeat(call: Call) -> Dims:
    dims, times = call.dims(call.first()), call.argument("repeats")
    dims = ((None,) * (len(times) - len(dims))) + dims
    return tuple(None if dim is None else np.tile(dim, count) for dim, count in zip(dims, times, strict=True))


@rule("cat", "concat", "concatenate")
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


@rule("stack")
def _stack(call: Call) -> Dims:
    nodes = call.argument("tensors")
    shape = shape_of(nodes[0])
    place = int(call.argument("dim", 0)) % (len(shape) + 1)
    dims = list(broadcast(call, nodes, shape))
    dims.insert(place, None)
    return tuple(dims)


@rule("split", "split_with_sizes", "chunk", "split_copy", "split_with_sizes_copy", "tensor_split")
def _split(call: Call) -> list[Dims]:
    dims, place = call.dims(call.first()), call.dim()
    sizes = [shape[place] for shape in call.result()]
    if len(set(sizes)) == 1:
        parts = in_parts(call, dims[place], len(sizes))
    else:
        call.pin(dims[place], "cuts them at fixed places")
        parts = [None] * len(sizes)
    return [replaced(dims, place, part) for part in parts]


@rule("unbind", "unbind_copy")
def _unbind(call: Call) -> list[Dims]:
    dims, place = call.dims(call.first()), call.dim()
    call.pin(dims[place], "takes single ones")
    return [dims[:place] + dims[place + 1 :]] * len(call.result())


@rule("select", "select_copy")
def _select(call: Call) -> Dims:
    dims, place = call.dims(call.first()), call.dim()
    call.pin(dims[place], "takes a single one")
    return dims[:place] + dims[place + 1 :]


@rule("slice", "slice_copy", "narrow")
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
        return replaced(dims, place, in_parts(call, dim, size // taken)[start // taken])
    if step > 1 and size % step == 0 and start < step and taken == size // step:
        call.labels.together(dim.reshape(-1, step).T)
        return replaced(dims, place, dim[start::step])
    call.pin(dim, "takes some of them")
    return replaced(dims, place, None)


@rule("pixel_shuffle")
def _pixel_shuffle(call: Call) -> Dims:
    dims, square = call.dims(call.first()), int(call.argument("upscale_factor")) ** 2
    channels = dims[-3]
    if channels is not None:
        rows = channels.reshape(-1, square)
        call.labels.together(rows.T)
        channels = rows[:, 0]
    pin_all(call, dims[-2:])
    return (*dims[:-3], channels, None, None)


@rule("pixel_unshuffle")
def _pixel_unshuffle(call: Call) -> Dims:
    dims, square = call.dims(call.first()), int(call.argument("downscale_factor")) ** 2
    channels = dims[-3]
    pin_all(call, dims[-2:])
    return (*dims[:-3], None if channels is None else np.repeat(channels, square), None, None)


@rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(call: Call) -> Dims:
    dims, groups = call.dims(call.first()), int(call.argument("groups"))
    channels = dims[1]
    if channels is not None:
        rows = channels.reshape(groups, -1)
        call.labels.together(rows)
        channels = rows.T.reshape(-1)
    return replaced(dims, 1, channels)


@rule("full", "zeros", "ones", "empty", "arange", "scalar_tensor", "new_zeros", "new_ones", "new_full", "rand", "randn")
@rule("new_empty", "eye", "linspace")
def _made(call: Call) -> Dims:
    return (None,) * len(call.result()[0])
