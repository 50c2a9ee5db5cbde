"""WRN-40-2 for CIFAR, its 3x3 convolutions (but the stem) split in groups and 1x1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlas_mlir.models.resnet import GroupedConv3x3


class PreActivationBlock(nn.Module):
    """BN and ReLU before each of two 3x3 convolutions; the shortcut is projected where channels change."""

    def __init__(self, inputs: int, width: int, stride: int, groups: int | None) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = GroupedConv3x3(inputs, width, stride, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = GroupedConv3x3(width, width, 1, groups)
        # Not in place: the shortcut may still read what it is given.
        self.relu = nn.ReLU()
        self.shortcut = nn.Conv2d(inputs, width, 1, stride, bias=False) if inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        x = self.conv1(activated)
        x = self.conv2(self.relu(self.bn2(x)))
        return x + shortcut


class WideResNet40x2(nn.Module):
    """[N, 3, 32, 32] to [N, 10]. `groups=None` means depthwise."""

    BLOCKS = 6  # per stage: (40 - 4) / 6
    WIDTHS = (32, 64, 128)

    def __init__(self, groups: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        channels = 16
        stages = []
        for stage, width in enumerate(self.WIDTHS):
            blocks = []
            for index in range(self.BLOCKS):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(PreActivationBlock(channels, width, stride, groups))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.block1, self.block2, self.block3 = stages
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.relu(self.bn1(x))), 1))


def wrn_40_2_grouped(groups: int | None) -> nn.Module:
    """WRN-40-2 for 32x32 and 10 classes, its 3x3 convolutions split in `groups` groups (None: depthwise)."""
    return WideResNet40x2(groups)
