"""Names for the loops of a linalg.generic: the attribute `dlas.loops`, an array of strings.

Whoever creates the root of a kernel names its loops once, by what they mean (docs/primitives.md has the vocabulary);
schedules speak of them by these names. What rewrites an operation carries the names over. The loops of one without the
attribute are d0, d1, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from iree.compiler import ir

from dlas_mlir.opt.base import PassError

ATTRIBUTE = "dlas.loops"
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def names(op: ir.Operation) -> tuple[str, ...]:
    """The name of each loop of a linalg.generic. Raises PassError where `dlas.loops` has not one for each, names two
    alike, or holds something else than names."""
    count = len(ir.ArrayAttr(op.attributes["iterator_types"]))
    if not named(op):
        return tuple(f"d{place}" for place in range(count))
    found = _strings(op)
    if problem := _problem(found, count):
        raise PassError(f"`{ATTRIBUTE}`: {problem}", op)
    return found


def named(op: ir.Operation) -> bool:
    """Whether the loops have names of their own."""
    return ATTRIBUTE in op.attributes


def set_names(op: ir.Operation, given: Sequence[str]) -> None:
    """Name the loops of a linalg.generic. Raises PassError as `names` does."""
    if problem := _problem(given, len(ir.ArrayAttr(op.attributes["iterator_types"]))):
        raise PassError(f"`{ATTRIBUTE}`: {problem}", op)
    op.attributes[ATTRIBUTE] = ir.ArrayAttr.get([ir.StringAttr.get(name) for name in given])


def in_blocks(given: Sequence[str], loop: int) -> tuple[str, ...]:
    """The names where `loop` runs over blocks, and a new last one within a block: of c they are cb and c."""
    outer, inner = fresh(f"{given[loop]}b", given), given[loop]
    return (*given[:loop], outer, *given[loop + 1 :], inner)


def in_steps(given: Sequence[str], loop: int, width: int) -> tuple[str, ...]:
    """The names where `loop` runs in steps of `width`, and a new last one within a step: of c they are c and c4."""
    return (*given, fresh(f"{given[loop]}{width}", given))


def fresh(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number where it is taken."""
    taken = set(taken)
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _strings(op: ir.Operation) -> tuple[str, ...]:
    attr = op.attributes[ATTRIBUTE]
    if not isinstance(attr, ir.ArrayAttr) or not all(isinstance(each, ir.StringAttr) for each in attr):
        raise PassError(f"`{ATTRIBUTE}` is {attr}, not an array of strings", op)
    return tuple(ir.StringAttr(each).value for each in attr)


def _problem(given: Sequence[str], count: int) -> str:
    """What is wrong with the names of `count` loops, or nothing."""
    if len(given) != count:
        return f"there are {count} loops and {len(given)} names ({', '.join(given)})"
    if twice := sorted({name for name in given if list(given).count(name) > 1}):
        return f"two loops are called {', '.join(twice)}"
    bad = [repr(name) for name in given if not _NAME.fullmatch(name)]
    return f"{', '.join(bad)}: a name is letters, digits and underscores, and begins with no digit" if bad else ""
