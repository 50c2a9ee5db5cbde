"""Levels of compression by technique: `prune-90` is 90 percent of `prune`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from dlas_mlir.study.axes import NO_COMPRESSION
from dlas_mlir.study.results import Results

_AMOUNT = re.compile(r"(?P<technique>.+?)-(?P<amount>\d+(?:\.\d+)?)")
BASE_ELEMENT = "f32"


@dataclass(frozen=True)
class Technique:
    """A technique and how much of it, in percent; None for one without levels."""

    name: str
    amount: float | None

    def __str__(self) -> str:
        if self.amount is None:
            return self.name
        first, *others = self.name.split(" + ")
        return " + ".join([f"{first}-{self.amount:g}", *others])


def technique_of(compression: str, element: str = BASE_ELEMENT) -> Technique | None:
    """The technique of a level of compression in an element type; None for neither. Where there are both, the name
    has both."""
    parts = [] if compression == NO_COMPRESSION else [compression]
    matched = _AMOUNT.fullmatch(compression)
    amount = float(matched["amount"]) if matched else None
    name = [matched["technique"] if matched else part for part in parts]
    if element != BASE_ELEMENT:
        name.append(element)
    return Technique(" + ".join(name), amount) if name else None


def uncompressed(results: Results) -> np.ndarray:
    """Whether each point is of an uncompressed model in f32."""
    return results.has("compression", NO_COMPRESSION) & results.has("element", BASE_ELEMENT)
