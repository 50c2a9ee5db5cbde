"""How much the times of a point vary: from round to round, and from process start to process start.

A series is a point in a block: the median of each of its turns. What all members of the block share, a machine that
slows down for a minute, is taken off; what is left is the point's own noise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dlas_mlir.measure.stats import tie_band
from dlas_mlir.study.results import Results
from dlas_mlir.study.statistics import alike, moderated


@dataclass(frozen=True)
class Noise:
    """Of each series the variance of a logarithm of a time within a process start (`within`) and between starts
    (`between`, in addition), and with how many degrees of freedom each is known."""

    within: np.ndarray
    between: np.ndarray
    within_freedom: np.ndarray
    between_freedom: np.ndarray

    def at(self, chosen: np.ndarray) -> Noise:
        """Of some series, by their numbers."""
        return Noise(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class Series:
    """All series of a study, by block and point.

    `log` [series, slots] are natural logarithms of milliseconds, NaN where there was no turn; the members of a block
    have the same turn of the round in the same slot; `start` says of which process start it was, -1 for none. `own`
    is the noise of each beside the others of its block, `whole` that with what they share; `noise` is the A/A noise of
    each device, NaN where nothing was started twice.
    """

    point: np.ndarray
    block: np.ndarray
    device: np.ndarray
    log: np.ndarray
    start: np.ndarray
    own: Noise
    whole: Noise
    noise: np.ndarray

    def band(self, device: int) -> float:
        """The relative difference below which two times on a device are a tie."""
        noise = float(self.noise[device])
        return tie_band(None if np.isnan(noise) else noise)

    @staticmethod
    def of(results: Results) -> Series:
        """All series of the points that are all right."""
        turns = results.turns
        kept = (results.state[turns.point] == "ok") & (turns.ns > 0) if len(turns) else np.empty(0, bool)
        point, block, start, rounds = (x[kept] for x in (turns.point, turns.block, turns.start, turns.round))
        log = np.log(turns.ns[kept] / 1e6)
        slot = _slots(block, start, rounds)
        key = block.astype(np.int64) * max(len(results), 1) + point
        keys, series = np.unique(key, return_inverse=True)
        slots = int(slot.max()) + 1 if len(slot) else 0
        logs = np.full((len(keys), slots), np.nan)
        starts = np.full((len(keys), slots), -1, np.int8)
        logs[series, slot], starts[series, slot] = log, start
        points, blocks = keys % max(len(results), 1), keys // max(len(results), 1)
        device = results.codes["device"][points]
        # Members of one and the same artifact are timed once: they tell of the noise once.
        first = _first_alike(logs, blocks)
        distinct, place = np.unique(first, return_inverse=True)
        own, whole = (
            noise.at(place) for noise in _noise(logs[distinct], starts[distinct], blocks[distinct], device[distinct])
        )
        levels = len(results.levels["device"])
        return Series(points, blocks, device, logs, starts, own, whole, _device_noise(logs, starts, device, levels))


def _first_alike(log: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Of each series the number of the first of its block with the same times."""
    filled = np.nan_to_num(log, nan=-1e9)
    order = np.lexsort([*filled.T, block])
    same = (filled[order[1:]] == filled[order[:-1]]).all(1) & (block[order[1:]] == block[order[:-1]])
    begins = np.flatnonzero(np.concatenate([[True], ~same])) if len(order) else order
    found = np.empty(len(log), np.int64)
    for_each = np.repeat(begins, np.diff(np.append(begins, len(order)))) if len(order) else order
    found[order] = order[for_each]
    return found


def _slots(block: np.ndarray, start: np.ndarray, rounds: np.ndarray) -> np.ndarray:
    """Of each turn its place in the order of starts and rounds of its block."""
    key = (block.astype(np.int64) << 32) | (start.astype(np.int64) << 16) | rounds.astype(np.int64)
    keys, place = np.unique(key, return_inverse=True)
    _, first = np.unique(keys >> 32, return_index=True)
    begins = np.zeros(len(keys), np.int64)
    begins[first] = first
    return place - np.maximum.accumulate(begins)[place] if len(keys) else place


def _noise(log: np.ndarray, start: np.ndarray, block: np.ndarray, device: np.ndarray) -> tuple[Noise, Noise]:
    """`own` and `whole` noise. Only rounds that all of a block took part in tell what they share."""
    _, place, members = np.unique(block, return_inverse=True, return_counts=True)
    present = ~np.isnan(log)
    taking_part = _by_block(place, present)
    complete = (taking_part == members[:, None])[place] & present
    shared = (_by_block(place, np.where(present, log, 0.0)) / np.maximum(taking_part, 1))[place]
    alone = members[place] < 2
    correction = members[place] / np.maximum(members[place] - 1, 1)
    beside = np.where(alone[:, None], log, log - shared)
    independent = 1 / correction
    return (
        _components(beside, complete, start, device, correction, independent),
        _components(log, present, start, device, np.ones(len(log)), np.ones(len(log))),
    )


def _by_block(place: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over the members of each block."""
    found = np.zeros((int(place.max()) + 1 if len(place) else 0, values.shape[1]))
    np.add.at(found, place, values)
    return found


def _components(
    values: np.ndarray,
    used: np.ndarray,
    start: np.ndarray,
    device: np.ndarray,
    correction: np.ndarray,
    independent: np.ndarray,
) -> Noise:
    """The two components of variance of each row, by an analysis of variance with process starts as groups."""
    if not len(values):
        return Noise(*(np.empty(0) for _ in range(4)))
    count, total = [], []
    for number in range(int(start.max()) + 1 if start.size else 0):
        chosen = used & (start == number)
        count.append(chosen.sum(1))
        total.append(np.where(chosen, values, 0.0).sum(1))
    counts, totals = np.array(count, float).reshape(-1, len(values)), np.array(total).reshape(-1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        rounds, starts = counts.sum(0), (counts > 0).sum(0)
        means = np.where(counts > 0, totals / counts, 0.0)
        squares = np.where(used, values**2, 0.0).sum(1)
        grand = totals.sum(0) / rounds
        in_starts = (counts * means**2).sum(0)
        within = correction * np.maximum(squares - in_starts, 0) / (rounds - starts)
        between = correction * np.maximum(in_starts - rounds * grand**2, 0) / (starts - 1)
        size = rounds / starts
        found = Noise(*(np.full(len(values), np.nan) for _ in range(4)))
        for number in np.unique(device):
            on = device == number
            some = float(independent[on].sum())
            # Process starts are too few to tell how alike the points are; rounds can.
            prior = alike(within[on], (rounds - starts)[on])
            inside, found.within_freedom[on] = moderated(within[on], (rounds - starts)[on], prior, some)
            outside, found.between_freedom[on] = moderated(between[on], (starts - 1)[on], prior, some)
            found.within[on] = inside
            found.between[on] = np.maximum(outside - inside, 0) / size[on]
    return found


def _device_noise(log: np.ndarray, start: np.ndarray, device: np.ndarray, devices: int) -> np.ndarray:
    """See `measure.stats.noise_of`: the median over all of how far the medians of their starts lie apart."""
    starts = range(int(start.max()) + 1 if start.size else 0)
    medians = np.full((len(starts), len(log)), np.nan)
    for number in starts:
        chosen = np.where(start == number, log, np.nan)
        some = ~np.isnan(chosen).all(1)
        medians[number, some] = np.nanmedian(chosen[some], axis=1)
    more = (~np.isnan(medians)).sum(0) > 1
    apart = np.expm1(np.nanmax(medians[:, more], 0) - np.nanmin(medians[:, more], 0)) if more.any() else np.empty(0)
    of = device[more]
    return np.array([np.median(apart[of == number]) if (of == number).any() else np.nan for number in range(devices)])
