"""What is measured as PyTorch modules, each made by a function whose name says what (`networks:resnet50_n32`).

Batch norms are folded, and weights are NumPy's seeded noise, scaled so that no layer's output grows or vanishes: a
machine without the model's weights makes them again.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.cases import BLOCK, TINY, Layer, grid_input, noise

TESTS = Path(__file__).resolve().parents[2] / "test" / "python"
# Convolutions of the grid in one module.
TOGETHER = 12
# Output channels of what follows a layer.
_FOLLOWING = 32


def __getattr__(name: str) -> Callable[[], nn.Module]:
    if name.startswith("conv_"):
        return lambda: layer(Layer.of(name))
    if name.startswith("grid_"):
        return lambda: grid(name)
    if "_n" in name and not name.startswith("_"):
        model, _, batch = name.rpartition("_n")
        return lambda: network(model.replace("_", "-"), int(batch))
    raise AttributeError(name)


# The layer that is measured in `layer`, by its name there.
MEASURED = "measured"


def layer(one: Layer) -> nn.Module:
    """A convolution with ReLU, sparse or not, and one behind it that is not measured: for its sake results are of the
    type that they have within a network, and codes are codes again."""
    pad = one.kernel // 2
    conv = nn.Conv2d(one.channels, one.filters, one.kernel, one.stride, pad, groups=one.groups)
    layers = {MEASURED: conv, "relu": nn.ReLU(), "following": nn.Conv2d(one.filters, _FOLLOWING, 1)}
    module = nn.Sequential(OrderedDict(layers)).eval()
    inputs = torch.from_numpy(noise((one.batch, one.channels, one.size, one.size), 0))
    fill(module, inputs[:1])
    if one.zeros:
        _prune(conv.weight, one.zeros)
    return _with_inputs(module, inputs)


def _prune(weight: torch.Tensor, percent: int) -> None:
    """Set so many of the blocks of output channels to zero: those of the least sums of magnitudes."""
    with torch.no_grad():
        blocks = weight.unflatten(0, (-1, BLOCK))
        sums = blocks.abs().sum(1)
        kept = torch.ones(sums.numel())
        kept[sums.flatten().argsort()[: round(sums.numel() * percent / 100)]] = 0
        blocks.mul_(kept.view(sums.shape).unsqueeze(1))


def network(name: str, batch: int) -> nn.Module:
    """A model of the zoo, with batch norms folded."""
    module, inputs = folded(name), images(name, batch)
    fill(module, inputs[:1])
    return _with_inputs(module, inputs)


def _with_inputs(module: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """`module` with the inputs that importing it takes."""
    vars(module)["example_inputs"] = inputs
    return module


def folded(name: str) -> nn.Module:
    """A model of the zoo whose batch norms are in its convolutions, or the tiny one."""
    from torch.fx.experimental.optimization import fuse

    from dlas_mlir import models

    if name == TINY:
        convolutions = nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()
    return fuse(models.build(name).eval()).eval()


def fill(module: nn.Module, *example: torch.Tensor) -> dict[str, float]:
    """Give each convolution and linear layer seeded weights, by its number, scaled by a power of two so that what it
    computes for `example` is of the size of 1; biases are small. Returns the scales by the layers' names."""
    scales: dict[str, float] = {}
    handles = []
    for number, (name, part) in enumerate(weighted(module)):
        hook = _filling(number, name, scales)
        handles.append(part.register_forward_pre_hook(hook))
    with torch.no_grad():
        module(*example)
    for handle in handles:
        handle.remove()
    return scales


def images(name: str, batch: int) -> torch.Tensor:
    """Seeded noise as images for a model: those of a small batch are the first of a large one's."""
    from dlas_mlir import models

    shape = (3, 16, 16) if name == TINY else models.lookup(name).input_shape[1:]
    return torch.from_numpy(np.stack([noise(tuple(shape), 0, image) for image in range(batch)]))


def weighted(module: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """The layers with weights, in their order in the module."""
    return [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]


def _filling(number: int, name: str, scales: dict[str, float]) -> Callable[..., None]:
    def fill_layer(part: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(part, nn.Conv2d | nn.Linear)
        fan_in = part.weight[0].numel()
        size = inputs[0].square().mean().sqrt().item() or 1.0
        scale = 2.0 ** -round(math.log2(size * math.sqrt(fan_in)))
        scales[name] = scale
        part.weight.copy_(torch.from_numpy(noise(tuple(part.weight.shape), 1, number)) * scale)
        if part.bias is not None:
            part.bias.copy_(torch.from_numpy(noise(tuple(part.bias.shape), 2, number)) * 0.125)

    return fill_layer


def grid(name: str) -> nn.Module:
    """A part of the convolutions that tests compare on CPUs."""
    module, inputs = grid_part(name)
    fill(module, *inputs)
    return _with_inputs(module, *inputs)


def grid_part(name: str) -> tuple[nn.Module, list[torch.Tensor]]:
    """The same before it is filled, and its inputs: as `cases.grid_input` has them."""
    cases, module = _grid()
    first = int(name.removeprefix("grid_")) * TOGETHER
    chosen = tuple(cases[first : first + TOGETHER])
    inputs = [torch.from_numpy(grid_input(case.input_shape, number)) for number, case in enumerate(chosen)]
    return module(chosen).eval(), inputs


def grid_modules() -> int:
    """How many modules the grid has."""
    return math.ceil(len(_grid()[0]) / TOGETHER)


@cache
def _grid() -> tuple[list, Callable[..., nn.Module]]:
    sys.path.insert(0, str(TESTS))
    try:
        from convolution_cases import grid as cases  # pyright: ignore[reportMissingImports]
        from convolution_modules import Cases  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(TESTS))
    return [case for case in cases() if not case.primitive.startswith("sparse")], Cases
