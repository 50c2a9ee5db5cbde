"""Test images as one file, for devices that have no dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dlas_mlir.datasets.dataset import Normalisation, Split, in_memory


def write_images(file: Path, split: Split) -> None:
    """Write the pixels, the classes and how pixels become inputs to an .npz file."""
    normalisation = split.normalisation
    arrays = {
        "pixels": split.pixels(slice(None)),
        "labels": split.labels,
        "mean": np.array(normalisation.mean),
        "std": np.array(normalisation.std),
    }
    with file.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


def read_images(file: Path) -> Split:
    """What `write_images` wrote."""
    with np.load(file, allow_pickle=False) as arrays:
        mean, std = (tuple(map(float, arrays[key])) for key in ("mean", "std"))
        return in_memory(arrays["pixels"], arrays["labels"], Normalisation(mean, std))
