"""Intervals for small samples of episodes. Deterministic: the resampling seed is an argument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, in the unit of the values; NaN bounds: too few values to tell."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over strata of the mean of each, with its BCa bootstrap interval; values are resampled inside their stratum.

    With the training seed as the stratum, the interval speaks of these training seeds on new evaluation seeds.
    Efron (1987), "Better bootstrap confidence intervals", as `scipy.stats.bootstrap` implements it.

    Args:
        values: [N] finite numbers.
        strata: [N] labels; None puts all values in one.

    Raises:
        ValueError: there are no values, or one is not finite, or the lengths differ.
    """
    sample = np.asarray(values, dtype=np.float64)
    labels = np.zeros(sample.shape, dtype=int) if strata is None else np.asarray(strata)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"need a list of finite values, got shape {sample.shape}: {sample}")
    if labels.shape != sample.shape:
        raise ValueError(f"{len(sample)} values but {labels.size} strata labels; give one label a value")
    groups = [sample[labels == label] for label in np.unique(labels)]
    estimate = float(_mean_of_means(*groups))
    if min(len(group) for group in groups) < 2:
        return Interval(estimate, float("nan"), float("nan"))
    rounding = 1e-9 * np.abs(sample).max()
    if all(np.ptp(group) <= rounding for group in groups):
        return Interval(estimate, estimate, estimate)
    found = stats.bootstrap(
        groups,
        _mean_of_means,
        n_resamples=resamples,
        vectorized=True,
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high))


def paired_difference(
    values: ArrayLike,
    base: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Mean of ``values - base`` over pairs with its bootstrap interval; negative: ``values`` are lower than their base.

    Raises:
        ValueError: the two are not paired one to one.
    """
    values, base = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if values.shape != base.shape:
        raise ValueError(f"cannot pair {values.shape} with {base.shape}; score both on the same seeds")
    return bootstrap_interval(values - base, strata, confidence=confidence, seed=seed)


def wilson(count: int, total: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Share ``count / total`` with Wilson's score interval (Wilson 1927), which holds for shares of 0 and 1 too.

    Raises:
        ValueError: ``total`` is not positive, or ``count`` is not in [0, total].
    """
    found = stats.binomtest(count, total).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(count / total, float(found.low), float(found.high))


def _mean_of_means(*groups: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean([group.mean(axis=axis) for group in groups], axis=0)
