"""Reading FlatBuffers, as far as executables in an artifact need it: tables, strings, structs and vectors."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table at the offset `at` of `data`. Fields go by number; what is not there is 0 or empty."""

    data: bytes
    at: int

    @staticmethod
    def root(data: bytes) -> Table:
        """The root table of a buffer."""
        return Table(data, _u32(data, 0))

    def u32(self, field: int) -> int:
        """A whole number of 32 bits."""
        place = self._place(field)
        return _u32(self.data, place) if place else 0

    def words(self, field: int, count: int) -> tuple[int, ...]:
        """A struct of `count` whole numbers of 32 bits."""
        place = self._place(field)
        return struct.unpack_from(f"<{count}I", self.data, place) if place else (0,) * count

    def text(self, field: int) -> str:
        """A string."""
        place = self._place(field)
        if not place:
            return ""
        start = place + _u32(self.data, place)
        return self.data[start + 4 : start + 4 + _u32(self.data, start)].decode()

    def length(self, field: int) -> int:
        """How many elements a vector has."""
        place = self._place(field)
        return _u32(self.data, place + _u32(self.data, place)) if place else 0

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        place = self._place(field)
        if not place:
            return []
        start = place + _u32(self.data, place)
        elements = range(start + 4, start + 4 + 4 * _u32(self.data, start), 4)
        return [Table(self.data, element + _u32(self.data, element)) for element in elements]

    def _place(self, field: int) -> int:
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        (size,) = struct.unpack_from("<H", self.data, vtable)
        entry = 4 + 2 * field
        if entry >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, vtable + entry)
        return self.at + offset if offset else 0


def _u32(data: bytes, at: int) -> int:
    return struct.unpack_from("<I", data, at)[0]
