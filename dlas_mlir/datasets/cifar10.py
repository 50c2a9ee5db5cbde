"""CIFAR-10 from a local folder: the published binary batches, or the published Python ones, read as mere data."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dlas_mlir.datasets.dataset import Dataset, Normalisation, Split, in_memory
from dlas_mlir.errors import DlasError

EXPECTED = "the published data_batch_1.bin ... test_batch.bin, or data_batch_1 ... test_batch (Python)"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
IMAGES = 10_000  # in each batch
_PIXELS = 3 * 32 * 32
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
_NORMALISATION = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
# The folders that the published archives unpack to.
_INSIDE = ("", "cifar-10-batches-bin", "cifar-10-batches-py")
_LARGEST_PICKLE = 64 << 20  # the published ones have 31 MB


def load(folder: Path) -> Dataset:
    """The five batches for training, in order, and the one for testing. Raises DlasError, naming the file."""
    for inside in (folder / name for name in _INSIDE):
        for suffix, read in ((".bin", _read_binary), ("", _read_python)):
            if (inside / f"{_BATCHES[0]}{suffix}").exists():
                batches = [read(inside / f"{name}{suffix}") for name in _BATCHES]
                return Dataset("cifar10", CLASSES, SHAPE, _joined(batches[:-1]), _joined(batches[-1:]))
    raise DlasError(f"cifar10: {folder} has no data_batch_1.bin or data_batch_1; expected {EXPECTED}")


def _joined(batches: list[tuple[np.ndarray, np.ndarray]]) -> Split:
    pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return in_memory(pixels.reshape(-1, *SHAPE), labels, _NORMALISATION)


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of one byte of class and 3072 of pixels."""
    values = np.frombuffer(_bytes_of(path, IMAGES * (1 + _PIXELS)), np.uint8)
    if values.size != IMAGES * (1 + _PIXELS):
        raise _wrong(path, f"{IMAGES} records of {1 + _PIXELS} bytes", f"a file of another size ({_size(path)})")
    records = values.reshape(IMAGES, 1 + _PIXELS)
    return records[:, 1:], _checked_labels(path, records[:, 0])


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dict with `data`, uint8 [10000, 3072], and `labels`, a list of integers."""
    content = _bytes_of(path, _LARGEST_PICKLE)
    try:
        batch = _DataUnpickler(io.BytesIO(content), encoding="bytes").load()
        values, labels = batch[b"data"], batch[b"labels"]
        pixels = values.decoded()
        numbers = np.array([int(label) for label in labels], np.int64)
    except Exception as error:  # a damaged pickle raises anything
        raise _wrong(path, "a pickled dict of `data` and `labels`", f"{type(error).__name__}: {error}") from None
    if pixels.shape != (IMAGES, _PIXELS) or numbers.shape != (IMAGES,):
        expected = f"data of {IMAGES}x{_PIXELS} and {IMAGES} labels"
        raise _wrong(path, expected, f"data of {'x'.join(map(str, pixels.shape))} and {len(numbers)} labels")
    return pixels, _checked_labels(path, numbers)


def _checked_labels(path: Path, labels: np.ndarray) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        outside = labels.max() if labels.max() >= len(CLASSES) else labels.min()
        raise _wrong(path, f"classes from 0 to {len(CLASSES) - 1}", f"the class {outside}")
    return labels


def _bytes_of(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise DlasError(f"cifar10: cannot read {path}: {error.strerror or error}; expected {EXPECTED}") from None
    if len(content) > limit:
        raise _wrong(path, f"a batch of at most {limit} bytes", f"a larger file ({_size(path)})")
    return content


def _size(path: Path) -> str:
    return f"{path.stat().st_size} bytes"


def _wrong(path: Path, expected: str, found: str) -> DlasError:
    return DlasError(f"cifar10: {path} is not a published batch: expected {expected}, found {found}")


class _DataUnpickler(pickle.Unpickler):
    """Reads a pickle as data: it looks up no name, so that nothing in the file can be called.

    What the published batches name (a numpy array of bytes) becomes an inert `_StoredArray`; any other name is an
    error.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name in ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
            return lambda *arguments: _StoredArray()
        if name == "numpy.dtype":
            return lambda *arguments: _StoredType(arguments[0])
        if name == "numpy.ndarray":
            return None  # an argument of _reconstruct, which is not looked at
        if name == "_codecs.encode":  # how newer Pythons store bytes for older ones
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it names {name}, which is not loaded")


class _StoredType:
    """The element type of a stored array, by its name such as u1."""

    def __init__(self, name: str | bytes) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment, which bytes have not."""


class _StoredArray:
    """What a pickled array stores: (version, shape, type, whether in Fortran's order, bytes)."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def decoded(self) -> np.ndarray:
        """The array, if it is one of uint8 in C order."""
        _, shape, element, fortran, content = self.state
        if element.name != "u1" or fortran or not isinstance(content, bytes):
            raise ValueError("the data is not an array of uint8")
        return np.frombuffer(content, np.uint8).reshape(shape)
