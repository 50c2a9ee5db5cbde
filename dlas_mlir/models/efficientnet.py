"""EfficientNetB0 for ImageNet, keys as torchvision's."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv_bn_silu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(inplace=True),
    )


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.SiLU(inplace=True)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class MBConv(nn.Module):
    """1x1 up (if expanding), depthwise, squeeze-and-excite, 1x1 down; a shortcut if shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_silu(inputs, hidden, 1))
        layers.append(_conv_bn_silu(hidden, hidden, kernel, stride, hidden))
        layers.append(SqueezeExcitation(hidden, max(1, inputs // 4)))
        layers.append(nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)))
        self.block = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.use_res_connect else self.block(x)


class EfficientNetB0(nn.Module):
    """[N, 3, 224, 224] to [N, 1000]."""

    # expansion, kernel, stride of the first block, channels, blocks
    STAGES = (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn_silu(3, 32, 3, 2)]
        channels = 32
        for expansion, kernel, stride, width, depth in self.STAGES:
            blocks = []
            for index in range(depth):
                blocks.append(MBConv(channels, width, kernel, stride if index == 0 else 1, expansion))
                channels = width
            layers.append(nn.Sequential(*blocks))
        layers.append(_conv_bn_silu(channels, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def efficientnetb0() -> nn.Module:
    """EfficientNetB0 for 224x224 and 1000 classes."""
    return EfficientNetB0()
