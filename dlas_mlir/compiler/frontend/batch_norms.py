"""Batch norms as part of the layer before: what they multiply its weights by, and, in a traced model that is to be
quantized, folded into it or hidden from torchao.

torchao folds too, but gets it wrong where the result of the layer is read by others as well, where a transposed
convolution has groups, and where the norm is not over the channels that the layer makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import getitem
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

NORM = torch.ops.aten._native_batch_norm_legit_no_training.default
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
_TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}


def fold(module: fx.GraphModule) -> None:
    """Fold each batch norm into the weights and the bias of the convolution or linear layer that alone feeds it. The
    layer gets parameters of its own; what else reads the old ones keeps them."""
    for norm in list(module.graph.nodes):
        layer = _foldable(module, norm)
        if layer is None:
            continue
        scale, shift = scale_and_shift(
            *(
                parameter(module, value) if isinstance(value := _argument(norm, name), fx.Node) else None
                for name in ("weight", "bias", "running_mean", "running_var")
            ),
            eps=_argument(norm, "eps"),
        )
        weight, bias = cast(fx.Node, _argument(layer, "weight")), _argument(layer, "bias")
        numbers = parameter(module, weight)
        groups = (_argument(layer, "groups") or 1) if _name(layer) in _TRANSPOSED else None
        _give(module, layer, 1, weight, numbers * over_outputs(numbers, scale, transposed_groups=groups))
        start = parameter(module, bias) if isinstance(bias, fx.Node) else torch.zeros_like(shift)
        like = bias if isinstance(bias, fx.Node) else cast(fx.Node, _argument(norm, "running_mean"))
        _give(module, layer, 2, like, start * scale + shift)
        for result in list(norm.users):
            result.replace_all_uses_with(layer)
    module.graph.eliminate_dead_code()
    module.recompile()


def scale_and_shift(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None, *, eps: float
) -> tuple[Tensor, Tensor]:
    """What a batch norm of these parameters and statistics multiplies its channels by, and what it adds."""
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    return scale, (0 if bias is None else bias) - mean * scale


def over_outputs(weight: Tensor, scale: Tensor, *, transposed_groups: int | None) -> Tensor:
    """`scale`, one number an output channel, in a shape that goes with the weights of a layer; `transposed_groups` are
    the groups of a transposed convolution, None for any other layer."""
    if transposed_groups is None:
        return scale.reshape(-1, *[1] * (weight.dim() - 1))
    # [C, K/G, ...]: the outputs of one group after those of another.
    groups = transposed_groups
    each = scale.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
    return each.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))


def hide(graph: fx.Graph) -> None:
    """Give the batch norms of `graph` a name that says nothing to torchao: until `show`."""
    _rename(graph, NORM, _norm)


def show(graph: fx.Graph) -> None:
    """Give the batch norms of `graph` their name again."""
    _rename(graph, _norm, NORM)


def parameter(module: nn.Module, node: fx.Node) -> Tensor:
    """The parameter or buffer that a get_attr reads."""
    owner, _, name = str(node.target).rpartition(".")
    return getattr(module.get_submodule(owner), name)


def own_parameter(module: nn.Module, value: fx.Node, user: fx.Node, number: Tensor) -> fx.Node:
    """A node for a new parameter, `number`, for `user`, named after that which `value` reads."""
    path, _, name = str(value.target).rpartition(".")
    owner = module.get_submodule(path)
    name = next(each for i in range(1, len(user.graph.nodes) + 2) if not hasattr(owner, each := f"{name}_{i}"))
    owner.register_parameter(name, nn.Parameter(number.detach().clone(), requires_grad=False))
    with user.graph.inserting_before(user):
        own = user.graph.get_attr(f"{path}.{name}" if path else name)
    own.meta = dict(value.meta)
    return own


def _norm(*arguments: Any) -> Any:
    return NORM(*arguments)


def _rename(graph: fx.Graph, old: Any, new: Any) -> None:
    for node in graph.nodes:
        if node.target is old:
            node.target = new


def _argument(node: fx.Node, name: str) -> Any:
    names = [argument.name for argument in cast(Any, node.target)._schema.arguments]
    return (dict(zip(names, node.args, strict=False)) | node.kwargs).get(name)


def _name(node: fx.Node) -> str:
    target = node.target
    return target._schema.name.partition("::")[2] if isinstance(target, torch._ops.OpOverload) else ""


def _foldable(module: fx.GraphModule, norm: fx.Node) -> fx.Node | None:
    """The layer that a batch norm can be folded into."""
    if norm.target is not NORM or any(user.target is not getitem or user.args[1] != 0 for user in norm.users):
        return None
    layer = norm.args[0]
    if not isinstance(layer, fx.Node) or set(layer.users) != {norm}:
        return None
    if _name(layer) not in _CONVOLUTIONS | _TRANSPOSED | {"linear"}:
        return None
    read = [(layer, "weight"), (layer, "bias"), *((norm, name) for name in ("weight", "bias"))]
    read += [(norm, name) for name in ("running_mean", "running_var")]
    values = [_argument(node, name) for node, name in read]
    if not all(value is None or value.op == "get_attr" for value in values):
        return None
    # Channels are the second dimension: not of what has no batch, or of rows that a linear layer makes one by one.
    return layer if layer.meta["val"].dim() == parameter(module, values[0]).dim() else None


def _give(module: nn.Module, layer: fx.Node, place: int, like: fx.Node, number: Tensor) -> None:
    """Make `number` the argument of `layer` at `place`, the second or third: weight or bias."""
    own = own_parameter(module, like, layer, number)
    name = ("", "weight", "bias")[place]
    if name in layer.kwargs:
        layer.update_kwarg(name, own)
        return
    arguments: Sequence[Any] = layer.args if len(layer.args) > place else (*layer.args, None)
    layer.args = (*arguments[:place], own, *arguments[place + 1 :])
