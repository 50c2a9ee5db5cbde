"""`dlas study report`, `findings` and `compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlas_mlir.cli import arguments
from dlas_mlir.cli.console import check_writable, print_table, write_json

if TYPE_CHECKING:
    from dlas_mlir.study.analysis import Analysis
    from dlas_mlir.study.comparison import Comparison
    from dlas_mlir.study.findings import Finding


def add_parsers(commands: Any) -> None:
    """Add them to `dlas study`."""
    report: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="a study's report, as one page of HTML and one of Markdown",
        description="Write what a study has found so far: overview with failures, findings, figures and tables. The "
        "page of HTML needs nothing but a browser; what may be claimed is told in docs/studies-statistics.md.",
    )
    arguments.add_study(report)
    _add_pages(report, "report.html and report.md in DIR")
    report.set_defaults(act=run_report)
    findings: argparse.ArgumentParser = commands.add_parser(
        "findings",
        help="what a study confirms, what is a tie, and what it cannot tell",
        description="Ask the claims of the paper, and more, of a study's data. Each is confirmed, a tie or untestable.",
    )
    arguments.add_study(findings)
    findings.add_argument("--cells", action="store_true", help="print the cells that show it, too")
    arguments.add_json(findings)
    findings.set_defaults(act=run_findings)
    compare: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="two studies: what is faster, more accurate, or failed in the second",
        description="Compare the points that are the same in two studies. They were not timed in turns with each "
        "other, so differences have to be larger to be one.",
    )
    arguments.add_study(compare, "a", "A")
    arguments.add_study(compare, "b", "B")
    _add_pages(compare, "none is written")
    arguments.add_json(compare)
    compare.set_defaults(act=run_compare)


def _add_pages(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help=f"default: {default}")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="likewise")


def analysis_of(folder: Path) -> Analysis:
    """What a study in a folder has found so far. Raises DlasError."""
    from dlas_mlir.study.analysis import Analysis
    from dlas_mlir.study.read_results import read_results
    from dlas_mlir.study.run import open_store

    with open_store(folder) as store:
        return Analysis(read_results(store, str(folder)))


def run_report(args: argparse.Namespace) -> int:
    """Write the pages that are asked for, or both. Raises DlasError."""
    from dlas_mlir.study.findings import find
    from dlas_mlir.study.report import html_report, markdown_report

    neither = args.output is None and args.markdown is None
    page = args.folder / "report.html" if neither else args.output
    text = args.folder / "report.md" if neither else args.markdown
    analysis = analysis_of(args.folder)
    for path in filter(None, (page, text)):
        check_writable(path)
    findings = find(analysis)
    if text:
        _write(text, markdown_report(analysis, findings))
    if page:
        _write(page, html_report(analysis, findings))
    return 0


def _write(path: Path, text: str) -> None:
    from dlas_mlir.compiler.cache import write_atomically

    write_atomically(path, text)
    print(path)


def run_findings(args: argparse.Namespace) -> int:
    """Print a line or a few for each question, and write JSON. Raises DlasError."""
    from dlas_mlir.study.findings import find

    if args.json:
        check_writable(args.json)
    found = find(analysis_of(args.folder))
    write_json(args.json, [finding.as_json() for finding in found])
    for finding in found:
        _print(finding, args.cells)
    return 0


def _print(finding: Finding, cells: bool) -> None:
    print(f"{finding.verdict}: {finding.question}\n  {finding.summary}\n  claim: {finding.claim} ({finding.source})")
    if cells and finding.rows:
        print_table("", [(name, "left") for name in finding.columns], finding.rows)


def run_compare(args: argparse.Namespace) -> int:
    """Print what differs, and write the pages that are asked for. Raises DlasError."""
    from dlas_mlir.study.comparison import Comparison
    from dlas_mlir.study.report import html_comparison, markdown_comparison

    for path in filter(None, (args.output, args.markdown, args.json)):
        check_writable(path)
    comparison = Comparison.of(analysis_of(args.a), analysis_of(args.b))
    _print_comparison(comparison)
    write_json(args.json, comparison.as_json())
    if args.markdown:
        _write(args.markdown, markdown_comparison(comparison))
    if args.output:
        _write(args.output, html_comparison(comparison))
    return 0


def _print_comparison(comparison: Comparison) -> None:
    counts, mean = comparison.counts, comparison.mean
    before, after = comparison.before.results, comparison.after.results
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    timed = int(comparison.timed.sum())
    print(f"{len(comparison.first):,} points in both, {timed:,} timed in both: {said or 'nothing'}")
    if mean is not None:
        print(f"geometric mean of B / A: {mean:.3f} (n = {timed})")
    columns = [("", "left"), ("A, ms", "right"), ("B, ms", "right"), ("B / A", "right")]
    rows = []
    shown = comparison.changed()[:20]
    for place, ratio in zip(shown, comparison.before.ratios(comparison.effects.at(shown)), strict=True):
        one, other = comparison.first[place], comparison.second[place]
        times = (before.metric("median_ms")[one], after.metric("median_ms")[other])
        rows.append([comparison.before.label(int(one)), *(f"{time:.3f}" for time in times), ratio])
    if rows:
        print_table(
            f"the largest differences beyond the noise, {len(rows)} of {len(comparison.changed()):,}", columns, rows
        )
    differ = sum(said in ("more", "less") for said in comparison.accuracy)
    print(f"{differ:,} points differ in accuracy beyond chance")
    for (one, other), count in comparison.states().most_common():
        if one != other:
            print(f"{count:,} {one} in A, {other} in B")
