"""DenseNet161 for ImageNet, keys as torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

GROWTH = 48


class DenseLayer(nn.Module):
    """BN, ReLU, 1x1, BN, ReLU, 3x3: `GROWTH` new channels out of all the channels before."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, 4 * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * GROWTH)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))


class DenseBlock(nn.Module):
    """Layers that each see the concatenation of all before them."""

    def __init__(self, inputs: int, depth: int) -> None:
        super().__init__()
        for index in range(depth):
            self.add_module(f"denselayer{index + 1}", DenseLayer(inputs + index * GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.children():
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(inputs, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2, 2),
        )
    )


class DenseNet161(nn.Module):
    """[N, 3, 224, 224] to [N, 1000]."""

    DEPTHS = (6, 12, 36, 24)
    STEM = 96

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(3, self.STEM, 7, 2, 3, bias=False),
                norm0=nn.BatchNorm2d(self.STEM),
                relu0=nn.ReLU(inplace=True),
                pool0=nn.MaxPool2d(3, 2, 1),
            )
        )
        channels = self.STEM
        for index, depth in enumerate(self.DEPTHS):
            self.features.add_module(f"denseblock{index + 1}", DenseBlock(channels, depth))
            channels += depth * GROWTH
            if index + 1 < len(self.DEPTHS):
                self.features.add_module(f"transition{index + 1}", _transition(channels, channels // 2))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.features(x))
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.classifier(torch.flatten(x, 1))


def densenet161() -> nn.Module:
    """DenseNet161 for 224x224 and 1000 classes."""
    return DenseNet161()
