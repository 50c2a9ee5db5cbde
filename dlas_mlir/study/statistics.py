"""The tests that decide what a study may claim; docs/studies-statistics.md says why these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
_RESAMPLES = 2000


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of one family [n]: each may be held against the level as if it were alone. NaN, for
    what could not be tested, is not counted and stays."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0) if len(order) else []
    return adjusted


def t_test(difference: np.ndarray, variance: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Two-sided p-values of differences whose variances were estimated with so many degrees of freedom."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.abs(difference) / np.sqrt(variance)
    return 2 * stdtr(freedom, -statistic)


# A variance below this is a clock's tick, not certainty: of logarithms of times, a millionth of the time.
_LEAST_VARIANCE = 1e-12


def alike(variance: np.ndarray, freedom: np.ndarray) -> float:
    """How alike many variances are, each estimated with so many degrees of freedom: the degrees of freedom of the
    distribution that they were drawn from, infinite where nothing says that they differ.

    By the moments of their logarithms: G. K. Smyth, "Linear models and empirical Bayes methods for assessing
    differential expression in microarray experiments" (2004), section 6.2.
    """
    from scipy.special import polygamma, psi

    usable = (freedom > 0) & np.isfinite(variance)
    if usable.sum() < 3:
        return np.inf
    values, known = np.maximum(variance[usable], _LEAST_VARIANCE), freedom[usable]
    logs = np.log(values) - psi(known / 2) + np.log(known / 2)
    excess = float(np.var(logs, ddof=1) - np.mean(polygamma(1, known / 2)))
    return np.inf if excess <= 0 else 2 * _inverse_trigamma(excess)


def moderated(
    variance: np.ndarray, freedom: np.ndarray, prior: float, independent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Variances [n], each drawn towards what all have in common, and the degrees of freedom [n] that they then have.

    `prior` is how `alike` they are: that many degrees of freedom the common one counts for, though never for more than
    were seen; `independent` says how many of the variances are.
    """
    usable = (freedom > 0) & np.isfinite(variance)
    found, degrees = variance.astype(float), np.where(usable, freedom, 0.0)
    if not usable.any():
        return found, degrees
    values, known = np.maximum(variance[usable], _LEAST_VARIANCE), freedom[usable]
    common = float(np.average(values, weights=known))
    counted = min(prior, float(known.mean()) * independent)
    found[usable] = (counted * common + known * values) / (counted + known)
    degrees[usable] = counted + known
    return found, degrees


def _inverse_trigamma(value: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import polygamma

    low, high = 1e-4, 1e7
    if not float(polygamma(1, high)) < value < float(polygamma(1, low)):
        return high if value <= float(polygamma(1, high)) else low
    found = brentq(lambda x: float(polygamma(1, np.exp(x))) - value, np.log(low), np.log(high))
    return float(np.exp(np.asarray(found)))


def mcnemar(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """The exact two-sided p-value that two classifiers, right or not on the same images, are equally good; NaN where
    that is not known of both (None), or of different images."""
    from scipy.special import bdtr

    if one is None or other is None or len(one) != len(other):
        return float("nan")
    lost, gained = int((one & ~other).sum()), int((other & ~one).sum())
    if lost + gained == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


@dataclass(frozen=True)
class Correlation:
    """Kendall's tau-b of two orders of `n` models, with its 95 % interval; None where one of them is all ties."""

    tau: float | None
    low: float
    high: float
    n: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.tau is not None and (self.low > 0 or self.high < 0)


def kendall(x: np.ndarray, y: np.ndarray) -> Correlation:
    """Kendall's tau-b of `x` and `y` [models], the interval by drawing models with replacement."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    n = len(x)
    signs = [np.sign(values[:, None] - values) for values in (x, y)]
    tau = _tau(signs[0][None], signs[1][None])[0] if n else np.nan
    if not np.isfinite(tau):
        return Correlation(None, -1.0, 1.0, n)
    source = np.random.default_rng(0)
    drawn = source.integers(0, n, (_RESAMPLES, n))
    taus = np.concatenate([_of_draws(signs, part) for part in np.array_split(drawn, max(1, n * n // 400))])
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Correlation(float(tau), float(low), float(high), n)


def _of_draws(signs: list[np.ndarray], drawn: np.ndarray) -> np.ndarray:
    one, other = (matrix[drawn[:, :, None], drawn[:, None, :]] for matrix in signs)
    return _tau(one, other)


def _tau(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """tau-b of the signs of all differences [draws, n, n]; NaN where one order is all ties."""
    both, first, second = (np.einsum("dij,dij->d", a, b) for a, b in ((one, other), (one, one), (other, other)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / np.sqrt(first * second)
