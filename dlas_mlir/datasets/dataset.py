"""What every dataset is: two splits of images with classes, and how pixels become a model's input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dlas_mlir.errors import DlasError

# Gives the pixels [n, channels, height, width] in uint8 of the images with these numbers.
Reader = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Normalisation:
    """`mean` and `std` of each channel, of pixels scaled to 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, channels, height, width] to contiguous float32, (pixel / 255 - mean) / std."""
        mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        scale = 1 / (255 * std)
        return np.ascontiguousarray(pixels * scale - mean / std, np.float32)


@dataclass(frozen=True)
class Split:
    """Images in a fixed order; `labels` are their classes, int64 [n]. Images may be read only when asked for."""

    labels: np.ndarray
    read: Reader
    normalisation: Normalisation

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: np.ndarray | slice) -> np.ndarray:
        """uint8 [n, channels, height, width]. Raises DlasError, naming the file, for one that cannot be read."""
        return self.read(np.arange(len(self))[indices])

    def inputs(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Normalised float32 [n, channels, height, width], as models take it. Raises what `pixels` raises."""
        return self.normalisation.apply(self.pixels(indices))

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All inputs and labels in order, `size` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.inputs(part), self.labels[part]

    def subset(self, count: int) -> Split:
        """`count` images, the classes in turn, each in its own order: the same ones every time.

        Raises DlasError when there are not so many.
        """
        if not 1 <= count <= len(self):
            raise DlasError(f"a subset of {count} images was asked for; the dataset has 1 to {len(self)}")
        chosen = in_turns(self.labels)[:count]
        return replace(self, labels=self.labels[chosen], read=lambda indices: self.read(chosen[indices]))


@dataclass(frozen=True)
class Dataset:
    """`train` is None for a folder that has only images to test on. `shape` is (channels, height, width)."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split | None
    test: Split

    def calibration(self, count: int) -> np.ndarray:
        """Inputs to calibrate a quantization with, float32 [count, *shape], the same ones every time.

        They are images of the training split, of the test split only where there is no other. Raises DlasError
        when there are not so many, and when one is not finite.
        """
        inputs = (self.train or self.test).subset(count).inputs()
        if not np.isfinite(inputs).all():
            raise DlasError(f"{self.name}: the calibration images have values that are no finite numbers")
        return inputs


def in_turns(labels: np.ndarray) -> np.ndarray:
    """Indices of all images: the first of each class, then the second of each, and so on."""
    return np.lexsort((labels, place_in_class(labels)))


def place_in_class(labels: np.ndarray) -> np.ndarray:
    """For each image how many of its class come before it."""
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        place[of_class] = np.arange(len(of_class))
    return place


def in_memory(pixels: np.ndarray, labels: Sequence[int] | np.ndarray, normalisation: Normalisation) -> Split:
    """A split of images that are held as uint8 [n, channels, height, width]."""
    return Split(np.asarray(labels, np.int64), lambda indices: pixels[indices], normalisation)
