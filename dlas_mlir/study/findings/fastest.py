"""Does the fastest way of computing the convolutions change with other choices, and does a mixture over layers win?"""

from __future__ import annotations

import numpy as np

from dlas_mlir.study.analysis import Analysis, worded
from dlas_mlir.study.axes import AXIS
from dlas_mlir.study.contrasts import FASTER, SLOWER, TIE, UNTESTABLE
from dlas_mlir.study.duels import CHOICE, Flip, flips
from dlas_mlir.study.findings.finding import MOST_ROWS, OURS, PAPER, Finding, Question, counted, why_not

_QUESTIONS = {
    "compression": Question(
        "fastest-by-compression",
        "Does the fastest primitive change with the level of compression?",
        "The best choice at one layer of the stack changes with the choices at others.",
        PAPER,
    ),
    "element": Question(
        "fastest-by-element",
        "Does the fastest primitive change with the element type?",
        "The fastest primitive varies with the level of quantization.",
        PAPER,
    ),
    "schedule": Question(
        "fastest-by-schedule",
        "Does tuning change which primitive is the fastest?",
        "Auto-tuning changes which algorithm is the best.",
        PAPER,
    ),
}
_MIXTURE = Question(
    "mixture",
    "Which wins: a primitive for the whole network, or a mixture chosen layer by layer?",
    "Layers differ, so a mixture is faster than any single primitive.",
    OURS,
)
# The primitive that stands for a choice of its own for each layer.
MIXTURE = AXIS["primitive"].default


def changes(analysis: Analysis, context: str) -> Finding:
    """Does the fastest primitive change along the axis `context`?"""
    question, results, duels = _QUESTIONS[context], analysis.results, analysis.duels
    levels = len(np.unique(results.codes[context][results.timed]))
    if levels < 2 or len(duels.names) < 2:
        what = f"{counted(len(duels.names), 'choice')} of primitive and format at {counted(levels, 'level')}"
        return question.untestable(f"There are times of {what} of {context}; it takes two of each.")
    found = flips(analysis.clock, duels, context)
    if not found.tested:
        return question.untestable(why_not(duels.effects.reason, found.asked))
    pairs = f"{counted(found.tested, 'pair')} of choices compared on two levels of {context} or more"
    summary = f"None of {pairs} changes its winner."
    if found.found:
        summary = f"It does in {counted(len(found.found), 'case')}, of {pairs}."
    columns = ("where", "A", "B", f"{context} where A wins", "A / B there", f"{context} where B wins", "A / B there")
    rows = _flip_rows(analysis, found.found[:MOST_ROWS], context)
    return question.answered(bool(found.found), summary, columns, rows, int((duels.verdict != UNTESTABLE).sum()))


def _flip_rows(analysis: Analysis, shown: list[Flip], context: str) -> list[tuple[str, ...]]:
    results, duels = analysis.results, analysis.duels
    duel = np.array([[flip.won, flip.lost] for flip in shown], np.int64).reshape(-1, 2)
    ratios = [analysis.ratios(duels.effects.at(duel[:, column])) for column in (0, 1)]
    rows = []
    for flip, won, lost in zip(shown, *ratios, strict=True):
        examples = [int(duels.example[duels.cell[number]]) for number in (flip.won, flip.lost)]
        where = analysis.label(examples[0], (*CHOICE, context))
        at = [worded(context, results.level(context, row)) for row in examples]
        rows.append((where, duels.names[flip.a], duels.names[flip.b], at[0], won, at[1], lost))
    return rows


def mixture(analysis: Analysis) -> Finding:
    """Is a choice of primitives layer by layer faster than each primitive for the whole network?"""
    duels = analysis.duels
    mixed = [i for i, level in enumerate(duels.levels) if level[0] == MIXTURE]
    single = [i for i, level in enumerate(duels.levels) if level[0] != MIXTURE]
    if not mixed or not single:
        return _MIXTURE.untestable(f"It takes times of the primitive `{MIXTURE}` and of another.")
    wins, losses, ties = np.zeros((3, len(duels.table)), np.int64)
    of_mixture = np.isin(np.stack([duels.a, duels.b]), mixed)
    for side, won, lost in ((0, FASTER, SLOWER), (1, SLOWER, FASTER)):
        mine = of_mixture[side] & ~of_mixture[1 - side]
        for counts, verdict in ((wins, won), (losses, lost), (ties, TIE)):
            np.add.at(counts, duels.cell[mine & (duels.verdict == verdict)], 1)
    tested = (wins + losses + ties) > 0
    if not tested.any():
        return _MIXTURE.untestable(why_not(duels.effects.reason, len(duels.cell)))
    best, beaten = (wins > 0) & (losses + ties == 0), losses > 0
    summary = (
        f"In {counted(int(tested.sum()), 'cell')} the mixture is faster than every single primitive in {best.sum():,}, "
        f"slower than one of them in {beaten.sum():,}, and in the others a tie with the best."
    )
    columns = ("where", "the mixture", "fastest single primitive", "mixture / single")
    rows = _mixture_rows(analysis, mixed, single, np.flatnonzero(tested), best, beaten)
    return _MIXTURE.answered(bool(best.any()), summary, columns, rows, int((duels.verdict != UNTESTABLE).sum()))


def _mixture_rows(
    analysis: Analysis, mixed: list[int], single: list[int], cells: np.ndarray, best: np.ndarray, beaten: np.ndarray
) -> list[tuple[str, ...]]:
    duels, median = analysis.duels, analysis.results.metric("median_ms")
    times = np.where(duels.table >= 0, median[duels.table], np.inf)[cells]
    mine, others = (np.array(part)[times[:, part].argmin(1)] for part in (mixed, single))
    effects = analysis.clock.paired(duels.table[cells, mine], duels.table[cells, others])
    order = np.argsort(effects.log)
    # Both ends: where it wins most, and where it loses most.
    order = order if len(order) <= MOST_ROWS else np.concatenate([order[: MOST_ROWS // 2], order[-MOST_ROWS // 2 :]])
    rows = []
    for place, ratio in zip(order, analysis.ratios(effects.at(order)), strict=True):
        cell = cells[place]
        what = "wins" if best[cell] else "loses" if beaten[cell] else "ties"
        rows.append((analysis.label(int(duels.example[cell]), CHOICE), what, duels.names[others[place]], ratio))
    return rows
