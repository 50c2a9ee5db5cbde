"""The report of a study: one page of HTML that needs nothing else, or of Markdown."""

from __future__ import annotations

from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.findings import Finding, find

__all__ = ["html_report", "markdown_report"]


def html_report(analysis: Analysis, findings: list[Finding] | None = None) -> str:
    """The report as a page of HTML. Raises DlasError where plotly is missing."""
    from dlas_mlir.study.report.html import page
    from dlas_mlir.study.report.payload import payload
    from dlas_mlir.study.report.sections import sections

    results = analysis.results
    blocks = sections(analysis, find(analysis) if findings is None else findings)
    data = {**payload(analysis), "command": f"dlas study show {results.source} {{point}}"}
    return page(f"Study: {results.name}", _subtitle(analysis), blocks, data)


def markdown_report(analysis: Analysis, findings: list[Finding] | None = None) -> str:
    """The report as a page of Markdown."""
    from dlas_mlir.study.report.markdown import markdown
    from dlas_mlir.study.report.sections import sections

    blocks = sections(analysis, find(analysis) if findings is None else findings)
    return markdown(f"Study: {analysis.results.name}", _subtitle(analysis), blocks)


def _subtitle(analysis: Analysis) -> str:
    results = analysis.results
    devices = ", ".join(str(level) for level in results.levels["device"])
    when = results.provenance.get("date", "")
    return f"{len(results):,} points on {devices}" + (f", {when}" if when else "")
