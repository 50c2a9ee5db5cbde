"""Tables of integers as quotients of a loop's number."""

from __future__ import annotations

import numpy as np

# Of longer tables, nothing but a step of a whole number is looked for.
_LONGEST = 4096


def quotient_of(table: np.ndarray) -> tuple[int, int, int] | None:
    """(a, b, d) of which `(i * a + b) // d` is element i of the line `table`, with the least d; None where there is
    nothing of the kind."""
    count = len(table)
    numbers = np.arange(count)
    if count < 2 or (np.diff(table) == table[1] - table[0]).all():
        step = int(table[1] - table[0]) if count > 1 else 0
        return step, int(table[0]), 1
    rise = int(table[-1] - table[0])
    if count > _LONGEST or (np.diff(table) < 0).any():
        return None
    # From end to end a * (count - 1) / d rises by less than one more or less than the table.
    for whole in range(2, 2 * count):
        least, most = (rise - 1) * whole // (count - 1), (rise + 1) * whole // (count - 1) + 1
        for factor in range(max(0, least), most + 1):
            left = whole * table - factor * numbers
            shift = int(left.max())
            if shift < left.min() + whole:
                return factor, shift, whole
    return None
