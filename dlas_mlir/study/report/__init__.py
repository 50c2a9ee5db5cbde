"""The report of a study: one page of HTML that needs nothing else, or of Markdown."""

from __future__ import annotations

from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.comparison import Comparison
from dlas_mlir.study.findings import Finding, find

__all__ = ["html_comparison", "html_report", "markdown_comparison", "markdown_report"]


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


def html_comparison(comparison: Comparison) -> str:
    """Two studies beside each other as a page of HTML. Raises DlasError where plotly is missing."""
    from dlas_mlir.study.report.html import page
    from dlas_mlir.study.report.side_by_side import payload, sections

    return page(*_titles(comparison), sections(comparison), payload(comparison))


def markdown_comparison(comparison: Comparison) -> str:
    """The same as a page of Markdown."""
    from dlas_mlir.study.report.markdown import markdown
    from dlas_mlir.study.report.side_by_side import sections

    return markdown(*_titles(comparison), sections(comparison))


def _titles(comparison: Comparison) -> tuple[str, str]:
    before, after = comparison.before.results, comparison.after.results
    return f"{before.name} and {after.name}", f"A: {before.source}, B: {after.source}"


def _subtitle(analysis: Analysis) -> str:
    results = analysis.results
    devices = ", ".join(str(level) for level in results.levels["device"])
    when = results.provenance.get("date", "")
    return f"{len(results):,} points on {devices}" + (f", {when}" if when else "")
