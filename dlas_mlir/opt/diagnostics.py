"""Places in source files, and how they are told: `file:line:col: error: message`, the line, a caret."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iree.compiler import ir

# The notes of the verifier show whole operations, with all their regions and weights.
_LONGEST = 4000


@dataclass(frozen=True)
class Place:
    """A file, line and column, both from 1; `line` 0 is an unknown place."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file or "<unknown>"


@dataclass(frozen=True)
class Diagnostic:
    """`severity` is error, warning, remark or note."""

    severity: str
    place: Place
    message: str
    notes: tuple[Diagnostic, ...] = ()


def place_of(location: ir.Location) -> Place:
    """The first file position in `location`, looking through names, fused and call-site locations."""
    if type(location) is ir.Location:
        # Diagnostics in exceptions hold their locations without the type.
        location = ir.Location.from_attr(location.attr, location.context)
    if isinstance(location, ir.FileLineColLoc):
        return Place(location.filename, location.start_line, location.start_col)
    if isinstance(location, ir.NameLoc):
        child = place_of(location.child_loc)
        return child if child.line else Place(location.name_str)
    if isinstance(location, ir.CallSiteLoc):
        return place_of(location.callee)
    if isinstance(location, ir.FusedLoc):
        places = [place_of(inner) for inner in location.locations]
        return next((place for place in places if place.line), places[0] if places else Place())
    return Place()


def from_mlir(info: Any) -> Diagnostic:
    """The Diagnostic for one of MLIR's: an `ir.Diagnostic` or, in an exception, an `ir.DiagnosticInfo`."""
    severity = str(info.severity).rpartition(".")[2].lower()
    return Diagnostic(severity, place_of(info.location), info.message, tuple(map(from_mlir, info.notes)))


def render(diagnostic: Diagnostic, sources: dict[str, str] | None = None) -> str:
    """The text of `diagnostic` and its notes, with the source line and a caret where the file can be read.

    `sources` holds texts that are not files, by name (standard input).
    """
    place = diagnostic.place
    message = diagnostic.message
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]} ... ({len(message) - _LONGEST} more characters)"
    lines = [f"{place}: {diagnostic.severity}: {message}"]
    if (line := _source_line(place, sources or {})) is not None:
        lines += caret(line, place.column)
    lines += [render(note, sources) for note in diagnostic.notes]
    return "\n".join(lines)


def caret(line: str, column: int, length: int = 1) -> list[str]:
    """`line`, and a line with a caret under `column` (from 1) followed by tildes up to `length`."""
    start = max(column - 1, 0)
    pad = "".join("\t" if char == "\t" else " " for char in line[:start].ljust(start))
    return [line, pad + "^" + "~" * (length - 1)]


def _source_line(place: Place, sources: dict[str, str]) -> str | None:
    if not place.line:
        return None
    if place.file in sources:
        text = sources[place.file].split("\n")
        return text[place.line - 1] if place.line <= len(text) else None
    try:
        with Path(place.file).open("rb") as file:
            if file.read(4) == b"ML\xefR":
                return None
            file.seek(0)
            line = next((line for number, line in enumerate(file, 1) if number == place.line), None)
        # A line of weights is no help, and would fill the screen.
        return line.decode().rstrip("\r\n") if line is not None and len(line) < 2000 else None
    except (OSError, UnicodeDecodeError):
        return None


def _print_to_stderr(diagnostic: Diagnostic) -> None:
    import sys

    print(render(diagnostic), file=sys.stderr)


_sink: ContextVar[Callable[[Diagnostic], None]] = ContextVar("dlas_diagnostics", default=_print_to_stderr)


def report(severity: str, op: Any, message: str) -> None:
    """Tell the user about `op` without failing. The bindings emit only errors, so this goes around them."""
    place = place_of(op.location) if op is not None else Place()
    _sink.get()(Diagnostic(severity, place, message))


@contextmanager
def reporting_to(sink: Callable[[Diagnostic], None]) -> Iterator[None]:
    """Send what `report` is told to `sink` instead of standard error."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def with_file(diagnostic: Diagnostic, old: str, new: str) -> Diagnostic:
    """`diagnostic` with the file name `old` replaced by `new`, in its notes too."""
    place = diagnostic.place
    if place.file == old:
        place = dataclasses.replace(place, file=new)
    notes = tuple(with_file(note, old, new) for note in diagnostic.notes)
    return dataclasses.replace(diagnostic, place=place, notes=notes)
