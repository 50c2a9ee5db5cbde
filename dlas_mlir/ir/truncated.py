"""Files that MLIR's parser would not say enough about, or crash on."""

from __future__ import annotations

import codecs
import mmap
from pathlib import Path

from dlas_mlir.errors import DlasError


def check_text(path: Path) -> None:
    """Raise DlasError for MLIR text with a byte-order mark, or that ends within its block of resources ({-# ... #-},
    the weights). Raises OSError when it cannot be read.

    The first is an "unexpected character" that no editor shows; the second, mapped into memory, brings down MLIR's
    parser most of the time.
    """
    with path.open("rb") as file:
        if not path.is_file() or not (start := file.read(3)):
            return  # a pipe, or nothing, cannot be mapped
        if start == codecs.BOM_UTF8:
            raise DlasError(f"{path}:1:1: it begins with a byte-order mark: save it as UTF-8 without one")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text[:4] == b"ML\xefR" or text.rfind(b"#-}") >= 0 or text.find(b"{-#") < 0:
                return
    raise DlasError(f"{path}: truncated: its block of resources, where the weights are, has no end")
