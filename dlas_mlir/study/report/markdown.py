"""Blocks as a page of Markdown; what only a browser can draw is left to tables."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from dlas_mlir.study.report.blocks import Answer, Block, Code, Facts, Figure, Heading, Table, Text

_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def markdown(title: str, subtitle: str, blocks: Sequence[Block]) -> str:
    """The whole page."""
    parts = [f"# {_text(title)}", _text(subtitle), *(_block(block) for block in blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, _):
            return f"## {_text(text)}"
        case Text(text):
            return _text(text)
        case Facts(pairs):
            return ", ".join(f"{_text(name)}: {_text(value)}" for name, value in pairs)
        case Table():
            return _table(block)
        case Code(caption, text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{_text(caption)}:\n\n{fence}\n{text.rstrip()}\n{fence}"
        case Answer(finding):
            table = _table(Table("", finding.columns, finding.rows))
            tested = f" {finding.tested:,} comparisons were decided together." if finding.tested else ""
            parts = [
                f"### {_text(finding.question)}",
                f"**{finding.verdict}**: {_text(finding.summary)}{tested}",
                f"Claim: {_text(finding.claim)} ({_text(finding.source)})",
                table,
            ]
            return "\n\n".join(part for part in parts if part)
        case Figure():
            return ""


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    rule = ["---:" if i in table.numbers else "---" for i in range(len(table.columns))]
    lines = [[_text(name) for name in table.columns], rule, *([_text(cell) for cell in row] for row in table.rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_text(table.caption)}\n\n{text}" if table.caption else text


def _text(text: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would read as more than text."""
    return _SPECIAL.sub(r"\\\1", " ".join(html.escape(text, quote=False).split()))
