"""ImageNet from a local folder with one directory per class, below `train` and `val` or by itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.datasets.dataset import Dataset, Normalisation, Split
from dlas_mlir.errors import DlasError

EXPECTED = "one directory of images per class, below train/ and val/, or below the folder itself (to test on)"
SIZE = 224
_RESIZED = 256
_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load(folder: Path) -> Dataset:
    """Classes and images in the order of their names. Images are read when they are asked for.

    As for published models: the shorter side to 256, then the middle 224x224. Raises DlasError, naming the folder,
    when it has no classes or no images, and when Pillow is not installed.
    """
    image_module()
    training = folder / "train"
    testing = folder / "val" if (folder / "val").is_dir() else folder
    classes = _classes(testing)
    train = None
    if testing != folder and training.is_dir():
        if (found := _classes(training)) != classes:
            differing = sorted(set(found) ^ set(classes))
            raise DlasError(f"imagenet: {training} and {testing} do not have the same classes: {differing[0]} differs")
        train = _split(training, classes)
    return Dataset("imagenet", classes, (3, SIZE, SIZE), train, _split(testing, classes))


def image_module() -> Any:
    """Pillow's Image. Raises DlasError when it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise DlasError("imagenet needs Pillow: pip install 'dlas-mlir[imagenet]'") from None
    return Image


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not classes:
        raise DlasError(f"imagenet: {folder} has no directories; expected {EXPECTED}")
    return classes


def _split(folder: Path, classes: tuple[str, ...]) -> Split:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in _SUFFIXES)
        if not found:
            raise DlasError(f"imagenet: {folder / name} has no images ({', '.join(_SUFFIXES)}); expected {EXPECTED}")
        files += found
        labels += [label] * len(found)
    return Split(np.array(labels, np.int64), partial(_read, tuple(files)), _NORMALISATION)


def _read(files: tuple[Path, ...], indices: np.ndarray) -> np.ndarray:
    return np.stack([read_image(files[index]) for index in indices])


def read_image(path: Path) -> np.ndarray:
    """uint8 [3, 224, 224], the middle of the image. Raises DlasError when it cannot be read."""
    image_class = image_module()
    try:
        with image_class.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, image_class.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DlasError(f"imagenet: cannot read the image {path}: {reason}") from None
    scale = _RESIZED / min(image.size)
    width, height = (max(_RESIZED, round(side * scale)) for side in image.size)
    image = image.resize((width, height), image_class.Resampling.BILINEAR)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.uint8).transpose(2, 0, 1)
