"""Models of a user's own, for the tests of the importer: found as `imported_model:name`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A strided and a grouped convolution, batch norm, a shortcut, a buffer, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.block = Block()
        self.register_buffer("scale", torch.rand(8, 1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.conv(x)) * self.scale
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    """A convolution and its shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_var = torch.rand(8) + 0.5
        self.norm.running_mean = torch.rand(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.grouped(x)))


class Kinds(nn.Module):
    """A plain, a depthwise, a strided and a grouped convolution (whose groups fill no vector), and a linear layer.

    The signal keeps its scale, and the last image is an output beside the logits: a wrong pixel vanishes in a mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 32, 3, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.strided = nn.Conv2d(32, 48, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(48, 48, 3, padding=1, groups=4)
        self.fc = nn.Linear(48, 10)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.kaiming_normal_(weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in (self.plain, self.depthwise, self.strided, self.grouped):
            x = torch.relu(layer(x))
        return x, self.fc(x.mean((2, 3)))


class Unsupported(nn.Module):
    """Calls an operation that has no lowering, inside a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Bessel()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Bessel(nn.Module):
    """The operation."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Branches(nn.Module):
    """Looks at values, which torch.export cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class TwoTypes(nn.Module):
    """Several inputs of several types, and a dictionary of outputs, one of them in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 4)
        self.low = nn.Linear(4, 4).bfloat16()

    def forward(self, index: Tensor, x: Tensor) -> dict[str, Tensor]:
        y = self.table(index) + x
        return {"y": y, "low": self.low(y.bfloat16())}


def small() -> nn.Module:
    model = Small()
    model.example_inputs = (torch.randn(1, 3, 9, 9),)  # type: ignore[assignment]
    return model


def kinds() -> nn.Module:
    model = Kinds()
    model.example_inputs = (torch.randn(1, 3, 17, 15),)  # type: ignore[assignment]
    return model


def bare() -> nn.Module:
    return Small()


def unsupported() -> nn.Module:
    return Unsupported()


def branches() -> nn.Module:
    return Branches()


def two_types() -> nn.Module:
    return TwoTypes()


def number() -> int:
    return 3


def failing() -> nn.Module:
    raise KeyError("no such width")
