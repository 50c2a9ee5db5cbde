"""dlas-fold-batch-norm: per-channel scales and shifts go into weights and a bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith

from dlas_mlir.ir import affine, build, conv
from dlas_mlir.ir.constants import Constants, constant, dtype_of
from dlas_mlir.ir.evaluate import is_elementwise
from dlas_mlir.ir.linalg import indexing_maps, scalar_constant
from dlas_mlir.opt.base import Pass


@dataclass(frozen=True)
class FoldBatchNormPass(Pass):
    """Fold chains of per-channel additions and multiplications by constants.

    Behind a convolution or linear layer with constant weights the scale goes into the weights and one bias remains,
    which also takes the place of a bias in the initial accumulator. Elsewhere (batch-norm before an activation) the
    chain becomes one multiplication and one addition. Scales are combined in double precision. Run
    dlas-fold-constants first, so that the statistics are constants.

    Before:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw ins(%x, %w) outs(%zeros)
    %2 = linalg.generic ins(%1, %mean) { arith.subf }
    %3 = linalg.generic ins(%2, %inverse_deviation) { arith.mulf }
    %4 = linalg.generic ins(%3, %gamma) { arith.mulf }
    %5 = linalg.generic ins(%4, %beta) { arith.addf }
    ```
    After:
    ```mlir
    %1 = linalg.conv_2d_nchw_fchw ins(%x, %scaled_w) outs(%zeros)
    %2 = linalg.generic ins(%1, %bias) { arith.addf }
    ```
    """

    name: ClassVar[str] = "dlas-fold-batch-norm"

    def run(self, module: ir.Module) -> None:
        constants = Constants(module.operation)
        for op in build.operations(module):
            convolution = conv.view(op)
            if convolution is not None:
                _fold_into_weights(convolution, constants)
        for op in build.operations(module):
            if is_elementwise(op) and list(op.results[0].uses):
                _merge_chain(op, constants)
        build.erase_dead(module)


@dataclass
class _Chain:
    """x * scale + shift, per channel, and the value that it ends in."""

    end: ir.Value
    scale: np.ndarray
    shift: np.ndarray
    length: int = 0

    def step(self, constants: Constants, dim: int) -> bool:
        """Take in the only user of the end, if it is a per-channel operation on dimension `dim`."""
        users = build.users(self.end)
        if len(users) != 1 or not is_elementwise(users[0]):
            return False
        found = _per_channel(users[0], self.end, constants, dim)
        if found is None:
            return False
        name, other, flipped = found
        scale, shift = self.scale, self.shift
        with np.errstate(all="ignore"):
            if name == "arith.addf":
                shift = shift + other
            elif name == "arith.subf":
                sign = -1.0 if flipped else 1.0
                scale, shift = sign * scale, sign * shift - sign * other
            elif name == "arith.mulf":
                scale, shift = scale * other, shift * other
            else:
                scale, shift = scale / other, shift / other
        # What is infinite must meet the sum, not each weight.
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            return False
        self.scale, self.shift = scale, shift
        self.end = users[0].results[0]
        self.length += 1
        return True


def _per_channel(op: ir.Operation, x: ir.Value, constants: Constants, dim: int) -> tuple[str, np.ndarray, bool] | None:
    """`op` as (operation, constant per channel, whether x is its right operand), if it is of that kind."""
    block = op.regions[0].blocks[0]
    if len(block.operations) != 2:
        return None
    scalar, maps = block.operations[0].operation, indexing_maps(op)
    if scalar.name not in ("arith.addf", "arith.subf", "arith.mulf", "arith.divf"):
        return None
    arguments = list(block.arguments)
    places = [arguments.index(v) if v in arguments else None for v in scalar.operands]
    xs = [i for i, place in enumerate(places) if place is not None and op.operands[place] == x]
    if len(xs) != 1 or (xs[0] == 1 and scalar.name == "arith.divf"):
        return None
    x_map = maps[places[xs[0]]]  # type: ignore[index]
    if any(not affine.is_dim(expr, i) for i, expr in enumerate(x_map.results)) or maps[-1] != x_map:
        return None
    other = places[1 - xs[0]]
    values = _channel_values(op, scalar.operands[1 - xs[0]], other, maps, constants, dim)
    return None if values is None else (scalar.name, values, xs[0] == 1)


def _channel_values(
    op: ir.Operation,
    value: ir.Value,
    place: int | None,
    maps: list[ir.AffineMap],
    constants: Constants,
    dim: int,
) -> np.ndarray | None:
    if place is None:
        attr = scalar_constant(value)
        return None if attr is None else np.asarray(attr.value, np.float64)  # type: ignore[attr-defined]
    array, exprs = constants.read(op.operands[place]), maps[place].results
    if array is None or any(affine.dims_of(expr) - {dim} for expr in exprs):
        return None
    channels = ir.RankedTensorType(op.results[0].type).shape[dim]
    point: list = [0] * maps[place].n_dims
    point[dim] = np.arange(channels)
    places = tuple(np.broadcast_to(affine.evaluate(expr, point), channels) for expr in exprs)
    return np.broadcast_to(array[places], channels).astype(np.float64)


def _fold_into_weights(convolution: conv.Convolution, constants: Constants) -> None:
    op = convolution.op
    weights = constants.read(convolution.weights)
    if weights is None or not isinstance(convolution.element, ir.FloatType):
        return
    bias = convolution.bias(constants)
    if bias is None:
        return
    channels = convolution.shape.out_channels
    weight_dims, _ = convolution.output_channel_dims()
    whole = convolution.channels_end()
    if whole is None:
        return
    end, dim = whole
    chain = _Chain(end, np.ones(channels), bias.astype(np.float64))
    while chain.step(constants, dim):
        pass
    if chain.length == 0 and not np.any(bias):
        return
    shape = [weights.shape[i] if i in weight_dims else 1 for i in range(weights.ndim)]
    scale = chain.scale.reshape([weights.shape[i] for i in weight_dims]).transpose(np.argsort(weight_dims))
    with np.errstate(over="ignore"):
        exact = weights * scale.reshape(shape)
        scaled = exact.astype(weights.dtype)
    if np.isfinite(weights).all() and not np.isfinite(scaled).all():
        return
    if _is_wider(op.results[0], weights.dtype) and not np.array_equal(scaled.astype(np.float64), exact, equal_nan=True):
        # Sums in more digits than the weights have: rounding those once more is not rounding the result.
        return
    with ir.InsertionPoint(op), op.location:
        if np.any(chain.scale != 1.0):
            convolution.set_weights(constant(scaled, "weights"))
        if np.any(bias):
            kind = ir.RankedTensorType(op.operands[2].type)
            op.operands[2] = build.fill(build.zero(kind.element_type), kind.shape)
    _add_bias(chain, end, dim)


def _is_wider(value: ir.Value, dtype: np.dtype) -> bool:
    return dtype_of(build.element_type(value)).itemsize > dtype.itemsize


def _add_bias(chain: _Chain, start: ir.Value, dim: int) -> None:
    """Put one addition of the chain's shift behind `start`, in the place of the chain."""
    # In the type of what it is added to: accumulators are wider than weights in half precision.
    kind = ir.RankedTensorType(start.type)
    bias = np.broadcast_to(chain.shift, chain.scale.shape).astype(dtype_of(kind.element_type))
    rank = kind.rank
    point = start.owner.operation
    old_users = [(use.owner.operation, use.operand_number) for use in start.uses]
    result = start
    if np.any(bias):
        with ir.InsertionPoint.after(point), point.location:
            identity = [affine.dim(i) for i in range(rank)]
            generic = build.generic(
                [start, constant(bias, "bias")],
                build.empty(kind.shape, kind.element_type),
                [identity, [affine.dim(dim)], identity],
                ["parallel"] * rank,
                lambda x, b, _: arith.addf(x, b),
            )
            result = generic.results[0]
    if chain.length:
        chain.end.replace_all_uses_with(result)
    else:
        for user, place in old_users:
            user.operands[place] = result


def _merge_chain(op: ir.Operation, constants: Constants) -> None:
    """A chain of at least two per-channel operations as x * scale + shift."""
    sources = [v for v in list(op.operands)[:-1] if constants.read(v) is None]
    kind = ir.RankedTensorType(op.results[0].type)
    rank = kind.rank
    if len(sources) != 1 or rank < 2 or not kind.has_static_shape:
        return
    x, dim = sources[0], 1
    channels = kind.shape[dim]
    chain = _Chain(x, np.ones(channels), np.zeros(channels))
    # The chain starts at `op` even where x has other users.
    found = _per_channel(op, x, constants, dim)
    if found is None or found[2] or found[0] == "arith.divf":
        return
    name, other, _ = found
    if name == "arith.mulf":
        chain.scale = np.broadcast_to(other, channels).astype(np.float64)
    else:
        chain.shift = np.broadcast_to(other if name == "arith.addf" else -other, channels).astype(np.float64)
    chain.end, chain.length = op.results[0], 1
    while chain.step(constants, dim):
        pass
    if chain.length < 2:
        return
    last = chain.end.owner.operation
    with ir.InsertionPoint(last), last.location:
        identity = [affine.dim(i) for i in range(rank)]
        dtype = dtype_of(kind.element_type)
        arrays = [np.broadcast_to(a, (channels,)).astype(dtype) for a in (chain.scale, chain.shift)]
        merged = build.generic(
            [x, *(constant(array, "batch_norm") for array in arrays)],
            build.empty(kind.shape, kind.element_type),
            [identity, [affine.dim(dim)], [affine.dim(dim)], identity],
            ["parallel"] * rank,
            lambda value, scale, shift, _: arith.addf(arith.mulf(value, scale), shift),
        )
        chain.end.replace_all_uses_with(merged.results[0])
