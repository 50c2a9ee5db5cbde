"""scikit-learn's digits: 1797 real images of handwritten digits, brought from 8x8 grey to 32x32x3."""

from __future__ import annotations

import numpy as np

from dlas_mlir.datasets.dataset import Dataset, Normalisation, in_memory, place_in_class

_GREYS = 16  # the brightest value of the images
_SCALE = 4
# Of each class, every fourth image is for testing: the writers, who come one after the other, are in both splits.
_TEST_EVERY = 4
_NORMALISATION = Normalisation((0.305,) * 3, (0.323,) * 3)


def load() -> Dataset:
    """Digits, in two splits of about 1350 and 450 images."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(values) for values in load_digits(return_X_y=True))
    grey = np.asarray(images, np.float32).reshape(-1, 8, 8) * (255 / _GREYS)
    # Linear between the centres of the pixels, as image libraries do it.
    large = np.asarray(zoom(grey, (1, _SCALE, _SCALE), order=1, mode="nearest", grid_mode=True))
    pixels = np.repeat(np.rint(large).astype(np.uint8)[:, None], 3, axis=1)
    for_test = place_in_class(labels) % _TEST_EVERY == _TEST_EVERY - 1
    train, test = (in_memory(pixels[chosen], labels[chosen], _NORMALISATION) for chosen in (~for_test, for_test))
    return Dataset("digits", tuple("0123456789"), (3, 32, 32), train, test)
