"""MobileNetV1 and MobileNetV2, for ImageNet (keys as torchvision's) and for CIFAR."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, act: type[nn.Module] | None
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)


class Separable(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with BN and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class MobileNetV1(nn.Module):
    """[N, 3, H, W] to [N, classes]; `stem_stride` is 2 for 224x224 and 1 for 32x32 images."""

    WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    STRIDED = (1, 3, 5, 11)

    def __init__(self, classes: int, stem_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU(inplace=True)
        channels = 32
        blocks = []
        for index, width in enumerate(self.WIDTHS):
            blocks.append(Separable(channels, width, 2 if index in self.STRIDED else 1))
            channels = width
        self.layers = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class InvertedResidual(nn.Module):
    """1x1 up (left out for expansion 1), depthwise 3x3, 1x1 down without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn(inputs, hidden, 1, act=nn.ReLU6))
        layers.append(_conv_bn(hidden, hidden, 3, stride, hidden, act=nn.ReLU6))
        layers.append(nn.Conv2d(hidden, outputs, 1, bias=False))
        layers.append(nn.BatchNorm2d(outputs))
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """[N, 3, 224, 224] to [N, 1000]."""

    # expansion, channels, blocks, stride of the first one
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn(3, 32, 3, 2, act=nn.ReLU6)]
        channels = 32
        for expansion, width, depth, stride in self.STAGES:
            for index in range(depth):
                layers.append(InvertedResidual(channels, width, stride if index == 0 else 1, expansion))
                channels = width
        layers.append(_conv_bn(channels, 1280, 1, act=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


class CifarInvertedResidual(nn.Module):
    """The CIFAR block: always expands, and has a shortcut at every stride 1, projected if channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            _conv_bn(inputs, hidden, 1, act=nn.ReLU),
            _conv_bn(hidden, hidden, 3, stride, hidden, act=nn.ReLU),
            _conv_bn(hidden, outputs, 1, act=None),
        )
        self.residual = stride == 1
        self.shortcut = _conv_bn(inputs, outputs, 1, act=None) if self.residual and inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        if not self.residual:
            return self.conv(x)
        return self.conv(x) + (x if self.shortcut is None else self.shortcut(x))


class CifarMobileNetV2(nn.Module):
    """[N, 3, 32, 32] to [N, 10]."""

    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn(3, 32, 3, act=nn.ReLU)]
        channels = 32
        for expansion, width, depth, stride in self.STAGES:
            for index in range(depth):
                layers.append(CifarInvertedResidual(channels, width, stride if index == 0 else 1, expansion))
                channels = width
        layers.append(_conv_bn(channels, 1280, 1, act=nn.ReLU))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def mobilenetv1() -> nn.Module:
    """MobileNetV1 for 224x224 and 1000 classes."""
    return MobileNetV1(1000, stem_stride=2)


def mobilenetv1_cifar() -> nn.Module:
    """MobileNetV1 for 32x32 and 10 classes."""
    return MobileNetV1(10, stem_stride=1)


def mobilenetv2() -> nn.Module:
    """MobileNetV2 for 224x224 and 1000 classes."""
    return MobileNetV2()


def mobilenetv2_cifar() -> nn.Module:
    """MobileNetV2 for 32x32 and 10 classes."""
    return CifarMobileNetV2()
