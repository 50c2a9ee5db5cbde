"""Two selections of records beside each other: which is faster, and whether that can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlas_mlir.errors import DlasError
from dlas_mlir.measure import stats
from dlas_mlir.measure.record import Record
from dlas_mlir.measure.stats import Comparison, Timing, geomean
from dlas_mlir.measure.store import Store, Stored


@dataclass(frozen=True)
class Pair:
    """What is the same in both selections, with its time in milliseconds in each; `comparison` is of the second over
    the first."""

    name: str
    before: int
    after: int
    before_ms: float
    after_ms: float
    comparison: Comparison


def select(store: Store, text: str) -> list[Stored]:
    """The records that `text` means: a number, a preset, a run's name, or a model. Raises DlasError for none."""
    if text.isdigit():
        return [Stored(int(text), store.get(int(text)))]
    found = list(store.records("preset = ? OR run = ? OR model = ?", (text, text, text)))
    if not found:
        raise DlasError(f"{store.path}: `{text}` is no number, preset, run or model of a record; see dlas records list")
    return found


def pairs(before: Sequence[Stored], after: Sequence[Stored]) -> list[Pair]:
    """What was timed in both, the last record of each. Single records are compared whatever they are; records of one
    preset and another, where the subject is the same; others, where the preset is too. Raises DlasError for nothing
    in common."""
    if len(before) == len(after) == 1:
        return [_pair(before[0], after[0])]
    presets = [{stored.record.software.preset for stored in part} for part in (before, after)]
    by_subject = all(len(names) == 1 for names in presets)

    def last(part: Sequence[Stored]) -> dict[str, Stored]:
        timed = [stored for stored in part if stored.record.turns and not stored.record.failure]
        return {stored.record.subject if by_subject else stored.record.key: stored for stored in timed}

    one, other = last(before), last(after)
    found = [_pair(one[key], other[key]) for key in one if key in other]
    if not found:
        raise DlasError("the two have nothing in common that was timed in both")
    return found


def _pair(before: Stored, after: Stored) -> Pair:
    for stored in (before, after):
        if not stored.record.turns:
            raise DlasError(
                f"record {stored.id} ({stored.record.name}) has no times: {stored.record.error or 'unknown'}"
            )
    one, other = before.record, after.record
    noises = [noise for noise in (one.noise, other.noise) if noise is not None]
    comparison = stats.compare(
        other.turns, one.turns, noise=max(noises, default=None), paired=bool(one.run) and one.run == other.run
    )
    before_ms, after_ms = (Timing.of(record.turns).median_ms for record in (one, other))
    return Pair(_name(one, other), before.id, after.id, before_ms, after_ms, comparison)


def _name(one: Record, other: Record) -> str:
    if one.name == other.name:
        return one.name
    model, hardware = one.model, one.hardware
    if model.name != other.model.name:
        return f"{one.name} : {other.name}"
    batch = f"/batch:{model.batch}" if model.batch > 1 else ""
    return f"{model.name}{batch}/threads:{hardware.threads}"


def summary(found: Sequence[Pair]) -> dict[str, float | int | None]:
    """The geometric mean of the ratios over all of `found`, and how many are faster, slower and ties."""
    verdicts = [pair.comparison.verdict for pair in found]
    return {
        "geomean": geomean(pair.comparison.ratio for pair in found),
        "n": len(found),
        **{name: verdicts.count(name) for name in ("faster", "slower", "tie")},
    }
