"""The grid of single convolutions: those that are known to be awkward, and those that are drawn."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache

from convolution_modules import ACTIVATIONS, RESIDUALS, TAILS, Case

from dlas_mlir.codegen.target import AnyTarget, Target
from dlas_mlir.ir.shape import ConvShape
from dlas_mlir.passes import primitives

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
    (("nchw", "nhwgc", "gemm", "grouped-spatial-pack"), {"inputs": 72, "outputs": 72, "groups": 3, "stride": (2, 2)}),
    (("nchw", "gemm", "grouped-spatial-pack"), {"inputs": 48, "outputs": 24, "groups": 2}),
    (("direct", "nchw", "nhwgc", "gemm", "grouped-spatial-pack"), {"inputs": 12, "outputs": 64, "groups": 4}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 16, "outputs": 64, "groups": 2}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 48, "outputs": 96, "groups": 12, "stride": (2, 1)}),
    (("direct", "nchw", "gemm", "grouped-spatial-pack"), {"inputs": 40, "outputs": 64, "groups": 2, "batch": 2}),
    (("nchw", "grouped-spatial-pack"), {"inputs": 6, "outputs": 10, "groups": 2}),
    (("nchw", "grouped-spatial-pack"), {"inputs": 21, "outputs": 49, "groups": 7, "size": (7, 7)}),
    # Depthwise, with multipliers, and far more lanes than channels.
    (("direct", "nchw", "depthwise", "grouped-spatial-pack"), {"inputs": 5, "outputs": 5, "groups": 5}),
    (("direct", "nchw", "nhwgc", "depthwise", "grouped-spatial-pack"), {"inputs": 33, "outputs": 66, "groups": 33}),
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
        case "nhwgc":
            return case.groups > 1
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
            found = primitives.parse(other).applies(shape_of(case, integers), _target(lanes))
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
_COUNTS |= {"winograd{tile=2}": 10}
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
