"""The files in an artifact: a .vmfb is a ZIP file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlas_mlir.errors import DlasError


@contextmanager
def opened(vmfb: Path) -> Iterator[zipfile.ZipFile]:
    """The archive that an artifact is. Raises DlasError for what is none."""
    try:
        with zipfile.ZipFile(vmfb) as archive:
            yield archive
    except (OSError, zipfile.BadZipFile) as error:
        raise DlasError(f"`{vmfb}` is no artifact: {error}") from None
