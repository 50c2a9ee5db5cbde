"""`--verify-diagnostics`: the diagnostics against the `expected-error@+1 {{...}}` comments of the input."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dlas_mlir.opt.diagnostics import Diagnostic, Place

_COMMENT = re.compile(
    r"expected-(error|warning|remark|note)(-re)?\s*(?:@([+-]\d+|above|below|unknown))?\s*\{\{(.*)\}\}\s*$"
)


@dataclass
class Expectation:
    """One comment: the diagnostic is due on `line`, 0 for nowhere; the comment is on line `written`."""

    severity: str
    line: int
    pattern: re.Pattern[str]
    text: str
    written: int
    column: int
    met: bool = False

    def meets(self, diagnostic: Diagnostic) -> bool:
        """Whether this is the diagnostic that was meant."""
        return (
            self.severity == diagnostic.severity
            and self.line == diagnostic.place.line
            and self.pattern.search(diagnostic.message) is not None
        )


def expectations(text: str) -> list[Expectation]:
    """The comments in `text`, whose lines count from 1."""
    found: list[Expectation] = []
    waiting: list[Expectation] = []
    last_plain = 0
    for number, line in enumerate(text.split("\n"), 1):
        match = _COMMENT.search(line)
        if match is None:
            for expectation in waiting:
                expectation.line = number
            waiting, last_plain = [], number
            continue
        severity, is_regex, where, message = match.groups()
        due = {None: number, "above": last_plain, "below": number, "unknown": 0}.get(where)
        due = number + int(where) if due is None else due
        expectation = Expectation(severity, due, _pattern(message, bool(is_regex)), message, number, match.start() + 1)
        if where == "below":
            waiting.append(expectation)
        found.append(expectation)
    return found


def _pattern(message: str, is_regex: bool) -> re.Pattern[str]:
    if not is_regex:
        return re.compile(re.escape(message))
    parts = re.split(r"\{\{(.*?)\}\}", message)
    return re.compile("".join(part if index % 2 else re.escape(part) for index, part in enumerate(parts)))


def check(text: str, name: str, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """What is wrong: diagnostics nobody expected, and expectations that were not met."""
    wanted = expectations(text)
    problems = []
    for diagnostic in _flat(diagnostics):
        met = next((item for item in wanted if not item.met and item.meets(diagnostic)), None)
        if met:
            met.met = True
        else:
            message = f"unexpected {diagnostic.severity}: {diagnostic.message}"
            problems.append(Diagnostic("error", diagnostic.place, message))
    for item in wanted:
        if not item.met:
            message = f'expected {item.severity} "{item.text}" was not produced'
            problems.append(Diagnostic("error", Place(name, item.written, item.column), message))
    return problems


def _flat(diagnostics: Iterable[Diagnostic]) -> Iterable[Diagnostic]:
    for diagnostic in diagnostics:
        # mlir-opt does not attach this note when it verifies; the bindings always do.
        if not diagnostic.message.startswith("see current operation"):
            yield diagnostic
        yield from _flat(diagnostic.notes)
