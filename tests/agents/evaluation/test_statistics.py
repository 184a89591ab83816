"""Intervals against scipy, closed forms, a plain bootstrap and their own promise of coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from undrift.agents.evaluation.statistics import Interval, bootstrap_interval, paired_difference, wilson

samples = arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100).map(lambda x: round(x, 3)))


def test_one_stratum_gives_the_bca_interval_of_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=25)
    reference = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(0), vectorized=True).confidence_interval
    found = bootstrap_interval(values)
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), reference.low, reference.high))


def test_strata_are_resampled_apart_as_in_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(2)
    groups = [rng.normal(0, 1, 20), rng.normal(10, 3, 20), rng.normal(-10, 1, 20)]
    draws = [np.mean([rng.choice(group, len(group)).mean() for group in groups]) for _ in range(5000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    found = bootstrap_interval(np.concatenate(groups), np.repeat([0, 1, 2], 20))
    assert found.estimate == pytest.approx(np.mean(groups))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_strata_count_alike_whatever_their_size() -> None:
    assert bootstrap_interval([1.0, 1.0, 1.0, 5.0, 5.0], [0, 0, 0, 1, 1]) == Interval(3.0, 3.0, 3.0)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [bootstrap_interval(rng.normal(2.0, 1.0, 30), resamples=999, seed=trial) for trial in range(400)]
    covered = np.mean([interval.low <= 2.0 <= interval.high for interval in found])
    assert 0.90 <= covered <= 0.98


@given(values=samples, offset=st.floats(-50, 50).map(lambda x: round(x, 3)))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_estimate_stays_among_the_values_and_moves_with_them(
    values: np.ndarray, offset: float
) -> None:
    found, moved = bootstrap_interval(values, resamples=499), bootstrap_interval(values + offset, resamples=499)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9
    assert moved.estimate == pytest.approx(found.estimate + offset, abs=1e-6)
    assert found.low <= found.estimate + 1e-9 and found.estimate <= found.high + 1e-9


def test_more_confidence_is_a_wider_interval() -> None:
    values = np.random.default_rng(4).normal(size=20)
    widths = [(i := bootstrap_interval(values, confidence=level)).high - i.low for level in (0.5, 0.8, 0.95, 0.99)]
    assert widths == sorted(widths) and widths[0] < widths[-1]


def test_the_same_values_give_the_same_interval_again() -> None:
    values = np.random.default_rng(5).normal(size=20)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)


def test_one_value_has_an_estimate_and_no_interval() -> None:
    found = bootstrap_interval([3.0])
    assert found.estimate == 3.0 and np.isnan(found.low) and np.isnan(found.high)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [1.0, float("inf")]])
def test_values_that_have_no_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="need a list of finite values"):
        bootstrap_interval(values)


def test_labels_must_match_the_values() -> None:
    with pytest.raises(ValueError, match="3 values but 2 strata labels"):
        bootstrap_interval([1.0, 2.0, 3.0], [0, 1])


def test_a_planted_difference_is_found_and_a_planted_null_is_not() -> None:
    rng = np.random.default_rng(6)
    base = rng.lognormal(0, 1, 20)
    better = paired_difference(base - 0.1 + rng.normal(0, 0.1, 20), base)
    same = paired_difference(base + rng.normal(0, 0.1, 20), base)
    assert better.high < 0 and same.low < 0 < same.high


def test_pairing_removes_what_the_pair_shares() -> None:
    base = np.random.default_rng(7).lognormal(0, 2, 20)
    assert paired_difference(base + 0.25, base).estimate == pytest.approx(0.25)
    assert paired_difference(base, base) == Interval(0.0, 0.0, 0.0)


def test_samples_of_different_length_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="score both on the same seeds"):
        paired_difference([1.0, 2.0], [1.0])


@given(total=st.integers(1, 200), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_wilson_is_its_closed_form(total: int, share: float) -> None:
    count, z = round(share * total), stats.norm.ppf(0.975)
    p = count / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    found = wilson(count, total)
    assert (found.estimate, found.low, found.high) == pytest.approx((p, centre - half, centre + half), abs=1e-12)


def test_no_crash_in_twenty_flights_still_leaves_doubt() -> None:
    found = wilson(0, 20)
    assert found.low == 0 and 0.15 < found.high < 0.17
