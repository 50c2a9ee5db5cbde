"""Hashes of files, for those who have no compiler."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dlas_mlir.errors import DlasError

_CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file's content. Raises DlasError when it cannot be read."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
    except OSError as error:
        raise DlasError(f"cannot read {path}: {error.strerror or error}") from None
    return hasher.hexdigest()
