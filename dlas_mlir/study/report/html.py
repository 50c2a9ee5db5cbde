"""Blocks as one page of HTML that needs nothing else: style, scripts, plotly and data are in it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.study.report.blocks import Answer, Block, Code, Facts, Figure, Heading, Table, Text
from dlas_mlir.study.report.columns import packed

# The page may run what is in it, and reach nothing else. Plotly compiles code for WebGL as it runs.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)


def page(title: str, subtitle: str, blocks: Sequence[Block], data: dict[str, Any]) -> str:
    """The whole page. Raises DlasError where plotly is missing."""
    headings = [block for block in blocks if isinstance(block, Heading)]
    links = "".join(f'<li><a href="#{_text(each.anchor)}">{_text(each.text)}</a></li>' for each in headings)
    body = "\n".join(_block(block) for block in blocks)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_file("style.css")}</style>
</head>
<body>
<a class="skip" href="#main">to the content</a>
<header><h1>{_text(title)}</h1><p class="soft">{_text(subtitle)}</p></header>
<nav aria-label="sections"><ul>{links}</ul></nav>
<main id="main">
<noscript><p>Figures need JavaScript; the tables and findings are all here.</p></noscript>
<p id="figures-note" role="alert" hidden></p>
{body}
</main>
<footer>Made by <code>dlas study</code>. Nothing in this page is loaded from anywhere.</footer>
<script type="text/plain" id="data">{packed(data)}</script>
<script>{_plotly()}</script>
<script>"use strict";
(() => {{
{_file("base.js")}{_file("figures.js")}}})();</script>
</body>
</html>
"""


def _block(block: Block) -> str:
    match block:
        case Heading(text, anchor):
            return f'<h2 id="{_text(anchor)}">{_text(text)}</h2>'
        case Text(text):
            return f"<p>{_text(text)}</p>"
        case Facts(pairs):
            cards = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
            return f'<dl class="cards">{cards}</dl>'
        case Table():
            return _folded(block.caption, _table(block, "")) if block.folded else _table(block, block.caption)
        case Code(caption, text):
            return _folded(caption, f"<pre>{_text(text)}</pre>")
        case Answer():
            return _answer(block)
        case Figure():
            return _figure(block)


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _folded(caption: str, inside: str) -> str:
    return f"<details><summary>{_text(caption)}</summary>{inside}</details>"


def _table(table: Table, caption: str) -> str:
    if not table.rows:
        return ""
    classes = ["n" if i in table.numbers else "" for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{_class(c)}>{_text(name)}</th>' for c, name in zip(classes, table.columns, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(f'<td{_class(c)}>{_text(cell)}</td>' for c, cell in zip(classes, row, strict=True))}</tr>"
        for row in table.rows
    )
    title = f"<caption>{_text(caption)}</caption>" if caption else ""
    named = _text(caption or table.caption or "table")
    many = _class("many" if len(table.columns) > 3 else "")
    return (
        f'<div class="wide" role="region" aria-label="{named}" tabindex="0"><table{many}>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _answer(answer: Answer) -> str:
    finding = answer.finding
    table = _table(Table(f"{finding.tested:,} comparisons decided together", finding.columns, finding.rows), "")
    cells = _folded("the cells that show it", table) if finding.rows else ""
    tested = f" {finding.tested:,} comparisons were decided together." if finding.tested else ""
    return (
        f'<section class="finding" id="finding-{_text(finding.key)}"><h3>{_text(finding.question)} '
        f'<span class="verdict {finding.verdict}">{finding.verdict}</span></h3>'
        f"<p>{_text(finding.summary)}{tested}</p>"
        f'<p class="soft">Claim: {_text(finding.claim)} ({_text(finding.source)})</p>{cells}</section>'
    )


def _figure(figure: Figure) -> str:
    name, label = figure.name, _text(figure.label)
    controls = f'<div class="controls" id="{name}-controls"></div>'
    below = f'<p class="soft" id="{name}-{figure.below}"></p>' if figure.below else ""
    if figure.kind == "heat":
        legend = f'<ul class="chips" id="{name}-legend"></ul>'
        named = f'id="{name}-figure" role="region" aria-label="{label}" tabindex="0"'
        return f'{controls}{legend}<div class="heat wide" {named}></div>'
    drawings = "".join(
        f'<div class="figure waiting" id="{name}-{part}" role="img" tabindex="0" aria-label="{label}"></div>'
        for part in figure.parts
    )
    if figure.kind == "parallel":
        return f'{controls}<div class="wide"><div class="parallel">{drawings}</div></div>'
    if len(figure.parts) > 1:
        drawings = f'<div class="two">{drawings}</div>'
    if figure.kind == "front":
        below = (
            f'<div class="chosen" id="{name}-chosen" aria-live="polite"><p class="soft">A point that is pointed at, or '
            "reached with the arrow keys, is told here, with the command that measures it again.</p></div>"
            f'<details><summary>The front as it is shown: <span id="{name}-count"></span></summary>'
            f'<div class="wide"><table><tbody id="{name}-rows"></tbody></table></div></details>'
        )
    return f"{controls}{drawings}{below}"


def _file(name: str) -> str:
    return resources.files("dlas_mlir.study.report").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's own file, out of its package."""
    try:
        text = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError):
        raise DlasError("a report in HTML needs plotly: pip install 'dlas-mlir[report]'; --markdown does not") from None
    return text.replace("</script", "<\\/script")
