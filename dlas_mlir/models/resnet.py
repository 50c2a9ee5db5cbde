"""ResNet for ImageNet and CIFAR, and its grouped form: each 3x3 convolution as grouped 3x3 and 1x1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ConvFactory = Callable[[int, int, int], nn.Module]


class GroupedConv3x3(nn.Module):
    """A grouped 3x3 convolution, BN and ReLU, then a 1x1 that mixes the groups: one dense 3x3, made cheap.

    `groups=None` means as many groups as channels (depthwise). The grouped part keeps the number of channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int | None) -> None:
        super().__init__()
        groups = groups or inputs
        self.grouped = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.relu(self.bn(self.grouped(x))))


def conv3x3(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A 3x3 convolution with padding 1 and no bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


def grouped(groups: int | None) -> ConvFactory:
    """A factory of GroupedConv3x3; `None` makes them depthwise."""
    return lambda inputs, outputs, stride: GroupedConv3x3(inputs, outputs, stride, groups)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, make_conv: ConvFactory) -> None:
        super().__init__()
        self.conv1 = make_conv(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = make_conv(width, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride) and 1x1 convolutions, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, make_conv: ConvFactory) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = make_conv(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class ResNet(nn.Module):
    """[N, 3, H, W] to [N, classes]. `small` is the stem for 32x32: one 3x3 convolution, no pooling."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        classes: int = 1000,
        *,
        small: bool = False,
        make_conv: ConvFactory = conv3x3,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, 64, 1) if small else nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, depth in enumerate(depths):
            width = 64 << stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(channels, width, stride, make_conv))
                channels = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def resnet18() -> nn.Module:
    """ResNet18 for 224x224 and 1000 classes."""
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet18_cifar() -> nn.Module:
    """ResNet18 for 32x32 and 10 classes."""
    return ResNet(BasicBlock, (2, 2, 2, 2), 10, small=True)


def resnet50() -> nn.Module:
    """ResNet50 for 224x224 and 1000 classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3))


def resnet34_grouped(groups: int | None) -> nn.Module:
    """ResNet34 for 224x224 and 1000 classes, its 3x3 convolutions in `groups` groups (None: depthwise)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), make_conv=grouped(groups))
