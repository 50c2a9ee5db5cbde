"""The classes that a model gives to images, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlas_mlir.datasets.dataset import Split
from dlas_mlir.errors import DlasError

_BATCH = 64
# The prediction where the outputs are no numbers: it is no class, and so never right.
NO_CLASS = -1


def predictions(
    run: Callable[[np.ndarray], np.ndarray],
    split: Split,
    classes: int,
    *,
    title: str,
    dataset: str,
    progress: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """The classes, int64 [n], that `run`, from inputs [n, c, h, w] to scores [n, classes], gives to the images.

    Raises DlasError, with `title` and the name of the dataset, where it returns something else.
    """
    found = []
    for inputs, _ in split.batches(_BATCH):
        scores = run(inputs)
        if scores.shape != (len(inputs), classes):
            shape = "x".join(map(str, (1, *scores.shape[1:])))
            raise DlasError(f"{title} returns {shape} for an image; {dataset} has {classes} classes")
        found.append(np.where(np.isfinite(scores).all(1), scores.argmax(1), NO_CLASS))
        progress(f"{title}: {sum(map(len, found))} of {len(split)} images")
    return np.concatenate(found)
