"""Questions asked of a study's data, and their answers: `find` asks all."""

from __future__ import annotations

from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.findings.finding import Finding

__all__ = ["Finding", "find"]


def find(analysis: Analysis) -> list[Finding]:
    """The paper's questions, then ours."""
    from dlas_mlir.study.findings import correlated, fastest, gains, trades

    return [
        fastest.changes(analysis, "compression"),
        fastest.changes(analysis, "element"),
        fastest.changes(analysis, "schedule"),
        correlated.correlated(analysis),
        gains.by_device(analysis),
        gains.expected(analysis),
        fastest.mixture(analysis),
        trades.time_at_equal_accuracy(analysis),
        trades.accuracy_at_equal_time(analysis),
    ]
