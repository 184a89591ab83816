"""What few seeds can tell: intervals, tests and summaries. Deterministic: the resampling seed is an argument.

Scores come as a table [K, n]: one row for each of K training seeds, one column for each of n evaluation seeds, the same
for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
FEW_TRAINING_SEEDS = 5
"""Below this many training seeds an interval over them says little, and each is shown too."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, in the unit of the values; NaN bounds: too few values to tell."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    *tables: ArrayLike,
    of: Callable[..., np.ndarray] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over training seeds of `of`(mean over evaluation seeds of each table), with its bootstrap interval.

    Hierarchical for K > 1: training seeds are drawn with replacement, then evaluation seeds, the same draw for every
    training seed since all fly the same episodes (Owen 2007, "The pigeonhole bootstrap"; drawing them anew within each
    training seed would take what the policies share for independent evidence). Percentile interval, its level widened
    by the factor sqrt(K / (K - 1)) on the normal quantile, because K resampled values vary less than K new ones
    (Hesterberg 2015, "What teachers should know about the bootstrap"). It speaks of policies trained anew.

    For K = 1 the BCa interval over evaluation seeds (Efron 1987), as `scipy.stats.bootstrap` computes it: it speaks of
    this one policy on new episodes.

    Args:
        tables: each [K, n], or [n] for K = 1; finite, all of one shape.
        of: elementwise function of as many arrays of means as there are tables; None: the one table's mean itself.

    Raises:
        ValueError: there are no values, one is not finite, or the shapes differ.
    """
    scores = [_table(table) for table in tables]
    if len({table.shape for table in scores}) != 1:
        raise ValueError(f"cannot pair {' with '.join(str(table.shape) for table in scores)}; score the same seeds")
    of = of or _itself
    estimate = float(np.mean(of(*(table.mean(axis=1) for table in scores))))
    if scores[0].size < 2 or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"))
    left_out = of(*map(_left_out, scores))
    if np.ptp(left_out) <= 1e-9 * np.abs(left_out).max():
        return Interval(estimate, estimate, estimate)
    if len(scores[0]) == 1:
        low, high = _bca(scores, of, confidence, resamples, seed)
    else:
        low, high = _hierarchical(scores, of, confidence, resamples, seed)
    return Interval(estimate, low, high)


def paired_difference(values: ArrayLike, base: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Mean of ``values - base`` over pairs with its bootstrap interval; negative: ``values`` are lower than their base.

    Raises:
        ValueError: the two are not paired one to one.
    """
    return bootstrap_interval(_difference(values, base), confidence=confidence, seed=seed)


def improvement(values: ArrayLike, base: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Probability that a run scores lower than its own pair, ties counting half, with its bootstrap interval.

    The paired form of Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".

    Raises:
        ValueError: the two are not paired one to one.
    """
    difference = _difference(values, base)
    return bootstrap_interval(np.heaviside(-difference, 0.5), confidence=confidence, seed=seed)


def paired_p_value(values: ArrayLike, base: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of the sign-flip test that, on new episodes, these policies score like their base in the mean.

    What the training seeds fly on one evaluation seed is averaged first, which leaves n independent differences. Exact
    for small n, else with random flips; at least 2^(1 - n), and 1 for a single pair.

    Raises:
        ValueError: the two are not paired one to one.
    """
    each = _difference(values, base).mean(axis=0)
    if len(each) < 2 or not each.any():
        return 1.0
    largest = np.abs(each).max()
    found = stats.permutation_test(
        (each,),
        # Flips of equal means tie, however their sums are rounded.
        lambda flipped, axis: np.round(np.mean(flipped, axis=axis) / largest, 12),
        permutation_type="samples",
        n_resamples=resamples,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values [m] corrected for being m tests (Holm 1979): with p_(1) <= p_(2) ..., max_(j<=i) (m - j + 1) p_(j), at most 1.

    Rejecting where the result is at most a rejects a true hypothesis with a probability of at most a over all of them.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of the values: a quarter of them (rounded down) is left out at either end."""
    return float(stats.trim_mean(np.ravel(values), 0.25))


def worst_decile(values: ArrayLike) -> float:
    """Mean of the largest tenth of the values, rounded up to at least one."""
    ordered = np.sort(np.ravel(values))
    return float(ordered[-max(1, -(-len(ordered) // 10)) :].mean())


def performance_profile(values: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Share of the values that are at most each threshold, [len(thresholds)] (Dolan and Moré 2002, Agarwal et al. 2021)."""
    ordered = np.sort(np.ravel(values))
    return np.searchsorted(ordered, np.asarray(thresholds), side="right") / len(ordered)


def median_interval(values: ArrayLike, *, confidence: float = CONFIDENCE) -> np.ndarray:
    """Median of n values along the first axis with its confidence interval: (low, median, high), [3, ...].

    The bounds are order statistics, so that no distribution is assumed (Conover 1999, "Practical nonparametric
    statistics", 3.2): the k-th smallest and k-th largest value with the largest k for which a Binomial(n, 1/2) is below k
    with at most half of what may be missed. NaN where there is none: below 6 values at 95 %.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)
    k = int(stats.binom.ppf((1 - confidence) / 2, len(ordered), 0.5))
    bounds = (ordered[k - 1], ordered[-k]) if k else (np.full(ordered.shape[1:], np.nan),) * 2
    return np.stack([bounds[0], np.median(ordered, axis=0), bounds[1]])


@lru_cache(maxsize=4096)
def wilson(count: int, total: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Share ``count / total`` with Wilson's score interval (Wilson 1927), which holds for shares of 0 and 1 too.

    Raises:
        ValueError: ``total`` is not positive, or ``count`` is not in [0, total].
    """
    found = stats.binomtest(count, total).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(count / total, float(found.low), float(found.high))


def _table(values: ArrayLike) -> np.ndarray:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(
            f"need finite values [training seeds, evaluation seeds], got shape {np.shape(values)}: {values!r}"
        )
    return table


def _left_out(table: np.ndarray) -> np.ndarray:
    """Means [K, n] over all evaluation seeds but one, each left out in turn."""
    n = table.shape[1]
    return (table.sum(axis=1, keepdims=True) - table) / (n - 1) if n > 1 else table


def _difference(values: ArrayLike, base: ArrayLike) -> np.ndarray:
    scores, base_scores = _table(values), _table(base)
    if scores.shape != base_scores.shape:
        raise ValueError(f"cannot pair {scores.shape} with {base_scores.shape}; score both on the same seeds")
    return scores - base_scores


def _bca(
    tables: Sequence[np.ndarray], of: Callable[..., np.ndarray], confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    def statistic(*samples: np.ndarray, axis: int = -1) -> Any:
        return of(*(sample.mean(axis=axis) for sample in samples))

    found = stats.bootstrap(
        [table[0] for table in tables],
        statistic,
        n_resamples=resamples,
        vectorized=True,
        paired=True,
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _hierarchical(
    tables: Sequence[np.ndarray], of: Callable[..., np.ndarray], confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    k, n = tables[0].shape
    training, evaluation = _draws(k, n, resamples, seed)
    # No BLAS, whose sums depend on the number of its threads.
    each = of(*(np.einsum("rn,kn->rk", evaluation, table) / n for table in tables))
    drawn = (training * each).sum(axis=1) / k
    tail = stats.norm.cdf(np.sqrt(k / (k - 1)) * stats.norm.ppf((1 - confidence) / 2))
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _draws(k: int, n: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each resample draws each training seed, [resamples, k], and each evaluation seed, [resamples, n]."""
    rng = np.random.default_rng(seed)
    training = rng.multinomial(k, np.full(k, 1 / k), size=resamples)
    return training, rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _itself(mean: np.ndarray) -> np.ndarray:
    return mean
