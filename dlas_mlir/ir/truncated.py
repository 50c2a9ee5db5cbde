"""Files that stop too early, where MLIR's parser would not say so but crash."""

from __future__ import annotations

import mmap
from pathlib import Path

from dlas_mlir.errors import DlasError


def check_resources_end(path: Path) -> None:
    """Raise DlasError for MLIR text that ends within its block of resources ({-# ... #-}, the weights).

    Such a file, mapped into memory, brings down MLIR's parser most of the time. Raises OSError when it cannot be read.
    """
    with path.open("rb") as file:
        if not path.is_file() or not file.read(1):
            return  # a pipe, or nothing, cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text[:4] == b"ML\xefR" or text.rfind(b"#-}") >= 0 or text.find(b"{-#") < 0:
                return
    raise DlasError(f"{path}: truncated: its block of resources, where the weights are, has no end")
