"""Is a technique's speed-up the same on every device, and is it what the arithmetic promises?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.contrasts import FASTER, SLOWER, UNTESTABLE
from dlas_mlir.study.findings.finding import MOST_ROWS, OURS, PAPER, Finding, Question, counted, why_not

_BY_DEVICE = Question(
    "speedup-by-device",
    "Does the speed-up of a compression technique depend on the device?",
    "The speed-up of a compression technique is very hardware dependent.",
    PAPER,
)
_EXPECTED = Question(
    "expected-speedup",
    "Does compression bring the speed-up that the arithmetic lets expect?",
    "The actual speed-up falls short of the expected one.",
    OURS,
)


def by_device(analysis: Analysis) -> Finding:
    """Does a technique's speed-up depend on the device?"""
    results, speedups = analysis.results, analysis.speedups
    devices = {str(results.level("device", row)) for row in speedups.point}
    if len(devices) < 2:
        return _BY_DEVICE.untestable(f"There are speed-ups on {counted(len(devices), 'device')}; it takes two.")
    effects, one, other = analysis.between_devices
    verdict = effects.verdicts()
    tested = int((verdict != UNTESTABLE).sum())
    if not tested:
        return _BY_DEVICE.untestable(why_not(effects.reason, len(effects)))
    differ = np.flatnonzero((verdict == FASTER) | (verdict == SLOWER))
    pairs = f"{counted(tested, 'speed-up')} measured on two devices"
    if not len(differ):
        return _BY_DEVICE.answered(False, f"None of {pairs} differs between them.", tested=tested)
    order = differ[np.argsort(-np.abs(effects.log[differ]))][:MOST_ROWS]
    sides = [analysis.ratios(speedups.effects.at(rows[order]), inverse=True) for rows in (one, other)]
    rows = []
    for place, first, second in zip(order, *sides, strict=True):
        a, b = (int(speedups.point[side[place]]) for side in (one, other))
        where = analysis.label(a, ("device",))
        rows.append((where, str(results.level("device", a)), first, str(results.level("device", b)), second))
    most = float(np.exp(np.abs(effects.log[differ]).max()))
    summary = f"It does in {len(differ):,} of {pairs}, by up to {most:.2f} times."
    columns = ("where", "device", "speed-up there", "device", "speed-up there")
    return _BY_DEVICE.answered(True, summary, columns, rows, tested)


def expected(analysis: Analysis) -> Finding:
    """Does each technique bring what the arithmetic lets expect?"""
    speedups = analysis.speedups
    known = np.flatnonzero(np.isfinite(speedups.expected))
    if not len(known):
        return _EXPECTED.untestable("There is no compressed point of which base and expected speed-up are known.")
    told = speedups.expected[known]
    alone, promised = speedups.effects.at(known), np.log(told)
    # The time over what it would be if the promise held.
    shifted = {name: getattr(alone, name) + promised for name in ("log", "mean", "low", "high")}
    effects = replace(alone, **shifted)
    verdict = effects.verdicts()
    tested = int((verdict != UNTESTABLE).sum())
    if not tested:
        return _EXPECTED.untestable(why_not(effects.reason, len(effects)))
    short = int((verdict == SLOWER).sum())
    summary = f"{short:,} of {counted(tested, 'speed-up')} fall short of what was expected, beyond the noise."
    columns = ("technique", "expected, median", "actual, median (range)", "less", "as expected", "more")
    rows, names = [], speedups.names()
    for level in np.unique(speedups.level[known]):
        on = (speedups.level[known] == level) & (verdict != UNTESTABLE)
        if not on.any():
            continue
        actual = np.exp(-alone.log[on])
        spread = f"{np.median(actual):.2f} ({actual.min():.2f} to {actual.max():.2f})"
        counts = [str(int((verdict[on] == kind).sum())) for kind in (SLOWER, 0, FASTER)]
        rows.append((names[level], f"{np.median(told[on]):.2f}", spread, *counts))
    return _EXPECTED.answered(short > 0, summary, columns, rows, tested)
