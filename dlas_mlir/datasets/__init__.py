"""Layer 1 of DLAS: images with their classes, in a fixed order, as numpy arrays.

`mnist5k` and `digits` are installed with the package; `cifar10` and `imagenet` are read from a folder of the user's.
Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlas_mlir.errors import DlasError

if TYPE_CHECKING:
    from dlas_mlir.datasets.dataset import Dataset

__all__ = ["DEFAULT", "NAMES", "NEED_FOLDER", "SHAPES", "load"]

# Channels, rows and columns of an image, known before any file is read.
SHAPES = {"mnist5k": (3, 32, 32), "digits": (3, 32, 32), "cifar10": (3, 32, 32), "imagenet": (3, 224, 224)}
NAMES = tuple(SHAPES)
NEED_FOLDER = ("cifar10", "imagenet")
DEFAULT = "mnist5k"


def load(name: str, folder: Path | str | None = None) -> Dataset:
    """The dataset `name`. `folder` is where the files of `cifar10` and `imagenet` are; the others take none.

    Raises DlasError for an unknown name, and, naming the folder or file, for what cannot be read as the dataset.
    """
    if name not in NAMES:
        raise DlasError(f"unknown dataset `{name}`: expected {', '.join(NAMES)}")
    if name not in NEED_FOLDER:
        if folder is not None:
            raise DlasError(f"{name} comes with the package: leave out the folder {folder}, or name another dataset")
        from dlas_mlir.datasets import digits, mnist5k

        return digits.load() if name == "digits" else mnist5k.load()
    from dlas_mlir.datasets import cifar10, imagenet

    module = cifar10 if name == "cifar10" else imagenet
    if folder is None:
        raise DlasError(f"{name} needs a folder (--data): {module.EXPECTED}")
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DlasError(f"{name}: {folder} {what}; expected {module.EXPECTED}")
    return module.load(folder)
