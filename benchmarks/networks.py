"""Networks that are not in the zoo: small kernels on large images, and concatenations, which the zoo has little of.

python -m benchmarks.end_to_end --models benchmarks.networks:squeezenet benchmarks.networks:unet \
    benchmarks.networks:unet_nearest benchmarks.networks:unet_bilinear
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    """1x1 to few channels, then 1x1 and 3x3 beside each other, concatenated."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


def squeezenet() -> nn.Module:
    """SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360), for an image of 224 x 224."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    features = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip
    head = [nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _with_input(nn.Sequential(features, *head), 224)


class UNet(nn.Module):
    """Down by max pooling and up by transposed convolutions or, with a `mode` of `nn.Upsample`, by that, with what was
    there before concatenated; batch norms."""

    def __init__(self, width: int, depth: int, classes: int, mode: str | None = None) -> None:
        super().__init__()
        sizes = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_double(before, after) for before, after in zip([3, *sizes], sizes, strict=False))
        if mode is None:
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * size, size, 2, stride=2) for size in sizes[:-1])
        else:
            self.up = nn.ModuleList(nn.Upsample(scale_factor=2, mode=mode) for _ in sizes[:-1])
        more = 2 if mode is None else 3
        self.joined = nn.ModuleList(_double(more * size, size) for size in sizes[:-1])
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down:
            x = block(nn.functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for up, block in zip(reversed(self.up), reversed(self.joined), strict=True):
            x = block(torch.cat([kept.pop(), up(x)], 1))
        return self.last(x)


def unet() -> nn.Module:
    """A U-Net (Ronneberger et al., arXiv 1505.04597) of 16 to 256 channels, for an image of 256 x 256."""
    return _with_input(UNet(width=16, depth=4, classes=2), 256)


def unet_nearest() -> nn.Module:
    """The same, that repeats pixels for its way up."""
    return _with_input(UNet(width=16, depth=4, classes=2, mode="nearest"), 256)


def unet_bilinear() -> nn.Module:
    """The same, that interpolates for its way up."""
    return _with_input(UNet(width=16, depth=4, classes=2, mode="bilinear"), 256)


def _double(before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _with_input(module: nn.Module, size: int) -> nn.Module:
    """Weights and an input that keep the scale of the signal; in eval mode."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    module.example_inputs = (torch.randn(1, 3, size, size),)  # type: ignore[assignment]
    return module.eval()
