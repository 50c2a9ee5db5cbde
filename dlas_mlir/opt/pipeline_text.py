"""Pipeline text as a tree: a lexer and a recursive-descent parser, which know nothing of what passes exist.

    pipeline := element (`,` element)*
    element  := NAME [ `{` option* `}` ]  |  NAME `(` [pipeline] `)`  |  `@` NAME
    option   := KEY [ `=` VALUE ]

`@NAME` stands for the elements of a fragment. White space and `// comments` may stand between tokens. A value is a word
in which quotes and braces nest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlas_mlir.errors import DlasError
from dlas_mlir.opt.diagnostics import Place, caret
from dlas_mlir.opt.options import skip_item

_SPACE = re.compile(r"(?:\s+|//[^\n]*)*")
_NAME = re.compile(r"[A-Za-z_][\w.$-]*")
_KEY = re.compile(r"[^\s={}(),\"']+")


@dataclass(frozen=True)
class Source:
    """Pipeline text, and the place its first character has in a file or on the command line."""

    text: str
    name: str = "--pass-pipeline"
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class OptionNode:
    """One `key=value` as written; a key without a value stands for `true`."""

    key: str
    value: str
    key_at: int
    value_at: int


@dataclass(frozen=True)
class PassNode:
    """One pass with its options; `text` is what stands between the braces, None without braces."""

    name: str
    at: int
    text: str | None
    options: tuple[OptionNode, ...] = ()


@dataclass(frozen=True)
class NestNode:
    """Elements that run on every operation named `anchor`."""

    anchor: str
    at: int
    children: tuple[Node, ...]


@dataclass(frozen=True)
class FragmentNode:
    """The elements of the fragment `name`, in its place."""

    name: str
    at: int


Node = PassNode | NestNode | FragmentNode


class PipelineError(DlasError):
    """Pipeline text is wrong at one place: `place` says where, `str()` shows it with a caret."""

    def __init__(self, message: str, source: Source, at: int, length: int = 1) -> None:
        before = source.text[:at]
        line = before.count("\n")
        column = at - before.rfind("\n") if line else at + source.column
        self.message = message
        self.place = Place(source.name, source.line + line, column)
        shown = source.text.split("\n")[line]
        shown_column = at - before.rfind("\n")
        # A caret under the middle of a long line has to be seen: cut the line around it.
        if shown_column > 100:
            cut = shown_column - 60
            shown, shown_column = "..." + shown[cut:], shown_column - cut + 3
        self._excerpt = "\n".join(caret(shown[:160], shown_column, max(length, 1)))
        super().__init__(f"{self.place}: {message}\n{self._excerpt}")

    def report(self) -> str:
        """The text as a compiler prints it, `file:line:col: error: ...`."""
        return f"{self.place}: error: {self.message}\n{self._excerpt}"


def parse_text(source: Source) -> tuple[Node, ...]:
    """The elements of `source`. Raises PipelineError."""
    parser = _Parser(source)
    elements = parser.elements()
    parser.expect_end()
    return elements


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0

    def error(self, message: str, at: int | None = None, length: int = 1) -> PipelineError:
        return PipelineError(message, self.source, self.at if at is None else at, length)

    def peek(self) -> str:
        """The next character after white space and comments, or nothing at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def accept(self, char: str) -> bool:
        found = self.peek() == char
        self.at += found
        return found

    def expect_end(self) -> None:
        if char := self.peek():
            raise self.error(f"expected `,` or the end of the pipeline, found `{char}`")

    def elements(self) -> tuple[Node, ...]:
        if self.peek() in ("", ")"):
            return ()
        found = [self.element()]
        while self.accept(","):
            found.append(self.element())
        return tuple(found)

    def element(self) -> Node:
        self.peek()
        at = self.at
        fragment = self.accept("@")
        match = _NAME.match(self.text, self.at)
        if match is None:
            wanted = "a fragment" if fragment else "a pass"
            raise self.error(f"expected the name of {wanted}, found {self._found()}")
        name = match.group()
        self.at = match.end()
        if fragment:
            return FragmentNode(name, at)
        if self.accept("("):
            opened = self.at - 1
            children = self.elements()
            if not self.accept(")"):
                message = f"expected `,` or `)`, found {self._found()}"
                raise self.error(message) if self.peek() else self.error("this `(` is not closed", opened)
            return NestNode(name, at, children)
        if self.accept("{"):
            return self.options(name, at)
        return PassNode(name, at, None)

    def options(self, name: str, at: int) -> PassNode:
        start = self.at
        found: list[OptionNode] = []
        while not self.accept("}"):
            if not self.peek():
                raise self.error("this `{` is not closed", start - 1)
            found.append(self.option())
        return PassNode(name, at, self.text[start : self.at - 1].strip(), tuple(found))

    def option(self) -> OptionNode:
        at = self.at
        match = _KEY.match(self.text, at)
        if match is None:
            raise self.error(f"expected the name of an option, found {self._found()}")
        self.at = match.end()
        if self.text[self.at : self.at + 1] != "=":
            return OptionNode(match.group(), "true", at, at)
        self.at += 1
        start = self.at
        while self.at < len(self.text) and not (self.text[self.at].isspace() or self.text[self.at] == "}"):
            try:
                self.at = skip_item(self.text, self.at)
            except ValueError as error:
                raise self.error(str(error)) from None
        return OptionNode(match.group(), self.text[start : self.at], at, start)

    def _found(self) -> str:
        char = self.peek()
        return f"`{char}`" if char else "the end of the pipeline"
