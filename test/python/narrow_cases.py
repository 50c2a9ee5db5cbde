"""Single convolutions of 8-bit codes and of 16-bit floats: the PyTorch module of each, and what it must give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from convolution_modules import Case
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  (registers quantized_decomposed)
from torch.nn import functional

_OPS = torch.ops.quantized_decomposed


def bare(case: Case) -> Case:
    """The case with nothing around its convolution but an activation that quantization takes in."""
    activation = case.activation if case.activation in ("relu", "relu6") else "none"
    return replace(case, batch_norm=False, residual="", tail="", activation=activation)


class _Product(nn.Module):
    """The convolution itself, as a layer with a name."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        case = self.case
        if case.linear:
            return functional.linear(x, weight, bias)
        return functional.conv2d(x, weight, bias, case.stride, 0, case.dilation, case.groups)


class CodesCase(nn.Module):
    """quantize -> convolution of codes -> activation -> quantize; the result is its codes, as float32."""

    def __init__(self, case: Case, generator: torch.Generator) -> None:
        super().__init__()
        self.case = case
        self.conv = _Product(case)
        group_in = case.inputs // case.groups
        shape = (case.outputs, case.inputs) if case.linear else (case.outputs, group_in, *case.kernel)
        self.weight: Tensor
        self.register_buffer("weight", torch.randint(-127, 128, shape, dtype=torch.int8, generator=generator))
        self.scales: Tensor
        self.register_buffer("scales", 0.001 + 0.01 * torch.rand(case.outputs, generator=generator))
        self.register_buffer("zeros", torch.zeros(case.outputs, dtype=torch.int64))
        self.bias = nn.Parameter(torch.randn(case.outputs, generator=generator)) if case.bias else None
        # Post-ReLU inputs have a zero point of 0, others do not.
        self.zero = int(torch.randint(0, 2, (), generator=generator)) * int(
            torch.randint(1, 256, (), generator=generator)
        )
        self.out_zero = 0 if case.activation != "none" else int(torch.randint(0, 256, (), generator=generator))
        self.scale, self.out_scale = 0.02, float(np.float32(0.004 * max(1, np.prod(shape[1:])) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        case = self.case
        codes = _OPS.quantize_per_tensor.default(x, self.scale, self.zero, 0, 255, torch.uint8)
        x = _OPS.dequantize_per_tensor.default(codes, self.scale, self.zero, 0, 255, torch.uint8)
        weight = _OPS.dequantize_per_channel.default(
            self.weight,
            self.scales,
            self.zeros,
            0,
            -127,
            127,
            torch.int8,  # type: ignore[arg-type]
        )
        y = self._activated(self.conv(functional.pad(x, case.padding), weight, self.bias))
        codes = _OPS.quantize_per_tensor.default(y, self.out_scale, self.out_zero, 0, 255, torch.uint8)
        return _OPS.dequantize_per_tensor.default(codes, 1.0, 0, 0, 255, torch.uint8)

    def _activated(self, y: Tensor) -> Tensor:
        return {"none": lambda v: v, "relu": functional.relu, "relu6": functional.relu6}[self.case.activation](y)

    @staticmethod
    def layer(case: Case) -> str:
        """The importer's name of the convolution: a module's that is none of torch.nn, and the operation."""
        return "conv.mm" if case.linear else "conv.convolution"

    def reference(self, x: Tensor) -> np.ndarray:
        """The codes by integer arithmetic: sums are exact, and scaled by one float32 multiply-add per element."""
        codes = np.clip(np.rint(x.numpy() * np.float32(1 / self.scale)) + self.zero, 0, 255) - self.zero
        padded = functional.pad(torch.from_numpy(codes.astype(np.float64)), self.case.padding)
        sums = self.conv(padded, self.weight.double(), None).numpy()
        factor = 1 / self.out_scale
        scales = np.float32(self.scales.numpy().astype(np.float64) * self.scale * factor)
        bias = np.zeros(1) if self.bias is None else self.bias.detach().numpy().astype(np.float64)
        channel = (1, -1) if self.case.linear else (1, -1, 1, 1)
        # In double precision the product is exact, and rounded once with the sum, as by a fused multiply-add.
        exact = sums * scales.astype(np.float64).reshape(channel)
        scaled = (exact + np.float32(bias * factor).astype(np.float64).reshape(channel)).astype(np.float32)
        low = 0 if self.case.activation != "none" else -np.inf
        high = np.rint(6 / self.out_scale) if self.case.activation == "relu6" else np.inf
        return np.clip(np.clip(np.rint(scaled), low, high) + self.out_zero, 0, 255)


class RoundedCase(nn.Module):
    """A convolution of which both operands are rounded to bfloat16."""

    def __init__(self, case: Case, generator: torch.Generator) -> None:
        super().__init__()
        self.case = case
        if case.linear:
            self.conv: nn.Module = nn.Linear(case.inputs, case.outputs, bias=case.bias)
        else:
            self.conv = nn.Conv2d(
                case.inputs, case.outputs, case.kernel, case.stride, 0, case.dilation, case.groups, case.bias
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, self.case.padding))

    @staticmethod
    def layer(case: Case) -> str:
        """The importer's name of the convolution."""
        return "conv"

    def reference(self, x: Tensor) -> np.ndarray:
        """In double precision from the rounded operands."""
        with torch.no_grad():
            exact = self.double()
            exact.conv.weight.copy_(exact.conv.weight.bfloat16())  # type: ignore[operator, union-attr]
            return exact(x.bfloat16().double()).numpy()


class Modules(nn.Module):
    """Cases as one module: one input and one output for each."""

    def __init__(self, kind: type[CodesCase] | type[RoundedCase], cases: list[Case]) -> None:
        super().__init__()
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(len(cases))
        self.layer = kind.layer
        self.cases = nn.ModuleList(kind(case, generator) for case in cases)
        self.example_inputs = tuple(torch.randn(case.input_shape, generator=generator) for case in cases)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case, x in zip(self.cases, inputs, strict=True))
