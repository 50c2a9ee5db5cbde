"""What the code inside an artifact imports: executables must import nothing, or they cannot be loaded."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC_SYMBOLS = 11


def undefined_symbols(vmfb: Path) -> set[str]:
    """Names that the 64-bit little-endian ELF images in `vmfb` import, such as `malloc`."""
    data = vmfb.read_bytes()
    found: set[str] = set()
    start = data.find(_MAGIC)
    while start >= 0:
        with contextlib.suppress(struct.error):  # the magic bytes may stand in a constant
            found.update(_imports(data, start))
        start = data.find(_MAGIC, start + 1)
    return found


def _imports(data: bytes, start: int) -> Iterator[str]:
    (sections_at,) = struct.unpack_from("<Q", data, start + 40)
    entry_size, count = struct.unpack_from("<HH", data, start + 58)
    if entry_size != _SECTION.size:
        return
    sections = [_SECTION.unpack_from(data, start + sections_at + i * entry_size) for i in range(count)]
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != _DYNAMIC_SYMBOLS or link >= count:
            continue
        names_at = start + sections[link][4]
        for at in range(start + offset, start + offset + size, _SYMBOL.size):
            name, _, _, section, _, _ = _SYMBOL.unpack_from(data, at)
            if section == 0 and name:
                yield data[names_at + name : data.index(b"\0", names_at + name)].decode()
