"""Operations that torch-mlir does not lower, or lowers wrongly, in terms of others that it does.

`table` is what `ExportedProgram.run_decompositions` takes: torch-mlir's own, and ours on top. A decomposition of ours
that returns NotImplemented leaves the operation as it is. All shapes are known when they run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch_mlir.extras.fx_decomp_util import get_decomposition_table

from dlas_mlir.compiler.frontend import number_decompositions, resampling

_aten = torch.ops.aten
# Numbers that are added one after the other.
_CHAIN = 256
# Operations that take images with or without a batch, by the rank of those with one.
_BATCHED = {
    _aten.max_pool2d_with_indices.default: 4,
    _aten.max_pool3d_with_indices.default: 5,
    _aten.adaptive_max_pool2d.default: 4,
    _aten.adaptive_max_pool3d.default: 5,
    _aten.avg_pool2d.default: 4,
    _aten.avg_pool3d.default: 5,
    _aten._adaptive_avg_pool2d.default: 4,
    _aten._adaptive_avg_pool3d.default: 5,
}


def table() -> dict[Any, Callable[..., Any]]:
    """All decompositions, by operation."""
    found: dict[Any, Callable[..., Any]] = dict(get_decomposition_table())
    found[_aten.roll.default] = roll
    # As a whole, too: a program from a file has no shapes for what PyTorch makes of it.
    found[_aten.fake_quantize_per_tensor_affine.default] = lambda *arguments: fake_quantize(*arguments)[0]
    found[_aten.fake_quantize_per_channel_affine.default] = lambda *arguments: fake_quantize_channels(*arguments)[0]
    found[_aten.fake_quantize_per_tensor_affine_cachemask.default] = fake_quantize
    found[_aten.fake_quantize_per_channel_affine_cachemask.default] = fake_quantize_channels
    found[_aten.index_put.default] = index_put
    found[_aten._index_put_impl.default] = index_put
    found[_aten.index.Tensor] = index
    found[_aten.as_strided.default] = as_strided
    found[_aten._trilinear.default] = trilinear
    found[_aten.kthvalue.default] = kthvalue
    found[_aten.conv_tbc.default] = conv_tbc
    found[_aten._linalg_det.default] = determinant
    found[_aten.cumsum.default] = cumulative_sum
    found[_aten.convolution.default] = convolution
    for operation, ours in resampling.DECOMPOSITIONS.items():
        found[operation] = _first_of(ours, found.get(operation))
    for operation, rank in _BATCHED.items():
        found[operation] = _with_batch(operation, rank, found.get(operation))
    number_decompositions.add(found)
    return found


def _first_of(ours: Callable[..., Any], otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`ours`, and what there was before where that does not know the form."""

    def decomposed(*arguments: Any, **keywords: Any) -> Any:
        found = ours(*arguments, **keywords)
        return otherwise(*arguments, **keywords) if found is NotImplemented and otherwise is not None else found

    return decomposed


def roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    """torch.roll as concatenations of slices, whose sizes are all known: torch-mlir's are not."""
    if not dims:
        return roll(x.reshape(-1), shifts, (0,)).reshape(x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        behind = shift % size if size else 0
        if behind:
            x = torch.cat((x.narrow(dim, size - behind, behind), x.narrow(dim, 0, size - behind)), dim)
    return x.clone()


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """Transposed convolutions in groups, and those whose windows do not overlap, become convolutions, three-dimensional
    ones in groups two-dimensional ones."""
    spatial = x.dim() - 2
    stride, padding, dilation = (_for_each(value, spatial) for value in (stride, padding, dilation))
    if groups == 1:
        apart = transposed and spatial > 0 and list(weight.shape[2:]) == list(stride) and math.prod(stride) > 1
        if not apart or any(padding) or any(output_padding) or any(step != 1 for step in dilation):
            return NotImplemented
        return _side_by_side(x, weight, bias)
    if transposed:
        spread = _spread(x, weight, stride, padding, dilation, _for_each(output_padding, spatial))
        ones, zeros = [1] * spatial, [0] * spatial
        turned = _turned(weight, groups)
        return _aten.convolution.default(spread, turned, bias, ones, zeros, dilation, False, zeros, groups)
    if spatial == 3:
        return _convolution_by_planes(x, weight, bias, stride, padding, dilation, groups)
    return NotImplemented


def _side_by_side(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A transposed convolution whose windows lie side by side: each pixel [Cin] times the weights [Cin, Cout, ..] is a
    window of the result. As a 1x1 convolution, it multiplies none of the zeros between the pixels of a stride."""
    batch, channels, *size = x.shape
    _, results, *window = weight.shape
    spatial, count = len(window), math.prod(window)
    ones, zeros = [1] * spatial, [0] * spatial
    # Channels of the result within a place of the window, so that vectors of them stay together.
    rows = weight.permute(*range(2, 2 + spatial), 1, 0).reshape(count * results, channels, *ones)
    biases = None if bias is None else bias.repeat(count)
    y = _aten.convolution.default(x, rows, biases, ones, zeros, ones, False, zeros, 1)
    y = y.reshape(batch, *window, results, *size)
    pairs = [dim for at in range(spatial) for dim in (2 + spatial + at, 1 + at)]
    y = y.permute(0, 1 + spatial, *pairs)
    return y.reshape(batch, results, *(a * b for a, b in zip(size, window, strict=True)))


def fake_quantize(x: Tensor, scale: Any, zero: Any, low: int, high: int) -> tuple[Tensor, Tensor]:
    """x as the integers from `low` to `high` have it, and where it is not beyond them."""
    codes = torch.round(x * (1.0 / scale)) + zero
    return (codes.clamp(low, high) - zero) * scale, (codes >= low) & (codes <= high)


def fake_quantize_channels(
    x: Tensor, scale: Tensor, zero: Tensor, axis: int, low: int, high: int
) -> tuple[Tensor, Tensor]:
    """The same, with a scale and a zero point for each entry of `axis`."""
    shape = [-1 if dim == axis else 1 for dim in range(x.dim())]
    return fake_quantize(x, scale.reshape(shape), zero.reshape(shape), low, high)


def index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False, unsafe: bool = False
) -> Any:
    """`x[.., mask] = values` without the number of those that the mask lets through; numbers from the end as others.

    torch-mlir writes to where a negative one is in memory. `unsafe` says that none is.
    """
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if unsafe:
        return NotImplemented
    if len(given) > 1 or all(index.dtype != torch.bool for _, index in given):
        numbers = _as_numbers(indices, x.shape)
        if numbers is None:
            return NotImplemented
        return _aten._index_put_impl.default(x, numbers, values, accumulate, True)
    ((before, mask),) = given
    rest = x.dim() - before - mask.dim()
    if values.dim() > before + 1 + rest:
        return NotImplemented
    # `values` has one dimension where x has those of the mask.
    values = values.reshape(*[1] * (before + 1 + rest - values.dim()), *values.shape)
    outer, count, inner = values.shape[:before], values.shape[before], values.shape[before + 1 :]
    if count == 0:
        return x.clone()
    if count > 1:  # the first for the first that is let through
        ranks = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
        values = values.index_select(before, ranks.clamp(0, count - 1))
    values = values.reshape(*outer, *(mask.shape if count > 1 else [1] * mask.dim()), *inner)
    return torch.where(mask.reshape(*mask.shape, *[1] * rest), x + values if accumulate else values, x)


def index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    """Elements at indices, which may be of two types."""
    types = {index.dtype for index in indices if index is not None}
    if len(types) < 2 or torch.bool in types:
        return NotImplemented
    return _aten.index.Tensor(x, [None if index is None else index.to(torch.int64) for index in indices])


def as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """Elements that follow each other in memory are a slice of it: the factors of a group norm's channels.

    torch-mlir gathers all of them, by a table of indices for each dimension of x.
    """
    first = 0 if storage_offset is None else storage_offset - x.storage_offset()
    count = math.prod(size)
    if not x.is_contiguous() or first < 0 or first + count > x.numel():
        return NotImplemented
    steps = [math.prod(size[place + 1 :]) for place in range(len(size))]
    if any(length > 1 and step != own for length, step, own in zip(size, stride, steps, strict=True)):
        return NotImplemented
    return x.reshape(-1).narrow(0, first, count).reshape(size)


def _as_numbers(indices: Sequence[Tensor | None], shape: Sequence[int]) -> list[Tensor | None] | None:
    """Indices of a tensor of this shape as numbers from its start.

    Masks among them become as many numbers as the other indices have; None where those do not say how many.
    """
    others = [index.shape for index in indices if index is not None and index.dtype != torch.bool]
    count = torch.broadcast_shapes(*others)
    numbers: list[Tensor | None] = []
    for index in indices:
        if index is None:
            numbers.append(None)
        elif index.dtype != torch.bool:
            size = shape[len(numbers)]
            index = index.to(torch.int64)
            numbers.append(torch.where(index < 0, index + size, index))
        elif len(count) != 1 or count[0] < 2:
            return None
        else:
            numbers += _passed(index, count[0])
    return numbers


def _passed(mask: Tensor, count: int) -> list[Tensor]:
    """The places of the first `count` that a mask lets through: their numbers in each of its dimensions.

    Where there are fewer, the last one again: a mask that lets one through goes with all numbers.
    """
    passed = mask.reshape(-1).to(torch.int64).cumsum(0)
    wanted = torch.arange(count).minimum(passed[-1:] - 1)
    places = (passed <= wanted.unsqueeze(-1)).sum(-1)
    steps = [math.prod(mask.shape[dim + 1 :]) for dim in range(mask.dim())]
    return [places // step % size for step, size in zip(steps, mask.shape, strict=True)]


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest value along `dim`, and where it is."""
    if not x.dim():
        return x.clone(), torch.zeros((), dtype=torch.int64)
    found = tuple(part.narrow(dim, k - 1, 1) for part in x.sort(dim=dim))
    return found if keepdim else tuple(part.squeeze(dim) for part in found)


def trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    unroll: int = 1,
) -> Any:
    """PyTorch's is empty in a dimension that all three lack, where torch-mlir's has one element."""
    rank = a.dim() + len(expand_a)
    missing = [{dim % rank for dim in dims} for dims in (expand_a, expand_b, expand_c)]
    gone = {dim % rank for dim in summed}
    empty = set.intersection(*missing) - gone
    if not empty:
        return NotImplemented
    shapes = [_with_ones(x.shape, dims) for x, dims in zip((a, b, c), missing, strict=True)]
    sizes = enumerate(torch.broadcast_shapes(*shapes))
    return a.new_zeros([0 if dim in empty else size for dim, size in sizes if dim not in gone])


def _with_ones(shape: Sequence[int], dims: set[int]) -> list[int]:
    sizes = iter(shape)
    return [1 if dim in dims else next(sizes) for dim in range(len(shape) + len(dims))]


def conv_tbc(x: Tensor, weight: Tensor, bias: Tensor, padding: int = 0) -> Tensor:
    """A one-dimensional convolution of [T, N, Cin] by [R, Cin, Cout]."""
    return functional.conv1d(x.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=padding).permute(2, 0, 1)


def cumulative_sum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """torch.cumsum of many numbers in blocks, each of which begins with the sum of those before; and in float32.

    The compiled loop adds in one chain, of the type that it is given: of a million numbers in float32 the third digit
    is wrong. PyTorch itself adds in double precision.
    """
    kind = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    narrow = kind in (torch.float16, torch.bfloat16)
    if not (narrow or (kind == torch.float32 and x.dim() and x.shape[dim] > _CHAIN)):
        return NotImplemented
    wide = x.to(torch.float32).movedim(dim, -1)
    return _sums_in_blocks(wide).movedim(-1, dim).to(kind)


def _sums_in_blocks(x: Tensor) -> Tensor:
    """The cumulative sums of the last dimension."""
    size = x.shape[-1] if x.dim() else 1
    if size <= _CHAIN:
        return _aten.cumsum.default(x, -1)
    count = -(-size // _CHAIN)
    blocks = functional.pad(x, [0, count * _CHAIN - size]).unflatten(-1, (count, _CHAIN))
    inside = _aten.cumsum.default(blocks, -1)
    before = functional.pad(_sums_in_blocks(inside[..., -1])[..., :-1], [1, 0])
    return (inside + before.unsqueeze(-1)).flatten(-2)[..., :size]


def determinant(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The determinants of [.., N, N], by elimination with the largest pivot of each column; torch-mlir takes the first.

    The two other results, which gradients are computed from, are not.
    """
    size = x.shape[-1]
    whole, result = x, torch.ones_like(x[..., 0, 0])
    for left in range(size, 0, -1):
        taken = torch.arange(left, device=x.device) == x[..., 0].abs().argmax(-1, keepdim=True)
        pivot = torch.where(taken.unsqueeze(-1), x, 0.0).sum(-2)
        result = result * pivot[..., 0] * torch.where(taken[..., 0], 1.0, -1.0)
        # The first row stands where the pivot was.
        rest = torch.where(taken.unsqueeze(-1), x[..., :1, :], x)[..., 1:, :]
        factors = rest[..., :1] / torch.where(pivot[..., :1] == 0, 1.0, pivot[..., :1]).unsqueeze(-1)
        x = (rest - factors * pivot.unsqueeze(-2))[..., 1:]
    return result, whole.clone(), torch.zeros(whole.shape[:-1], dtype=torch.int32, device=whole.device)


def _spread(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> Tensor:
    """The input of a transposed convolution with its zeros: between the elements, and around them."""
    for dim, (size, step) in enumerate(zip(x.shape[2:], stride, strict=True), 2):
        if step > 1:  # [.., s, ..] -> [.., s, step, ..] -> [.., s * step, ..], whose last step - 1 are too many
            x = functional.pad(x.unsqueeze(dim + 1), [0, 0] * (x.dim() - 1 - dim) + [0, step - 1])
            x = x.flatten(dim, dim + 1).narrow(dim, 0, (size - 1) * step + 1)
    pads: list[int] = []
    for dim in reversed(range(len(stride))):
        before = dilation[dim] * (weight.shape[2 + dim] - 1) - padding[dim]
        after = before + output_padding[dim]
        cut = max(-before, 0)
        x = x.narrow(2 + dim, cut, x.shape[2 + dim] - cut - max(-after, 0))
        pads += [max(before, 0), max(after, 0)]
    return functional.pad(x, pads)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """[Cin, Cout/g, ..] of a transposed convolution as the [Cout, Cin/g, ..] of the convolution that it is."""
    inputs, outputs, *window = weight.shape
    weight = weight.reshape(groups, inputs // groups, outputs, *window).transpose(1, 2)
    weight = weight.reshape(groups * outputs, inputs // groups, *window)
    return weight.flip(list(range(2, weight.dim())))


def _convolution_by_planes(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """A three-dimensional convolution as the sum of two-dimensional ones, one for each plane of the window.

    The planes of the result are a part of the batch meanwhile.
    """
    if padding[0]:
        x = functional.pad(x, [0, 0, 0, 0, padding[0], padding[0]])
    batch, channels, depth, *_ = x.shape
    planes = weight.shape[2]
    depth_out = (depth - dilation[0] * (planes - 1) - 1) // stride[0] + 1
    total: Tensor | None = None
    for plane in range(planes):
        first = plane * dilation[0]
        taken = x[:, :, first : first + (depth_out - 1) * stride[0] + 1 : stride[0]]
        taken = taken.transpose(1, 2).reshape(batch * depth_out, channels, *x.shape[3:])
        part = _aten.convolution.default(
            taken, weight[:, :, plane], bias, stride[1:], padding[1:], dilation[1:], False, [0, 0], groups
        )
        total = part if total is None else total + part
        bias = None
    assert total is not None
    return total.reshape(batch, depth_out, *total.shape[1:]).transpose(1, 2).contiguous()


def _for_each(value: Sequence[int], spatial: int) -> list[int]:
    """One number for each spatial dimension: PyTorch lets one stand for all."""
    return list(value) * spatial if len(value) == 1 else list(value)


def _with_batch(operation: Any, rank: int, otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
    """`operation` on a batch of one, where it is given none."""

    def decomposed(x: Tensor, *arguments: Any, **keywords: Any) -> Any:
        if x.dim() == rank:
            return otherwise(x, *arguments, **keywords) if otherwise else NotImplemented
        results = operation(x.unsqueeze(0), *arguments, **keywords)
        return results.squeeze(0) if isinstance(results, Tensor) else tuple(result.squeeze(0) for result in results)

    return decomposed
