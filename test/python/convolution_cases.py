"""The grid of single convolutions: what each case is, and the PyTorch module that it stands for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlas_mlir.codegen.target import AnyTarget, Target
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes import primitives

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


# Shapes that are known to be awkward, each for the primitives that can do it.
_DENSE = ("direct", "nchw", "gemm", "spatial-pack", "sparse-direct")
SPARSE = ("sparse-direct", "sparse-gemm", "sparse-spatial-pack")
_NASTY: tuple[tuple[tuple[str, ...], dict], ...] = (
    # One pixel in, one pixel out; a kernel as large as the image.
    (_DENSE, {"inputs": 33, "outputs": 17, "kernel": (1, 1), "size": (1, 1), "activation": "relu"}),
    (_DENSE, {"inputs": 5, "outputs": 40, "kernel": (7, 7), "size": (7, 7)}),
    # The last row and column of the input are not read.
    (_DENSE, {"inputs": 16, "outputs": 24, "size": (8, 10), "stride": (3, 3)}),
    (_DENSE, {"inputs": 17, "outputs": 16, "size": (2, 2), "stride": (2, 2), "padding": (1, 1, 1, 1)}),
    # Fewer columns than any register tile, and one column.
    (_DENSE, {"inputs": 24, "outputs": 33, "size": (23, 3), "kernel": (5, 2)}),
    (_DENSE, {"inputs": 100, "outputs": 3, "size": (5, 9), "kernel": (1, 3), "batch": 3}),
    # A 1x1 convolution with strides, unequal ones too.
    (_DENSE, {"inputs": 40, "outputs": 48, "kernel": (1, 1), "size": (13, 14), "stride": (2, 2)}),
    (_DENSE, {"inputs": 32, "outputs": 32, "kernel": (1, 1), "size": (7, 9), "stride": (1, 3), "batch": 2}),
    # Strides with dilations and padding on one side only.
    (
        _DENSE,
        {"inputs": 3, "outputs": 32, "size": (15, 15), "stride": (2, 2), "dilation": (2, 2), "padding": (0, 1, 0, 1)},
    ),
    (_DENSE, {"inputs": 20, "outputs": 20, "dilation": (3, 2), "padding": (2, 3, 0, 4), "activation": "silu"}),
    # The stem of a network.
    (_DENSE, {"inputs": 3, "outputs": 24, "kernel": (7, 7), "size": (23, 23), "stride": (2, 2), "padding": (3,) * 4}),
    (_DENSE, {"inputs": 1, "outputs": 5, "size": (15, 13), "padding": (1,) * 4, "tail": "max-pool"}),
    # Pooling to one row, which does not read the last row.
    (_DENSE, {"inputs": 8, "outputs": 24, "size": (2, 4), "padding": (1,) * 4, "tail": "max-pool"}),
    (_DENSE, {"inputs": 8, "outputs": 24, "size": (2, 4), "padding": (1,) * 4, "tail": "avg-pool"}),
    # One output channel, and one input channel.
    (_DENSE, {"inputs": 16, "outputs": 1, "size": (9, 9), "padding": (1,) * 4}),
    # Groups: of whole blocks, within a block, straddling blocks, with other sizes in and out.
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 64, "outputs": 64, "groups": 2}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 64, "outputs": 64, "groups": 16}),
    (("nchw", "gemm", "grouped-spatial-pack"), {"inputs": 36, "outputs": 36, "groups": 3, "padding": (1,) * 4}),
    (("nchw", "gemm", "grouped-spatial-pack"), {"inputs": 60, "outputs": 60, "groups": 3}),
    (("nchw", "gemm", "grouped-spatial-pack"), {"inputs": 72, "outputs": 72, "groups": 3, "stride": (2, 2)}),
    (("nchw", "gemm", "grouped-spatial-pack"), {"inputs": 48, "outputs": 24, "groups": 2}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 12, "outputs": 64, "groups": 4}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 16, "outputs": 64, "groups": 2}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 48, "outputs": 96, "groups": 12, "stride": (2, 1)}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 40, "outputs": 64, "groups": 2, "batch": 2}),
    (("nchw", "grouped-spatial-pack"), {"inputs": 6, "outputs": 10, "groups": 2}),
    (("nchw", "grouped-spatial-pack"), {"inputs": 21, "outputs": 49, "groups": 7, "size": (7, 7)}),
    # Depthwise, with multipliers, and far more lanes than channels.
    (("direct", "nchw", "depthwise", "grouped-spatial-pack"), {"inputs": 5, "outputs": 5, "groups": 5}),
    (("direct", "nchw", "depthwise", "grouped-spatial-pack"), {"inputs": 33, "outputs": 66, "groups": 33}),
    (("direct", "nchw", "gemm", "depthwise", "grouped-spatial-pack"), {"inputs": 20, "outputs": 80, "groups": 20}),
    (("nchw", "grouped-spatial-pack"), {"inputs": 10, "outputs": 30, "groups": 10, "padding": (1,) * 4}),
    (
        ("direct", "nchw", "depthwise", "grouped-spatial-pack"),
        {"inputs": 40, "outputs": 40, "groups": 40, "kernel": (7, 7), "size": (7, 7), "padding": (3,) * 4},
    ),
    (
        ("direct", "nchw", "depthwise", "grouped-spatial-pack"),
        {"inputs": 32, "outputs": 32, "groups": 32, "size": (1, 1), "padding": (1,) * 4, "tail": "padded-conv"},
    ),
    # Sparse weights: hardly any left, and a block for all output channels.
    (SPARSE, {"inputs": 16, "outputs": 24, "padding": (1,) * 4, "activation": "relu", "zeros": 0.995}),
    (SPARSE, {"inputs": 17, "outputs": 8, "size": (7, 7), "padding": (1,) * 4, "tail": "two-readers", "block": 8}),
    (SPARSE, {"inputs": 24, "outputs": 12, "size": (9, 6), "groups": 3, "stride": (1, 2), "block": 4}),
    (("sparse-gemm",), {"inputs": 64, "outputs": 40, "kernel": (0, 0), "activation": "relu"}),
    (("sparse-gemm",), {"inputs": 33, "outputs": 24, "kernel": (0, 0), "batch": 3, "block": 8}),
    # Linear layers of odd sizes.
    (("gemm",), {"inputs": 1, "outputs": 1, "kernel": (0, 0)}),
    (("gemm",), {"inputs": 7, "outputs": 1000, "kernel": (0, 0), "batch": 3, "activation": "relu"}),
    (("gemm",), {"inputs": 33, "outputs": 17, "kernel": (0, 0), "batch": 2, "bias": False}),
    (("gemm",), {"inputs": 512, "outputs": 10, "kernel": (0, 0)}),
    (("gemm",), {"inputs": 100, "outputs": 100, "kernel": (0, 0), "activation": "sigmoid"}),
)

_KERNELS = ((1, 1), (2, 2), (3, 3), (3, 3), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (1, 3), (3, 1), (5, 2))
_STRIDES = ((1, 1), (1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (2, 1), (1, 3))
_DILATIONS = ((1, 1), (1, 1), (1, 1), (2, 2), (3, 3), (1, 2))
_CHANNELS = (3, 5, 8, 16, 17, 24, 32, 33, 40, 48, 64, 100)
_SIZES = ((7, 7), (13, 13), (15, 15), (23, 23), (7, 15), (13, 8), (14, 14), (6, 5))


@dataclass
class Grid:
    """Draws cases, the same ones for the same seed."""

    seed: int = 0
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def draw(self, primitive: str) -> Case:
        """One case that fits."""
        for _ in range(100_000):
            case = self._any(primitive)
            if min(case.output_size) >= 1 and case.macs <= 4_000_000 and applies(case, lanes=16):
                return case
        raise ValueError(f"{primitive} applies to none of many convolutions")

    def _any(self, primitive: str) -> Case:
        pick = self.random.choice
        kernel = pick(_KERNELS)
        inputs, outputs, groups = self._channels(primitive)
        padding = [self.random.randint(0, max(kernel) // 2 + 1) for _ in range(4)]
        if self.random.random() < 0.6:
            padding = [kernel[1] // 2] * 2 + [kernel[0] // 2] * 2
        case = Case(
            primitive,
            inputs,
            outputs,
            kernel,
            pick(_SIZES),
            groups,
            pick(_STRIDES),
            pick(_DILATIONS),
            (padding[0], padding[1], padding[2], padding[3]),
            batch=pick((1, 1, 1, 2, 3)),
            bias=pick((True, False)),
            batch_norm=pick((True, False, False)),
            activation=pick(tuple(ACTIVATIONS)),
            residual=pick(RESIDUALS),
            tail=pick(TAILS),
            **self._sparsity(primitive, outputs // groups),
        )
        keeps_shape = case.inputs == case.outputs and case.output_size == case.size
        return case if case.residual != "input" or keeps_shape else replace(case, residual="")

    def _sparsity(self, primitive: str, group: int) -> dict:
        if primitive not in SPARSE:
            return {}
        blocks = [block for block in (1, 1, 2, 4, 8) if group % block == 0]
        return {"zeros": self.random.choice((0.5, 0.8, 0.95)), "block": self.random.choice(blocks)}

    def _channels(self, primitive: str) -> tuple[int, int, int]:
        """Input channels, output channels and groups."""
        pick = self.random.choice
        grouped = primitive in ("depthwise", "grouped-spatial-pack") or (
            primitive != "spatial-pack" and self.random.random() < 0.25
        )
        if not grouped:
            inputs = pick(_CHANNELS)
            return inputs, pick((inputs, pick(_CHANNELS))), 1
        if primitive == "depthwise" or self.random.random() < 0.25:
            channels = pick(_CHANNELS)
            return channels, channels * pick((1, 1, 1, 2, 4)), channels
        groups = pick((2, 3, 4, 5, 8))
        size_in = pick((3, 4, 8, 12, 16, 20, 24))
        return groups * size_in, groups * pick((size_in, size_in, pick((4, 8, 12, 16, 20)))), groups


def _straddles(case: Case, lanes: int) -> bool:
    """Whether the groups of a block of output channels lie across blocks of input channels."""
    size_in, size_out = case.inputs // case.groups, case.outputs // case.groups
    if size_out % lanes == 0:
        return False
    return lanes % size_out != 0 or lanes % (lanes // size_out * size_in) != 0


def applies(case: Case, lanes: int, integers: bool = False) -> bool:
    """Whether the primitive says that it does such convolutions (of floats, or of `integers`), on a target with vectors
    of `lanes`."""
    group = case.outputs // case.groups
    depthwise = case.groups > 1 and case.groups == case.inputs
    match case.primitive:
        case "direct":
            return not case.linear and (case.groups == 1 or group % lanes == 0 or lanes % group == 0)
        case "nchw":
            return not case.linear
        case "gemm":
            return case.groups == 1 or group % 4 == 0
        case "spatial-pack":
            return not case.linear and case.groups == 1
        case "grouped-spatial-pack":
            return case.groups > 1 and (integers or not _straddles(case, lanes))
        case "depthwise":
            return depthwise and lanes % group == 0
        case "sparse-direct" | "sparse-spatial-pack":
            return not case.linear and not depthwise
        case "sparse-gemm":
            return not depthwise
        case other:
            found = primitives.primitive_class(other)().applies(shape_of(case, integers), _target(lanes))
            return not isinstance(found, str)


def shape_of(case: Case, integers: bool = False) -> ConvShape:
    """The algebra of a case's convolution, as a primitive is asked about it."""
    element, weights, total = ("i8", "i8", "i32") if integers else ("f32", "f32", "f32")
    return ConvShape(
        case.inputs,
        case.outputs,
        batch=case.batch,
        groups=case.groups,
        in_size=(1, 1) if case.linear else case.padded_size,
        out_size=(1, 1) if case.linear else case.output_size,
        kernel=(1, 1) if case.linear else case.kernel,
        strides=case.stride,
        dilations=case.dilation,
        linear=case.linear,
        element=element,
        weights=weights,
        accumulator=total,
    )


@cache
def _target(lanes: int) -> AnyTarget:
    figures = {"vector_bits": 32 * lanes, "vector_registers": 32}
    return Target.from_figures({"kind": "cpu", "name": f"lanes-{lanes}", **figures})


_COUNTS = {"direct": 35, "nchw": 30, "gemm": 35, "spatial-pack": 40, "grouped-spatial-pack": 40, "depthwise": 30}
_COUNTS |= {"sparse-direct": 20, "sparse-gemm": 18, "sparse-spatial-pack": 20}
# Of a primitive that stands nowhere in this file, which is asked itself what it does.
_NEW, _COUNT = tuple(name for name in primitives.names() if name not in _COUNTS), 20


def nasty() -> list[Case]:
    """The written list, for every primitive that each line names."""
    cases = [Case(primitive, **values) for names, values in _NASTY for primitive in (*names, *_NEW)]
    return [replace(case, zeros=case.zeros or 0.8) if case.primitive in SPARSE else case for case in cases]


def grid(lanes: int = 16, integers: bool = False) -> list[Case]:
    """All cases, the written ones and the drawn ones, that their primitives apply to."""
    cases = nasty()
    for primitive, count in {**_COUNTS, **dict.fromkeys(_NEW, _COUNT)}.items():
        generator = Grid(seed=len(primitive))
        cases += [generator.draw(primitive) for _ in range(count)]
    return [case for case in cases if applies(case, lanes, integers)]
