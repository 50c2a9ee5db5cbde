"""What a report is made of, before it is HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dlas_mlir.study.findings.finding import Finding


@dataclass(frozen=True)
class Heading:
    """The title of a section; `anchor` is what links to it."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Facts:
    """A few figures with what they are."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table; the columns of `numbers` are aligned to the right. A folded one is shown when it is asked for."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = field(default_factory=frozenset)
    folded: bool = False


@dataclass(frozen=True)
class Answer:
    """A finding."""

    finding: Finding


@dataclass(frozen=True)
class Code:
    """A text to be read as it is."""

    caption: str
    text: str


@dataclass(frozen=True)
class Figure:
    """Where a figure of a page is drawn; `parts` are the names of its drawings, `label` says what they show."""

    name: str
    label: str
    parts: Sequence[str] = ("figure",)
    kind: str = "figure"
    below: str = ""


Block = Heading | Text | Facts | Table | Answer | Code | Figure
