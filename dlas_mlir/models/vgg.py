"""VGG16 with batch norm and one fully connected layer, for CIFAR."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CifarVGG16(nn.Module):
    """[N, 3, 32, 32] to [N, 10]. `features` has torchvision's vgg16_bn keys."""

    STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in self.STAGES:
            for _ in range(depth):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def vgg16_cifar() -> nn.Module:
    """VGG16 for 32x32 and 10 classes."""
    return CifarVGG16()
