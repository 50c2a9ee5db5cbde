"""Small networks whose channels depend on one another in the ways that people's do; each function makes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Net(nn.Module):
    """Layers and parameters by name, and a function of them and the inputs."""

    example_inputs: tuple[Tensor, ...]
    tensor: Tensor

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            elif isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)
        self._function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(self, *inputs)


def _net(function: Callable[..., Any], shape: tuple[int, ...], **parts: Any) -> Net:
    model = Net(function, **parts)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.running_mean, 0, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.example_inputs = (torch.randn(shape, generator=torch.Generator().manual_seed(2)),)
    return model


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(shape) + 0.5)


def _chain(*layers: nn.Module, shape: tuple[int, ...] = (1, 3, 8, 8)) -> Net:
    return _net(lambda m, x: m.net(x), shape, net=nn.Sequential(*layers))


def inverted_residual() -> Net:
    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(x + m.narrow(m.deep(m.widen(x))))

    parts = {"stem": _conv(3, 16), "widen": _conv(16, 32, 1), "deep": _conv(32, 32, groups=32), "head": _head(16)}
    return _net(run, (1, 3, 8, 8), narrow=nn.Conv2d(32, 16, 1), **parts)


def skip_connections() -> Net:
    """A U-Net: concatenations, a transposed convolution, resizing."""

    def run(m: Any, x: Tensor) -> Tensor:
        a = m.a(x)
        b = m.b(a)
        up = F.interpolate(m.c(b), scale_factor=2.0, mode="bilinear", align_corners=False)
        return m.out(torch.cat([m.up(torch.cat([up, b], 1)), a], 1))

    parts = {"a": _conv(3, 16), "b": _conv(16, 16, 3, 2), "c": _conv(16, 32, 3, 2), "out": nn.Conv2d(32, 4, 1)}
    return _net(run, (1, 3, 8, 8), up=nn.ConvTranspose2d(48, 16, 2, 2), **parts)


def norms() -> Net:
    """Each with channels of its own, some without parameters."""
    norms = (
        nn.GroupNorm(4, 32),
        nn.InstanceNorm2d(32, affine=True),
        nn.InstanceNorm2d(32),
        nn.GroupNorm(2, 32, affine=False),
        nn.BatchNorm2d(32, affine=False),
        nn.LayerNorm([32, 8, 8]),
        nn.PReLU(32),
        nn.PReLU(),
    )
    layers = [layer for norm in norms for layer in (nn.Conv2d(32, 32, 3, padding=1), norm)]
    return _chain(nn.Conv2d(3, 32, 3, padding=1), *layers, _head(32))


def layer_scales() -> Net:
    """ConvNeXt's block, with a scale of each channel, a gate and a buffer."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x) * m.buffer
        y = m.norm(m.deep(x).permute(0, 2, 3, 1))
        y = m.gamma * m.narrow(F.gelu(m.widen(y)))
        return m.head(x * m.gate.sigmoid() + y.permute(0, 3, 1, 2))

    parts = {"stem": nn.Conv2d(3, 16, 3, padding=1), "deep": nn.Conv2d(16, 16, 3, padding=1, groups=16)}
    parts |= {"norm": nn.LayerNorm(16), "widen": nn.Linear(16, 32), "narrow": nn.Linear(32, 16), "head": _head(16)}
    gates = {"gamma": _parameter(16), "gate": _parameter(1, 16, 1, 1), "buffer": torch.rand(1, 16, 1, 1)}
    return _net(run, (1, 3, 8, 8), **parts, **gates)


def shuffled_halves() -> Net:
    """ShuffleNet's block: one half goes on, then the channels of both are mixed."""

    def run(m: Any, x: Tensor) -> Tensor:
        a, b = m.stem(x).chunk(2, 1)
        y = torch.cat([a, m.branch(b)], 1)
        n, c, h, w = y.shape
        return m.head(y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    return _net(run, (1, 3, 8, 8), stem=_conv(3, 32), branch=_conv(16, 16), head=nn.Conv2d(32, 4, 1))


def gated_shuffle() -> Net:
    """NAFNet: halves are multiplied, channels become pixels; then gated linear units."""

    def run(m: Any, x: Tensor) -> Tensor:
        left, right = m.a(x).chunk(2, 1)
        y = F.glu(m.b(F.pixel_shuffle(left * right, 2)), 1)
        return m.out(F.pixel_unshuffle(F.channel_shuffle(m.grouped(y), 2), 2))

    parts = {"a": _conv(3, 64), "b": nn.Conv2d(8, 32, 1), "grouped": nn.Conv2d(16, 16, 1, groups=2)}
    return _net(run, (1, 3, 8, 8), out=nn.Conv2d(64, 4, 1), **parts)


def attention() -> Net:
    """Heads of a size that is counted from the projections, positions, a class token; attention of PyTorch's own."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([m.token.expand(len(x), -1, -1), x], 1) + m.position
        q, k, v = (layer(x).view(len(x), x.shape[1], 4, -1).transpose(1, 2) for layer in (m.query, m.key, m.value))
        x = x + m.project(((q @ k.transpose(-1, -2) * 0.3).softmax(-1) @ v).transpose(1, 2).flatten(2))
        y = m.known(x)
        return m.head((y + m.own(y, y, y, need_weights=False)[0])[:, 0])

    layers = {name: nn.Linear(32, 64) for name in ("query", "key", "value")} | {"project": nn.Linear(64, 32)}
    layers |= {"patches": nn.Conv2d(3, 32, 4, 4), "known": nn.Linear(32, 16), "head": nn.Linear(16, 10)}
    parameters = {"token": _parameter(1, 1, 32), "position": _parameter(1, 5, 32)}
    return _net(run, (1, 3, 8, 8), own=nn.MultiheadAttention(16, 4, batch_first=True), **layers, **parameters)


def heads() -> Net:
    """Results in a dictionary, the one in the middle defined first, and one that is no layer's."""

    def run(m: Any, x: Tensor) -> dict[str, Tensor]:
        y = m.neck(m.stem(x))
        return {
            "classes": m.classes(y).flatten(2),
            "boxes": m.boxes(y),
            "best": m.score(y).softmax(1).argmax(1).float(),
        }

    parts = {"classes": nn.Conv2d(16, 32, 1), "boxes": nn.Conv2d(16, 16, 1), "score": nn.Conv2d(16, 16, 1)}
    return _net(run, (1, 3, 8, 8), stem=_conv(3, 32), neck=_conv(32, 16), **parts)


def shared() -> Net:
    """A layer that runs twice and has two names, two layers with one weight, a linear layer of all positions."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.again(m.block(m.stem(x)))
        return m.head(torch.relu(m.second(torch.relu(m.back(torch.relu(m.first(x.flatten(1))))))))

    block, first, second = _conv(8, 8), nn.Linear(128, 16, bias=False), nn.Linear(128, 16, bias=False)
    second.weight = first.weight
    parts = {"block": block, "again": block, "first": first, "second": second, "back": nn.Linear(16, 128)}
    return _net(run, (1, 3, 4, 4), stem=_conv(3, 8), head=nn.Linear(16, 10), **parts)


def words() -> Net:
    """An embedding whose weight is the classifier's too."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.embedding(x)
        return (x + m.narrow(F.gelu(m.widen(m.norm(x))))) @ m.embedding.weight.t()

    parts = {"norm": nn.LayerNorm(32), "widen": nn.Linear(32, 64), "narrow": nn.Linear(64, 32)}
    model = _net(run, (1, 7), embedding=nn.Embedding(50, 32), **parts)
    model.example_inputs = (torch.arange(7)[None] * 3,)
    return model


def recurrent() -> Net:
    def run(m: Any, x: Tensor) -> Tensor:
        return m.head(m.lstm(m.last(m.stem(x)).mean(2).transpose(1, 2))[0][:, -1])

    lstm = nn.LSTM(16, 8, batch_first=True)
    return _net(run, (1, 3, 8, 8), stem=_conv(3, 32), last=_conv(32, 16), lstm=lstm, head=nn.Linear(8, 10))


def knows_sizes() -> Net:
    """What the trace does not show: a shape, a slice, a scale and a branch that are made of numbers in the code."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.free(x)
        a, b, c, d = m.viewed(x), m.sliced(x), m.scaled(x), m.branched(x)
        d = torch.relu(d + 1) if d.shape[1] >= 16 else d
        a = a.view(-1, 2, 8, 8, 8).sum(1)
        return m.head(torch.cat([a, d, c * c.shape[1] ** -0.5], 1)) + b[:, :8].mean(1, keepdim=True)

    parts = {name: _conv(16, 16) for name in ("viewed", "sliced", "scaled", "branched")}
    return _net(run, (1, 3, 8, 8), free=_conv(3, 16), head=nn.Conv2d(40, 4, 1), **parts)


def counts() -> Net:
    """Buffers: one that its forward updates, one that no checkpoint holds; and a tensor that is none."""

    def run(m: Any, x: Tensor) -> Tensor:
        y = m.updated(x)
        m.seen.mul_(0.9).add_(0.1 * y.mean((2, 3), keepdim=True))
        return m.head(torch.cat([y - m.seen, m.scaled(x) * m.scale, m.constant(x) * m.tensor, m.free(x)], 1))

    parts = {name: _conv(3, 16) for name in ("updated", "scaled", "constant", "free")}
    model = _net(run, (1, 3, 8, 8), seen=torch.zeros(1, 16, 1, 1), head=nn.Conv2d(64, 4, 1), **parts)
    model.register_buffer("scale", torch.rand(1, 16, 1, 1), persistent=False)
    model.tensor = torch.rand(1, 16, 1, 1)
    return model


def nothing_left() -> Net:
    return _chain(nn.Conv2d(3, 32, 3))
