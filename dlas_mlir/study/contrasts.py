"""Times of points over times of others, and what may be said: faster, slower, a tie, or that it cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from dlas_mlir.measure.stats import ratio_intervals
from dlas_mlir.study.results import Results
from dlas_mlir.study.series import Noise, Series
from dlas_mlir.study.statistics import LEVEL, holm, t_test

FASTER, TIE, SLOWER, UNTESTABLE = -1, 0, 1, 2
VERDICTS = {FASTER: "faster", TIE: "tie", SLOWER: "slower", UNTESTABLE: "untestable"}
# With fewer, no claim is made; see docs/studies-statistics.md.
LEAST_ROUNDS, LEAST_STARTS = 6, 2
REASONS = (
    "",
    "not both timed",
    "not timed in turns with each other",
    f"fewer than {LEAST_ROUNDS} rounds",
    f"fewer than {LEAST_STARTS} process starts",
)
_NOT_TIMED, _NOT_TOGETHER, _FEW_ROUNDS, _FEW_STARTS = range(1, 5)


@dataclass(frozen=True)
class Effects:
    """Logarithms of ratios of times [n]: of the medians (`log`), and of the mean over rounds (`mean`) with its
    `variance` and degrees of `freedom`; the smallest and the largest mean of a process start (`low`, `high`); and from
    how many rounds and starts. `band` is the relative difference that is a tie, `reason` a code into REASONS that says
    why there is none. `above` and `below` are the series of what was timed round by round, -1 for what was not."""

    log: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rounds: np.ndarray
    starts: np.ndarray
    band: np.ndarray
    reason: np.ndarray
    above: np.ndarray
    below: np.ndarray

    def __len__(self) -> int:
        return len(self.log)

    def at(self, chosen: np.ndarray) -> Effects:
        """Some of them, by numbers or by a mask."""
        return Effects(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def over(self, other: Effects) -> Effects:
        """These ratios over others that were measured apart from them, one by one."""
        nothing = np.full(len(self), -1)
        return Effects(
            log=self.log - other.log,
            mean=self.mean - other.mean,
            variance=self.variance + other.variance,
            freedom=_combined([(self.variance, self.freedom), (other.variance, other.freedom)]),
            low=self.low - other.high,
            high=self.high - other.low,
            rounds=np.minimum(self.rounds, other.rounds),
            starts=np.minimum(self.starts, other.starts),
            band=np.maximum(self.band, other.band),
            reason=np.where(self.reason == 0, other.reason, self.reason),
            above=nothing,
            below=nothing,
        )

    @property
    def ratio(self) -> np.ndarray:
        """The ratios; NaN where there is none."""
        return np.exp(self.log)

    @property
    def p(self) -> np.ndarray:
        """The p-value of each alone; NaN where nothing can be told."""
        found = t_test(self.mean, self.variance, self.freedom)
        return np.where((self.reason == 0) & (self.freedom > 0), found, np.nan)

    def verdicts(self, family: np.ndarray | None = None) -> np.ndarray:
        """FASTER, TIE, SLOWER or UNTESTABLE [n]. A difference is one if its p-value, adjusted by Holm's method for all
        of the `family` (of these p-values by default), is below the level, if it is beyond the band, and if every
        process start shows it."""
        adjusted = holm(self.p) if family is None else family
        below, above = -np.log1p(self.band), np.log1p(self.band)
        with np.errstate(invalid="ignore"):
            real = adjusted < LEVEL
            faster = real & (self.log < below) & (self.high < 0)
            slower = real & (self.log > above) & (self.low > 0)
        found = np.where(faster, FASTER, np.where(slower, SLOWER, TIE))
        return np.where(np.isnan(adjusted), UNTESTABLE, found)

    def intervals(self, series: Series) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % intervals of the ratios: by bootstrap over starts and rounds of what was timed round by round, else
        from the variance. NaN where there is no ratio."""
        from scipy.special import stdtrit

        with np.errstate(invalid="ignore"):
            half = stdtrit(np.maximum(self.freedom, 1), 0.975) * np.sqrt(self.variance)
        low, high = np.exp(self.log - half), np.exp(self.log + half)
        together = np.flatnonzero((self.above >= 0) & (self.below >= 0) & (self.reason == 0))
        if not len(together):
            return low, high
        above, below = series.log[self.above[together]], series.log[self.below[together]]
        common = ~np.isnan(above) & ~np.isnan(below)
        start = np.where(common, series.start[self.above[together]], -1)
        designs, design = np.unique(start, axis=0, return_inverse=True)
        for number, starts in enumerate(designs):
            rows, slots = np.flatnonzero(design.reshape(-1) == number), np.flatnonzero(starts >= 0)
            parts = [np.exp(values[np.ix_(rows, slots)]) for values in (above, below)]
            low[together[rows]], high[together[rows]] = ratio_intervals(parts[0], parts[1], starts[slots])
        return low, high


@dataclass(frozen=True)
class Clock:
    """Compares times of a study's points, given by their rows."""

    results: Results
    series: Series
    _first: np.ndarray
    _keys: np.ndarray

    @staticmethod
    def of(results: Results) -> Clock:
        """The clock of a study."""
        series = Series.of(results)
        first = np.full(len(results), -1, np.int64)
        first[series.point[::-1]] = np.arange(len(series.point))[::-1]
        keys = series.block.astype(np.int64) * max(len(results), 1) + series.point
        return Clock(results, series, first, keys)

    def paired(self, above: np.ndarray, below: np.ndarray) -> Effects:
        """`above` over `below`, each row a point, which took turns with each other in a block, or with the same point
        in two blocks."""
        first, second = self._together(above, below)
        found = self._rounds(first, second)
        bases, through = self._bases(above, below), np.flatnonzero((first < 0) | (second < 0))
        through = through[bases[through] >= 0]
        if len(through):
            base = bases[through]
            legs = [self._rounds(*self._together(points[through], base)) for points in (above, below)]
            _put(found, through, legs[0].over(legs[1]))
        timed = self.results.timed[above] & self.results.timed[below]
        return replace(found, reason=np.where(timed, found.reason, _NOT_TIMED))

    def apart(self, above: np.ndarray, below: np.ndarray) -> Effects:
        """`above` over `below`, each row a point, whenever and wherever they were timed."""
        return self.alone(above).over(self.alone(below))

    def alone(self, points: np.ndarray) -> Effects:
        """The times of points by themselves, in milliseconds; over those of others they are ratios."""
        found = self._alone(self._first[points])
        return replace(found, reason=np.where(self.results.timed[points], found.reason, _NOT_TIMED))

    def _locate(self, block: np.ndarray, point: np.ndarray) -> np.ndarray:
        """The series of a point in a block, -1 where it is not in it."""
        if not len(self._keys):
            return np.full(len(point), -1)
        key = block.astype(np.int64) * len(self.results) + point
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        return np.where(self._keys[place] == key, place, -1)

    def _block(self, series: np.ndarray) -> np.ndarray:
        """The block of a series, -1 for none."""
        return np.where(series >= 0, self.series.block[series], -1) if len(self.series.block) else series

    def _together(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The series of two points in one block, -1 where there is none."""
        first = self._first[one]
        second = self._locate(self._block(first), other)
        back = self._first[other]
        forth = self._locate(self._block(back), one)
        found = second >= 0
        return np.where(found, first, forth), np.where(found, second, np.where(forth >= 0, back, -1))

    def _bases(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """The point that two blocks have in common to compare with, -1 for none."""
        if not len(self.results.base):
            return np.full(len(one), -1)
        blocks = [self._block(self._first[points]) for points in (one, other)]
        bases = [np.where(block >= 0, self.results.base[block], -1) for block in blocks]
        return np.where(bases[0] == bases[1], bases[0], -1)

    def _rounds(self, above: np.ndarray, below: np.ndarray) -> Effects:
        """Series of one block over each other, round by round."""
        together = (above >= 0) & (below >= 0)
        a, b = (np.where(together, series, 0) for series in (above, below))
        log = self.series.log
        if not len(log):
            return _nothing(len(above))
        common = ~np.isnan(log[a]) & ~np.isnan(log[b]) & together[:, None]
        difference = np.where(common, log[a] - log[b], np.nan)
        counts, low, high = self._starts(np.where(common, self.series.start[a], -1), difference)
        rounds, starts = counts.sum(0), (counts > 0).sum(0)
        one, other = (_Uncertainty.of(self.series.own, series, counts) for series in (a, b))
        median = _median(np.where(common, log[a], np.nan)) - _median(np.where(common, log[b], np.nan))
        return Effects(
            log=median,
            mean=_mean(difference),
            variance=one.variance + other.variance,
            freedom=_freedom([one, other]),
            low=low,
            high=high,
            rounds=rounds,
            starts=starts,
            band=self._bands(a, b),
            reason=np.where(together, _enough(rounds, starts), _NOT_TOGETHER),
            above=np.where(together, above, -1),
            below=np.where(together, below, -1),
        )

    def _alone(self, series: np.ndarray) -> Effects:
        """Series by themselves: logarithms of milliseconds, with all that the machine does."""
        there = series >= 0
        if not len(self.series.log):
            return _nothing(len(series))
        a = np.where(there, series, 0)
        log = np.where(there[:, None], self.series.log[a], np.nan)
        counts, low, high = self._starts(np.where(np.isnan(log), -1, self.series.start[a]), log)
        whole = _Uncertainty.of(self.series.whole, a, counts)
        rounds, starts = counts.sum(0), (counts > 0).sum(0)
        return Effects(
            log=_median(log),
            mean=_mean(log),
            variance=whole.variance,
            freedom=_freedom([whole]),
            low=low,
            high=high,
            rounds=rounds,
            starts=starts,
            band=self._bands(a, a),
            reason=np.where(there, _enough(rounds, starts), _NOT_TIMED),
            above=np.full(len(series), -1),
            below=np.full(len(series), -1),
        )

    def _starts(self, start: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rounds of each start [starts, n], and the smallest and the largest mean of a start [n]."""
        counts, means = [], []
        for number in range(int(self.series.start.max()) + 1):
            chosen = start == number
            counts.append(chosen.sum(1))
            means.append(_mean(np.where(chosen, values, np.nan)))
        stacked = np.stack(means)
        none = np.isnan(stacked)
        return np.stack(counts), np.where(none, np.inf, stacked).min(0), np.where(none, -np.inf, stacked).max(0)

    def _bands(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        bands = np.array([self.series.band(device) for device in range(len(self.series.noise))])
        return np.maximum(bands[self.series.device[a]], bands[self.series.device[b]])


def joined(parts: Sequence[Effects]) -> Effects:
    """Several, one after the other: a family."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Effects)}
    return Effects(**{name: np.concatenate(values) for name, values in columns.items()})


def _put(into: Effects, places: np.ndarray, values: Effects) -> None:
    for field in fields(Effects):
        getattr(into, field.name)[places] = getattr(values, field.name)


def _nothing(count: int) -> Effects:
    nan, zero, none = np.full(count, np.nan), np.zeros(count), np.full(count, -1)
    reason = np.full(count, _NOT_TIMED)
    return Effects(nan, nan, nan, zero, nan, nan, zero, zero, zero, reason, none, none)


def _enough(rounds: np.ndarray, starts: np.ndarray) -> np.ndarray:
    few = np.where(starts < LEAST_STARTS, _FEW_STARTS, 0)
    few = np.where(rounds < LEAST_ROUNDS, _FEW_ROUNDS, few)
    return np.where(rounds == 0, _NOT_TOGETHER, few)


@dataclass(frozen=True)
class _Uncertainty:
    """Of means over rounds [n]: the two parts of the variance of each, and their degrees of freedom."""

    parts: tuple[tuple[np.ndarray, np.ndarray], ...]

    @staticmethod
    def of(noise: Noise, series: np.ndarray, counts: np.ndarray) -> _Uncertainty:
        """With so many rounds of each start [starts, n]."""
        rounds = np.maximum(counts.sum(0), 1)
        within = noise.within[series] / rounds, noise.within_freedom[series]
        between = noise.between[series] * ((counts / rounds) ** 2).sum(0), noise.between_freedom[series]
        return _Uncertainty((within, between))

    @property
    def variance(self) -> np.ndarray:
        return sum((variance for variance, _ in self.parts), np.zeros(()))


def _freedom(uncertainties: Sequence[_Uncertainty]) -> np.ndarray:
    return _combined([part for each in uncertainties for part in each.parts])


def _combined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The degrees of freedom of a sum of variances, after Satterthwaite; 0 where one is not known at all."""
    total = sum((variance for variance, _ in parts), np.zeros(()))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = total**2 / sum((variance**2 / freedom for variance, freedom in parts), np.zeros(()))
    return np.where(np.isfinite(found), found, 0.0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the slots that are known; NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0.0).sum(1) / count


def _median(values: np.ndarray) -> np.ndarray:
    """Over the slots that are known; NaN where none is. (np.nanmedian is ten times slower on short rows.)"""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    ordered, count = np.sort(values, axis=1), (~np.isnan(values)).sum(1)
    rows = np.arange(len(values))
    return (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, count - 1)]) / 2
