"""What a checked pipeline is made of. `str()` of an element is its pipeline text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlas_mlir.opt.base import Pass
from dlas_mlir.opt.options import print_pass

# The values in `a=b c={d,e} f="g"`.
_WORD = re.compile(r"[^\s={},\"']+")


@dataclass(frozen=True)
class NativePass:
    """A pass of MLIR or IREE; `options` is the text between the braces."""

    name: str
    options: str | None = None

    def __str__(self) -> str:
        return self.name if self.options is None else f"{self.name}{{{self.options}}}"


@dataclass(frozen=True)
class PythonPass:
    """A pass of the registry with its options set."""

    instance: Pass

    @property
    def name(self) -> str:
        return self.instance.name

    def __str__(self) -> str:
        return print_pass(self.instance)


@dataclass(frozen=True)
class Nest:
    """Native passes that run on every `anchor` operation."""

    anchor: str
    children: tuple[NativePass | Nest, ...]

    def __str__(self) -> str:
        return f"{self.anchor}({','.join(map(str, self.children))})"


Element = NativePass | PythonPass | Nest


def names(elements: tuple[Element, ...]) -> Iterator[str]:
    for element in elements:
        if isinstance(element, Nest):
            yield from names(element.children)
        else:
            yield element.name


def reads(element: Element) -> Iterator[str]:
    """The files that a pass reads. A native pass does not say which option is one: those that there are count."""
    if isinstance(element, Nest):
        for child in element.children:
            yield from reads(child)
    elif isinstance(element, PythonPass):
        yield from element.instance.reads()
    else:
        yield from (word for word in _WORD.findall(element.options or "") if is_file(word))


def is_file(word: str) -> bool:
    """Whether `word` names a file; a word that cannot be a name does not."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False
