"""The zoo's table. It imports no torch, so that listing the models and looking up a cached one stays fast."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from torch import nn

_IMAGENET = (1, 3, 224, 224)
_CIFAR = (1, 3, 32, 32)


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo.

    `parameters` and `macs` (multiply-accumulates of one inference) are stored; a test holds them equal to the
    counted ones. `input_shape` is N, C, H, W, in float32.
    """

    name: str
    file: str
    factory: str
    arguments: tuple[int | None, ...]
    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    description: str

    @property
    def input_spec(self) -> str:
        """The input in the notation of `--input`, such as 1x3x224x224xf32."""
        return "x".join(map(str, self.input_shape)) + "xf32"

    def source_files(self) -> list[Path]:
        """The Python files that decide what the model is, weights included."""
        return sorted(Path(__file__).parent.glob("*.py"))

    def build(self) -> nn.Module:
        """The model as PyTorch initialises it; `dlas_mlir.models.build` also seeds and fills it."""
        module = importlib.import_module(f"{__package__}.{self.file}")
        return getattr(module, self.factory)(*self.arguments)


def _row(name: str, where: str, shape: tuple[int, ...], parameters: int, macs: int, about: str) -> ZooModel:
    file, factory = where.split(".")
    return ZooModel(name, file, factory, (), shape, parameters, macs, about)


def _grouped(
    stem: str, where: str, shape: tuple[int, ...], sizes: dict[int | None, tuple[int, int]], about: str
) -> list[ZooModel]:
    """A family of models, one for each number of groups, None for one group per channel."""
    file, factory = where.split(".")
    return [
        ZooModel(f"{stem}-g{groups or 'n'}", file, factory, (groups,), shape, *size, f"{about}{split}")
        for groups, size in sizes.items()
        for split in [f"{groups} group{'s' if groups > 1 else ''}" if groups else "one group per channel"]
    ]


_ROWS = [
    _row("resnet18-cifar", "resnet.resnet18_cifar", _CIFAR, 11_173_962, 555_422_720, "ResNet18"),
    _row("mobilenetv1-cifar", "mobilenet.mobilenetv1_cifar", _CIFAR, 3_217_226, 46_354_432, "MobileNetV1"),
    _row("mobilenetv2-cifar", "mobilenet.mobilenetv2_cifar", _CIFAR, 2_296_922, 91_154_944, "MobileNetV2"),
    _row(
        "vgg16-cifar",
        "vgg.vgg16_cifar",
        _CIFAR,
        14_728_266,
        313_201_664,
        "VGG16 with BN and one FC layer",
    ),
    _row("resnet18", "resnet.resnet18", _IMAGENET, 11_689_512, 1_814_073_344, "ResNet18"),
    _row("resnet50", "resnet.resnet50", _IMAGENET, 25_557_032, 4_089_184_256, "ResNet50"),
    _row("mobilenetv1", "mobilenet.mobilenetv1", _IMAGENET, 4_231_976, 568_740_352, "MobileNetV1"),
    _row("mobilenetv2", "mobilenet.mobilenetv2", _IMAGENET, 3_504_872, 300_774_272, "MobileNetV2"),
    _row(
        "efficientnetb0",
        "efficientnet.efficientnetb0",
        _IMAGENET,
        5_288_548,
        385_814_752,
        "EfficientNetB0",
    ),
    _row("densenet161", "densenet.densenet161", _IMAGENET, 28_681_000, 7_727_907_072, "DenseNet161"),
    *_grouped(
        "resnet34",
        "resnet.resnet34_grouped",
        _IMAGENET,
        {
            2: (13_224_616, 2_249_199_616),
            4: (8_146_600, 1_389_383_680),
            8: (5_607_592, 959_475_712),
            16: (4_338_088, 744_521_728),
            None: (3_132_520, 553_614_592),
        },
        "ResNet34, 3x3 as grouped 3x3 and 1x1, ",
    ),
    *_grouped(
        "wrn-40-2",
        "wide_resnet.wrn_40_2_grouped",
        _CIFAR,
        {
            1: (2_447_610, 356_697_344),
            2: (1_358_970, 197_444_864),
            4: (814_650, 117_818_624),
            8: (542_490, 78_005_504),
            16: (406_410, 58_098_944),
            None: (293_514, 44_127_488),
        },
        "WRN-40-2, 3x3 as grouped 3x3 and 1x1, ",
    ),
]

_ZOO = {model.name: model for model in _ROWS}


def registry() -> list[ZooModel]:
    """All models of the zoo, in the order in which they are shown."""
    return list(_ZOO.values())


def find(name: str) -> ZooModel | None:
    """The model of that name, or None."""
    return _ZOO.get(name)


def lookup(name: str) -> ZooModel:
    """The model of that name. Raises DlasError with the nearest names if there is none."""
    model = _ZOO.get(name)
    if model is None:
        close = difflib.get_close_matches(name, _ZOO, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`dlas models` lists them"
        raise DlasError(
            f"unknown model '{name}': {hint} (a model of your own is named package.module:factory, "
            "or is a .pt2, .onnx, .mlir or .mlirbc file)"
        )
    return model
