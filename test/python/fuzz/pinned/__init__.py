"""Programs that failed once: those on integers are in `integers.py`, the others in `floats.py`."""

from __future__ import annotations

from fuzz.pinned import floats, integers

PINNED = (*floats.PROGRAMS, *integers.PROGRAMS)
