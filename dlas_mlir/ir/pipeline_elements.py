"""What a checked pipeline is made of. `str()` of an element is its pipeline text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlas_mlir.ir.base import Pass
from dlas_mlir.ir.options import print_pass


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
