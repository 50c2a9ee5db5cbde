"""Where an instruction leaves sums."""

from __future__ import annotations

from dataclasses import dataclass

from iree.compiler import ir


@dataclass(frozen=True)
class Fragment:
    """Where two neighbouring sums are in the tile: of each of them, counted from the first one of this thread."""

    row: int
    column: int
    sums: tuple[ir.Value, ir.Value]
