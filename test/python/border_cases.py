"""Small models whose inputs, outputs, state or operations are special, for one process: each is checked as it is run.

`CASES` maps a name to a function that gives a module and the arguments that it is called with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop


class Call(nn.Module):
    """A function of the inputs, with layers and buffers that it may use."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)
        self._function = function

    def forward(self, *inputs: Any) -> Any:
        return self._function(self, *inputs)


def _count(m: Any, x: Tensor) -> Tensor:
    m.calls += 1
    return m.linear(x) * m.calls


def _no_grad(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.linear(x)
    return y * 2


def _in_place(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x).clone()
    y[:, :2] = 0
    y[:, 2:4, ::2, 1::3] += 1
    y[..., -1].mul_(2)
    return F.relu_(y).roll((1, -2), (2, 3))


def _masked(m: Any, x: Tensor, rows: Tensor, row: Tensor) -> Tensor:
    x = x.clone()
    x[x > 0.5] = 0
    x[rows] = row
    x[..., 0][~rows] = 7
    return x


def _mask_values(m: Any, x: Tensor, rows: Tensor, each: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
    return (
        x.index_put((rows,), each),
        x.index_put((rows,), each[:, :1], accumulate=True),
        torch.ops.aten.index_put(x.permute(2, 0, 1), (None, rows), each.T),
        x.index_put((rows, columns), each[:, 0]),
    )


def _indexed(m: Any, x: Tensor, v: Tensor, at: Tensor, only: Tensor) -> tuple[Tensor, ...]:
    """Indices from the end, of two types, and with a mask that lets one through."""
    return (
        x[at],
        x[at, at.int()],
        x.index_put((at,), v),
        torch.ops.aten.index_put(x, (None, at), v[:1, :3], accumulate=True),
        x.index_put((at, at.int()), v[0, :3]),
        x.index_put((only, at), v[0, :3]),
    )


def _until(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    start = torch.tensor(0)
    return (
        *while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2 + 1), (start, x)),
        *while_loop(lambda i, x: i < 0, lambda i, x: (i + 1, x * 2 + 1), (start, x)),
        *while_loop(lambda i, x: x.abs().sum() < 1000, lambda i, x: (i + 1, x * 2), (start, x)),
    )


def _bits(m: Any, x: Tensor, i: Tensor) -> tuple[Tensor, ...]:
    half, brain = x.half(), x.bfloat16()
    again = (x.view(torch.int32) ^ 0).view(torch.float32)
    wide = x.view(torch.int64), half.view(torch.int32), brain.view(torch.int64), i.to(torch.int8).view(torch.int16)
    same = x.view(torch.int32), half.view(torch.int16), brain.view(torch.int16), i.to(torch.uint8).view(torch.int8)
    narrow = x.view(torch.int16), i.view(torch.uint8), i.view(torch.int32), half.view(torch.int8)
    bits = (x > 0).view(torch.uint8), i.view(torch.bool), x[0, 0].view(torch.int32)
    return again, again.view(torch.int8).view(torch.float32), *wide, *same, *narrow, *bits


def _signs(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    halves = x[:6].half(), x[:6].bfloat16()
    signs = [value.signbit() for value in (x, *halves, torch.arange(-2, 2))]
    return *signs, torch.copysign(x[:4], x.flip(0)[:4]), torch.copysign(x[:4], -0.0), torch.copysign(x[:4].half(), 2)


def _powers(m: Any, x: Tensor, exponents: Tensor) -> tuple[Tensor, ...]:
    small = x.to(torch.int8)
    positive = exponents.abs().int()
    constant = x**0, x**5, x.int().square(), small**3, x.to(torch.uint8) ** 2
    return *constant, 3**positive, x**exponents, x.int() ** exponents.int(), small ** exponents.to(torch.int8)


def _whole(m: Any, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Quotients, rests and the like that no float32 holds."""
    results: list[Tensor] = []
    for a, b in ((x, y), (x.int(), y.int()), (x.to(torch.int8), y.to(torch.int8))):
        for mode in ("floor", "trunc"):
            results += [torch.div(a, b, rounding_mode=mode), torch.div(a, -7, rounding_mode=mode)]
        results += [-a, a // b, a % b, torch.fmod(a, b), torch.fmod(a, -3), a // 3, a % -3]
        results += [a | 3, a ^ -3, a & 3, 5 ^ a, a << 2, a >> 3, a.median()]
    return *results, x.int() ** 1.5


def _float_powers(m: Any, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    constant = x**5, x**-2, x**-3, x**0, x.abs() ** 1.5, x.abs() ** 0.5, x**2.0, (-1.5) ** y, 2**y
    rests = torch.fmod(x * 1e8, 3), torch.fmod(x, y), x % y, 3 % x
    known = torch.full((), 2.0), torch.full((), -1.5)
    compared = [torch.stack((each < 0, each > 1, each >= -1, each == 2)) for each in known]
    return *constant, x**y, x.half() ** 2, x.half() ** 3, *rests, *compared


def _rare(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    whole = (x * 1000).int()
    return (
        (x.abs() + 1e-3).log10(),
        (whole.abs() + 1).log10(),
        *x.kthvalue(2, 0),
        *x.kthvalue(3, keepdim=True),
        whole.kthvalue(1).values,
        x.median(),
        (x / 0.0 * 0.0).median(),
        torch.xlogy(x.abs(), 3),
        torch.ops.aten._trilinear(x, x, x, [0], [0], [0], [1], 0),
    )


class Unsaved(nn.Module):
    """A buffer that is in no state_dict, as those of rotary embeddings are."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(4.0), persistent=False)
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x * self.table, x, self.weight.detach()


def _floats(*shape: int) -> Tensor:
    return torch.randn(shape)


def _codes(dtype: torch.dtype) -> Tensor:
    values = torch.arange(-128, 128, 7) if dtype.is_signed else torch.arange(0, 256, 7)
    return values.to(dtype)


def _small_integers(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    return x * 3, x * x, x // 3, x % 3, x + 100, (x.float() / 2).to(x.dtype)


def _pixels(m: Any, x: Tensor) -> tuple[Tensor, ...]:
    """What torch-mlir takes for int8 in uint8, or dies of in both."""
    image = x[:9].reshape(3, 3)
    return (
        *(x / 255, x * 0.5, x + 1.5, x - 3, x % 7, x // -2, x % -2, x.abs(), x.clamp(-3, 100), x.bitwise_not()),
        *(x < 100, x < -2, x > 1.5, x == 3, x.any(), x.all(), x.sum(), x[:2].prod(), x.argmax(), x.float().mean()),
        *(x.sort().values, *x.topk(3), *x.max(0), x.amin(), image.tril().trace(), F.pad(x, (1, 2), value=3)),
        *(torch.maximum(x, x.flip(0)), torch.where(x > 3, x, 1), x.masked_fill(x > 100, 2), x.cumsum(0)),
        x.scatter_reduce(0, torch.tensor([1, 1, 2]), x[3:6], "amax"),
        F.conv1d(x[:9].reshape(1, 1, 9), x[:3].reshape(1, 1, 3)),
    )


def _layers(layer: Callable[[], nn.Module], *shape: int) -> tuple[nn.Module, tuple[Any, ...]]:
    return layer(), (_floats(*shape),)


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {
    "unsigned codes": lambda: (
        Call(lambda m, x: ((x.float() + 0.5).to(torch.uint8), x, x.float() / 255)),
        (_codes(torch.uint8).reshape(1, 37),),
    ),
    "int8": lambda: (Call(_small_integers), (_codes(torch.int8),)),
    "int16": lambda: (Call(_small_integers), (_codes(torch.int8).to(torch.int16) * 100,)),
    "uint8": lambda: (Call(_small_integers), (_codes(torch.uint8),)),
    "pixels": lambda: (Call(_pixels), (_codes(torch.uint8),)),
    "pixels with a sign": lambda: (Call(_pixels), (_codes(torch.int8),)),
    "int8 product": lambda: (Call(lambda m, x: x @ x), (_codes(torch.int8)[:36].reshape(6, 6),)),
    "bfloat16 in and out": lambda: (
        Call(lambda m, x: m.linear(x), linear=nn.Linear(4, 3)).bfloat16(),
        (_floats(2, 4).bfloat16(),),
    ),
    "float16 in and out": lambda: (
        Call(lambda m, x: m.linear(x), linear=nn.Linear(4, 3)).half(),
        (_floats(2, 4).half(),),
    ),
    "rank 0": lambda: (
        Call(lambda m, x, t, i: (x * t + i, t + 1, i)),
        (_floats(2, 3), torch.tensor(0.5), torch.tensor(3)),
    ),
    "updated buffer": lambda: (Call(_count, linear=nn.Linear(4, 3), calls=torch.zeros(())), (_floats(2, 4),)),
    "overwritten input": lambda: (Call(lambda m, x, y: x.copy_(y) + 1), (_floats(2, 4), _floats(2, 4))),
    "unsaved buffer": lambda: (Unsaved(), (_floats(2, 4),)),
    "named tuple": lambda: (Call(lambda m, x: torch.sort(x, dim=1)), (_floats(2, 4),)),
    "nothing among the outputs": lambda: (
        Call(lambda m, x: {"a": x + 1, "b": None, "c": 3, "d": [x * 2]}),
        (_floats(2, 4),),
    ),
    "numbers among the inputs": lambda: (
        Call(lambda m, x, k, pair: x * k + pair[0] * pair[1]),
        (_floats(2, 4), 3, (_floats(4), 0.5)),
    ),
    "no_grad": lambda: (Call(_no_grad, linear=nn.Linear(4, 3)), (_floats(2, 4),)),
    "fake quantization": lambda: (
        Call(lambda m, x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)),
        (_floats(6, 4),),
    ),
    "fake quantization of channels": lambda: (
        Call(
            lambda m, x: torch.fake_quantize_per_channel_affine(x, m.scale, m.zero, 1, 0, 15),
            scale=torch.tensor([0.1, 0.25, 0.5]),
            zero=torch.tensor([3, 8, 0], dtype=torch.int32),
        ),
        (_floats(6, 3, 4),),
    ),
    "in place": lambda: (Call(_in_place, conv=nn.Conv2d(3, 6, 3)), (_floats(1, 3, 9, 10),)),
    "masks": lambda: (Call(_masked), (_floats(2, 4, 5), _floats(2, 4) > 0, _floats(5))),
    "values for masks": lambda: (
        Call(_mask_values),
        (
            _floats(2, 4, 5),
            torch.tensor([[True, False, False, True], [False, True, False, False]]),
            _floats(3, 5),
            torch.tensor([4, 0, 2]),
        ),
    ),
    "indices from the end": lambda: (
        Call(_indexed),
        (_floats(4, 5), _floats(3, 5), torch.tensor([-1, 0, -2]), torch.tensor([False, True, False, False])),
    ),
    "loops": lambda: (Call(_until), (_floats(2, 3),)),
    "bits": lambda: (Call(_bits), (_floats(3, 8), torch.arange(-2, 6).reshape(2, 4) * 123456789123)),
    "signs": lambda: (
        Call(_signs),
        (torch.tensor([0.0, -0.0, 1.5, -2.5, torch.inf, -torch.inf, torch.nan, 3e-42]),),
    ),
    "powers of whole numbers": lambda: (
        Call(_powers),
        (torch.tensor([[0, 1, -1, 2, -3, 5, -128]]), torch.tensor([[0], [1], [2], [5], [13], [-1], [-2], [40]])),
    ),
    "whole numbers": lambda: (
        Call(_whole),
        (
            torch.tensor([0, 1, -1, 7, -7, 2**53 + 1, -(2**62) - 777, 16777217, -16777217]),
            torch.tensor([3, -3, 2, 2, -2, 3, 1000003, 1, -1]),
        ),
    ),
    "powers": lambda: (
        Call(_float_powers),
        (torch.tensor([1.0, -1.0, 0.5, -2.5, 3.0, -1.25, 10.0]), torch.tensor([2.0, 3.0, 0.5, -2.0, 0.0, -3.0, 7.0])),
    ),
    "rare operations": lambda: (Call(_rare), (_floats(5, 7),)),
    "a sum of many": lambda: (Call(lambda m, *inputs: sum(inputs)), tuple(_floats(2, 3) for _ in range(70))),
    "roll": lambda: (Call(lambda m, x: (x.roll((1, -2), (2, 3)), x.roll(3), x.roll(7, 0))), (_floats(2, 4, 6, 5),)),
    "adaptive max pool": lambda: _layers(lambda: nn.AdaptiveMaxPool2d((7, 5)), 1, 3, 10, 16),
    "no inputs": lambda: (Call(lambda m: torch.arange(3) * 2), ()),
    "not finite": lambda: (
        Call(lambda m, x: (x.isfinite(), x.isinf(), x.isnan(), torch.isclose(x, x + 1e-9), x)),
        (torch.tensor([0.0, torch.inf, -torch.inf, torch.nan, 3e38]),),
    ),
    "whole numbers between others": lambda: (Call(lambda m, x: x.clamp(-1.5, 2.5)), (torch.arange(-3, 5),)),
    "weights of rank 0 from a number": lambda: (
        Call(lambda m, x, y: torch.lerp(x, y, 0.5)),
        (_floats(5, 3), _floats(5, 3)),
    ),
    "time first": lambda: (
        Call(lambda m, x: torch.conv_tbc(x, m.weight, m.bias, 1), weight=_floats(3, 4, 5), bias=_floats(5)),
        (_floats(6, 2, 4),),
    ),
    "transposed groups": lambda: _layers(lambda: nn.ConvTranspose2d(8, 12, (4, 3), 2, 1, 1, groups=4), 1, 8, 5, 6),
    "transposed depthwise": lambda: _layers(lambda: nn.ConvTranspose2d(6, 6, 3, (2, 1), 3, groups=6), 1, 6, 5, 9),
    "transposed in one dimension": lambda: _layers(lambda: nn.ConvTranspose1d(8, 4, 4, 2, 1, groups=2), 2, 8, 9),
    "transposed in three dimensions": lambda: _layers(lambda: nn.ConvTranspose3d(4, 6, 3, 2, groups=2), 1, 4, 3, 4, 3),
    "transposed side by side": lambda: _layers(lambda: nn.ConvTranspose2d(20, 18, (2, 3), (2, 3)), 2, 20, 5, 4),
    "transposed side by side, one dimension": lambda: _layers(
        lambda: nn.ConvTranspose1d(8, 6, 4, 4, bias=False), 2, 8, 5
    ),
    "groups in three dimensions": lambda: _layers(
        lambda: nn.Conv3d(8, 12, 3, (1, 2, 1), (1, 0, 1), (1, 1, 2), groups=4), 2, 8, 4, 7, 7
    ),
    "depthwise in three dimensions": lambda: _layers(
        lambda: nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0), groups=6), 1, 6, 4, 5, 5
    ),
    "cumulative sums": lambda: (
        Call(lambda m, x, y, z: (x.cumsum(0), y.cumsum(1), y.cumsum(0), z.cumsum(0), y.half().cumsum(1))),
        (100 + torch.rand(100_003), 100 + torch.rand(2, 777, 3), torch.arange(600)),
    ),
    "determinants": lambda: (
        Call(lambda m, x, y: (torch.linalg.det(x), y.det())),
        (
            _floats(2, 5, 5).index_fill(1, torch.tensor([0]), 0.0) + torch.eye(5).flip(0),
            torch.tensor([[0.0, 1], [2, 3]]),
        ),
    ),
    "lists of constants": lambda: (
        Call(
            lambda m, x: (
                x[:, m.places],
                torch.cat([x, m.rows]),
                torch.stack([m.rows, x * 2]),
                torch.cat([m.rows] * 2),
            ),
            places=torch.tensor([3, 0, 2]),
            rows=_floats(2, 4),
        ),
        (_floats(2, 4),),
    ),
    "unbatched": lambda: _layers(lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2)), 3, 9, 9),
}
