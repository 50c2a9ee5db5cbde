"""Single convolutions with what stands around them, as values and as PyTorch modules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]

ACTIVATIONS = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard-swish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "leaky-relu": lambda: nn.LeakyReLU(0.1),
}
RESIDUALS = ("", "input", "convolution")
TAILS = (
    "",
    "padded-conv",
    "two-readers",
    "max-pool",
    "avg-pool",
    "avg-pool-valid",
    "concat",
    "dense-block",
    "squeeze-excite",
    "mean",
    "classifier",
)


@dataclass(frozen=True)
class Case:
    """One convolution with what stands around it. Pairs are (height, width); padding is (left, right, top, bottom).

    A kernel of (0, 0) is a linear layer on [batch, inputs]. `zeros` is the share of the weights that are zero, together
    with those of `block` output channels in succession.
    """

    primitive: str
    inputs: int
    outputs: int
    kernel: Pair = (3, 3)
    size: Pair = (13, 15)
    groups: int = 1
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    batch: int = 1
    bias: bool = True
    batch_norm: bool = False
    activation: str = "none"
    residual: str = ""
    tail: str = ""
    zeros: float = 0.0
    block: int = 1

    @property
    def linear(self) -> bool:
        return self.kernel == (0, 0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, self.inputs) if self.linear else (self.batch, self.inputs, *self.size)

    @property
    def padded_size(self) -> Pair:
        """The image with its padding."""
        left, right, top, bottom = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right

    @property
    def output_size(self) -> Pair:
        """The convolution's output; a size below 1 means that the kernel does not fit."""
        height, width = (
            (self.padded_size[i] - self.dilation[i] * (self.kernel[i] - 1) - 1) // self.stride[i] + 1 for i in range(2)
        )
        return height, width

    @property
    def macs(self) -> int:
        if self.linear:
            return self.batch * self.inputs * self.outputs
        (oh, ow), (r, s) = self.output_size, self.kernel
        return self.batch * oh * ow * self.outputs * (self.inputs // self.groups) * r * s

    def __str__(self) -> str:
        """The case as a line that makes it again: only what is not the default."""
        defaults = {name: f.default for name, f in self.__dataclass_fields__.items()}
        values = {name: getattr(self, name) for name in defaults}
        shown = [f"{name}={value!r}" for name, value in values.items() if value != defaults[name]]
        return f"Case({', '.join(shown)})"


class CaseModule(nn.Module):
    """The convolution under test is `conv`; everything else has other names."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        k = case.outputs
        if case.linear:
            self.conv: nn.Module = nn.Linear(case.inputs, k, bias=case.bias)
        else:
            self.conv = _convolution(case)
        if case.zeros:
            _prune(self.conv, case)
        self.norm = _batch_norm(k) if case.batch_norm else nn.Identity()
        self.activation = ACTIVATIONS[case.activation]()
        if case.residual == "convolution":
            self.other = _convolution(replace(case, bias=False))
        self.tail = _TAILS[case.tail](k)

    def forward(self, x: Tensor) -> Tensor:
        case = self.case
        padded = functional.pad(x, case.padding) if any(case.padding) else x
        y = self.norm(self.conv(padded))
        if case.residual == "convolution":
            y = y + self.other(padded)
        elif case.residual == "input":
            y = y + x
        return self.tail(self.activation(y))


def _convolution(case: Case) -> nn.Conv2d:
    return nn.Conv2d(
        case.inputs,
        case.outputs,
        case.kernel,
        stride=case.stride,
        dilation=case.dilation,
        groups=case.groups,
        bias=case.bias,
    )


def _prune(layer: nn.Module, case: Case) -> None:
    with torch.no_grad():
        weight = layer.get_parameter("weight")
        kept = torch.rand(weight.shape[0] // case.block, *weight.shape[1:]) >= case.zeros
        weight.mul_(kept.repeat_interleave(case.block, 0))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    for tensor in (norm.running_mean, norm.bias):
        nn.init.normal_(tensor)  # type: ignore[arg-type]
    for tensor in (norm.running_var, norm.weight):
        nn.init.uniform_(tensor, 0.5, 2.0)  # type: ignore[arg-type]
    return norm


class _TwoReaders(nn.Module):
    """A value that is read bare, and with two different paddings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, 8, 5, padding=2)
        self.narrow = nn.Conv2d(channels, 8, 3, padding=1)
        self.bare = nn.Conv2d(channels, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x) + self.narrow(x) * self.bare(x)


class _Concat(nn.Module):
    """Channels beside each other: a convolution, a pooling and the value itself, then a convolution of them all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Conv2d(channels, channels, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.join = nn.Conv2d(3 * channels, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([self.branch(x), x, self.pool(x)], 1))


class _DenseBlock(nn.Module):
    """Each convolution reads all that was computed before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, padding=1)
        self.second = nn.Conv2d(channels + 16, 16, 3, padding=1)
        self.last = nn.Conv2d(channels + 32, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.first(x))
        second = functional.relu(self.second(torch.cat([x, first], 1)))
        return self.last(torch.cat([x, first, second], 1))


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 6, 1)
        self.excite = nn.Conv2d(6, channels, 1)
        self.project = nn.Conv2d(channels, 10, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        gate = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))
        return self.project(x * torch.sigmoid(self.excite(gate)))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


_TAILS = {
    "": lambda _: nn.Identity(),
    "padded-conv": lambda k: nn.Conv2d(k, 20, (3, 5), padding=(1, 2), stride=(1, 2)),
    "two-readers": _TwoReaders,
    "max-pool": lambda _: nn.MaxPool2d(3, 2, 1),
    "avg-pool": lambda _: nn.AvgPool2d(3, 2, 1),
    "avg-pool-valid": lambda _: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "concat": _Concat,
    "dense-block": _DenseBlock,
    "squeeze-excite": _SqueezeExcite,
    "mean": lambda _: _Mean(),
    "classifier": lambda k: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(k, 10)),
}


class Cases(nn.Module):
    """Many cases as one module: one input and one output for each."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cases = nn.ModuleList(CaseModule(case) for case in cases)
        self.example_inputs = tuple(torch.randn(case.input_shape) for case in cases)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case, x in zip(self.cases, inputs, strict=True))
