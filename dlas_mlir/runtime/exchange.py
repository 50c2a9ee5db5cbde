"""Arrays that two processes pass to each other, in a file that has no name: none is left when one of them is killed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import ml_dtypes
import numpy as np


class Exchange:
    """An open file without a name; who is given its descriptor has the same file."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._file = tempfile.TemporaryFile() if descriptor is None else os.fdopen(descriptor, "r+b")  # noqa: SIM115

    def fileno(self) -> int:
        """The descriptor, for the other process."""
        return self._file.fileno()

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write `arrays` instead of what is there; bfloat16 as the float32 that it is exactly: numpy's files have none.

        Raises OSError when the disk is full.
        """
        plain = {key: a.astype(np.float32) if a.dtype == ml_dtypes.bfloat16 else a for key, a in arrays.items()}
        self._file.seek(0)
        self._file.truncate()
        np.savez(self._file, allow_pickle=False, **plain)  # pyright: ignore[reportArgumentType]
        self._file.flush()

    def take(self) -> dict[str, np.ndarray]:
        """Read what the other has put, and give its space back."""
        self._file.seek(0)
        with np.load(self._file, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        self._file.seek(0)
        self._file.truncate()
        return found

    def close(self) -> None:
        """Nothing is left of it when the other has closed it too."""
        self._file.close()
