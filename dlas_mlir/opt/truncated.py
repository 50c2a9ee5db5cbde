"""Files that MLIR's parser would not say enough about, or crash on."""

from __future__ import annotations

import codecs
import mmap
import re
from pathlib import Path

from dlas_mlir.errors import DlasError

# A blob is hexadecimal; its first four bytes are its alignment.
_UNALIGNED = re.compile(rb':\s*"0x00000000')


def check_text(path: Path) -> None:
    """Raise DlasError for MLIR text with a byte-order mark, that ends within its block of resources ({-# ... #-},
    the weights), or has one there whose alignment is 0. Raises OSError when it cannot be read.

    The first is an "unexpected character" that no editor shows; the second, mapped into memory, brings down MLIR's
    parser most of the time; the third always does.
    """
    with path.open("rb") as file:
        if not path.is_file() or not (start := file.read(3)):
            return  # a pipe, or nothing, cannot be mapped
        if start == codecs.BOM_UTF8:
            raise DlasError(f"{path}:1:1: it begins with a byte-order mark: save it as UTF-8 without one")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            resources = text.find(b"{-#")
            if text[:4] == b"ML\xefR" or resources < 0:
                return
            if blob := _UNALIGNED.search(text, resources):
                line = text[: blob.start()].count(b"\n") + 1
                raise DlasError(f"{path}:{line}: a resource begins with an alignment of 0 bytes: it is damaged")
            if text.rfind(b"#-}") >= 0:
                return
    raise DlasError(f"{path}: truncated: its block of resources, where the weights are, has no end")
