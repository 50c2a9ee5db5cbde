"""What a question asked of a study comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from dlas_mlir.study.contrasts import REASONS

Verdict = Literal["confirmed", "tie", "untestable"]
# Rows that are shown of what may be thousands.
MOST_ROWS = 12
PAPER = "the abstract of DLAS, ACM TACO 2024"
OURS = "not asked in the paper"


@dataclass(frozen=True)
class Finding:
    """A question and its answer.

    `confirmed`: the data shows what is claimed; `tie`: it was looked for, and what was found is within the noise;
    `untestable`: the data cannot tell. `claim` is what somebody says, and `source` who does. `columns` and `rows` are
    the cells that show it; `tested` says how many comparisons were decided together.
    """

    key: str
    question: str
    claim: str
    source: str
    verdict: Verdict
    summary: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    tested: int = 0

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Question:
    """A question before it is answered."""

    key: str
    question: str
    claim: str
    source: str

    def untestable(self, why: str) -> Finding:
        """The data cannot tell."""
        return self._answered("untestable", why, (), (), 0)

    def answered(
        self,
        confirmed: bool,
        summary: str,
        columns: Sequence[str] = (),
        rows: Sequence[Sequence[str]] = (),
        tested: int = 0,
    ) -> Finding:
        """It was tested; what was not confirmed is a tie."""
        return self._answered("confirmed" if confirmed else "tie", summary, columns, rows, tested)

    def _answered(
        self, verdict: Verdict, summary: str, columns: Sequence[str], rows: Sequence[Sequence[str]], tested: int
    ) -> Finding:
        cells = tuple(tuple(row) for row in rows[:MOST_ROWS])
        shown = tuple(columns) if cells else ()
        return Finding(self.key, self.question, self.claim, self.source, verdict, summary, shown, cells, tested)


def counted(number: int, what: str) -> str:
    """ "1 pair", "2 pairs"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def why_not(reason: np.ndarray, asked: int) -> str:
    """Why nothing of what was asked could be tested; `reason` are codes into `contrasts.REASONS`."""
    counts = Counter(REASONS[code] for code in reason.tolist() if code)
    why = "; ".join(f"{text}: {count:,}" for text, count in counts.most_common(3))
    return f"None of {counted(asked, 'pair')} could be tested" + (f" ({why})." if why else ".")
