"""Intervals and tests against scipy, closed forms, plain loops and their own promise of coverage."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from undrift.agents.evaluation.metrics import recovered_fraction
from undrift.agents.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    improvement,
    interquartile_mean,
    median_interval,
    paired_difference,
    paired_p_value,
    performance_profile,
    wilson,
    worst_decile,
)

samples = arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100).map(lambda x: round(x, 3)))


def crossed(rng: np.random.Generator, k: int, n: int, training: float, evaluation: float, rest: float) -> np.ndarray:
    """Scores [k, n] with mean 0: an effect of the training seed, one of the evaluation seed, and the flight's own."""
    return rng.normal(0, training, (k, 1)) + rng.normal(0, evaluation, (1, n)) + rng.normal(0, rest, (k, n))


def test_one_training_seed_gives_the_bca_interval_of_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=25)
    reference = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(0), vectorized=True).confidence_interval
    found = bootstrap_interval(values)
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), reference.low, reference.high))


def test_the_hierarchical_interval_is_that_of_a_plain_loop_over_its_definition() -> None:
    rng = np.random.default_rng(2)
    table = crossed(rng, 6, 8, 1.0, 2.0, 1.0)
    draws = [table[rng.integers(6, size=6)][:, rng.integers(8, size=8)].mean() for _ in range(20_000)]
    tail = 100 * stats.norm.cdf(stats.norm.ppf(0.025) * np.sqrt(6 / 5))
    low, high = np.percentile(draws, [tail, 100 - tail])
    found = bootstrap_interval(table)
    assert found.estimate == pytest.approx(table.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_many_training_seeds_on_one_evaluation_seed_give_the_percentile_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(3).normal(size=400)
    reference = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    found, expected = bootstrap_interval(values[:, None]), reference.confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


@pytest.mark.parametrize(
    "effects",
    [
        pytest.param((1.0, 1.0, 1.0), id="all alike"),
        pytest.param((1.0, 3.0, 1.0), id="mostly of the episode"),
    ],
)
def test_a_95_percent_interval_over_ten_training_seeds_covers_93_to_97_percent(effects: tuple) -> None:
    rng = np.random.default_rng(4)
    found = [bootstrap_interval(crossed(rng, 10, 20, *effects), resamples=999, seed=trial) for trial in range(1500)]
    assert 0.93 <= np.mean([interval.low <= 0.0 <= interval.high for interval in found]) <= 0.97


def test_a_95_percent_interval_over_one_policy_covers_93_to_97_percent() -> None:
    rng = np.random.default_rng(5)
    found = [bootstrap_interval(rng.normal(2.0, 1.0, 60), resamples=599, seed=trial) for trial in range(1000)]
    assert 0.93 <= np.mean([interval.low <= 2.0 <= interval.high for interval in found]) <= 0.97


def test_three_training_seeds_cover_less_than_they_promise_but_nine_in_ten() -> None:
    rng = np.random.default_rng(6)
    found = [bootstrap_interval(crossed(rng, 3, 20, 1, 1, 1), resamples=599, seed=trial) for trial in range(600)]
    assert 0.89 <= np.mean([interval.low <= 0.0 <= interval.high for interval in found]) < 0.95


def test_the_interval_of_a_ratio_covers_the_ratio_of_the_true_means() -> None:
    rng = np.random.default_rng(7)
    true, hits = (0.2 - 0.06) / (0.2 - 0.02), 0
    fraction = partial(recovered_fraction, least_gap=-np.inf)
    for trial in range(300):
        shared = crossed(rng, 10, 20, 0.01, 0.02, 0.01)
        tables = [mean + shared * mean / 0.2 + rng.normal(0, 0.004, shared.shape) for mean in (0.2, 0.06, 0.02)]
        found = bootstrap_interval(*tables, of=fraction, resamples=499, seed=trial)
        hits += found.low <= true <= found.high
    assert hits / 300 >= 0.93


@given(values=samples, offset=st.floats(-50, 50).map(lambda x: round(x, 3)))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_estimate_stays_among_the_values_and_moves_with_them(
    values: np.ndarray, offset: float
) -> None:
    found, moved = bootstrap_interval(values, resamples=499), bootstrap_interval(values + offset, resamples=499)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9
    assert moved.estimate == pytest.approx(found.estimate + offset, abs=1e-6)
    assert found.low <= found.estimate + 1e-9 and found.estimate <= found.high + 1e-9


@pytest.mark.parametrize("shape", [(20,), (4, 20)])
def test_more_confidence_is_a_wider_interval(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(8).normal(size=shape)
    widths = [(i := bootstrap_interval(values, confidence=level)).high - i.low for level in (0.5, 0.8, 0.95, 0.99)]
    assert widths == sorted(widths) and widths[0] < widths[-1]


@pytest.mark.parametrize("shape", [(20,), (4, 20)])
def test_the_same_values_give_the_same_interval_again(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(9).normal(size=shape)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)


def test_one_value_has_an_estimate_and_no_interval_and_equal_ones_have_no_width() -> None:
    found = bootstrap_interval([3.0])
    assert found.estimate == 3.0 and np.isnan(found.low) and np.isnan(found.high)
    assert bootstrap_interval(np.full((3, 4), 0.1)) == Interval(*[pytest.approx(0.1)] * 3)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [1.0, float("inf")], np.zeros((2, 2, 2))])
def test_values_that_have_no_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="need finite values"):
        bootstrap_interval(values)


def test_tables_of_different_shape_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="score both on the same seeds"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="score the same seeds"):
        bootstrap_interval(np.zeros((2, 3)), np.zeros((3, 3)), of=np.subtract)


def test_pairing_removes_what_the_pair_shares() -> None:
    base = np.random.default_rng(10).lognormal(0, 2, 20)
    assert paired_difference(base + 0.25, base).estimate == pytest.approx(0.25)
    assert paired_difference(base, base) == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(20,), (3, 20), (10, 20)])
def test_a_planted_difference_is_found_and_a_planted_null_is_not(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(11)
    base = rng.lognormal(0, 1, shape)
    better, same = base - 0.2 + rng.normal(0, 0.1, shape), base + rng.normal(0, 0.1, shape)
    assert paired_difference(better, base).high < 0
    assert improvement(better, base).low > 0.5
    assert paired_p_value(better, base) < 0.001
    null = paired_difference(same, base)
    assert null.low < 0 < null.high
    assert improvement(same, base).low < 0.5 < improvement(same, base).high
    assert paired_p_value(same, base) > 0.05


def test_improvement_is_the_share_of_pairs_that_are_lower_ties_counting_half() -> None:
    assert improvement([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 5.0]).estimate == 2.5 / 4
    assert improvement([[1.0, 1.0]] * 2, [[2.0, 2.0]] * 2) == Interval(1.0, 1.0, 1.0)


@given(values=arrays(np.float64, 8, elements=st.floats(-9, 9).map(lambda x: round(x, 2))))
@example(values=np.array([0.0, 0.0, 1.5, 1.5, 1.16, 4.81, -1.81, -7.12]))
@settings(max_examples=25, deadline=None)
def test_the_p_value_counts_the_sign_patterns_at_least_as_extreme(values: np.ndarray) -> None:
    sums = np.array([np.dot(signs, values) for signs in product((-1, 1), repeat=8)])
    expected = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9)
    assert paired_p_value(values, np.zeros(8)) == pytest.approx(expected)


def test_a_true_null_is_rejected_about_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(12)
    found = [paired_p_value(crossed(rng, 3, 8, 0.0, 1.0, 1.0), np.zeros((3, 8))) for _ in range(800)]
    assert 0.03 <= np.mean(np.array(found) < 0.05) <= 0.07


def test_no_difference_and_a_single_pair_decide_nothing() -> None:
    assert paired_p_value([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p_value([1.0], [2.0]) == 1.0


def test_holm_steps_down_as_in_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12), level=st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float) -> None:
    rejected = set()
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - rank) > level:
            break
        rejected.add(int(index))
    assert {i for i, corrected in enumerate(holm(p)) if corrected <= level} == rejected


def test_the_interquartile_mean_leaves_the_outer_quarters_out() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0]) == pytest.approx(3.5)
    values = np.random.default_rng(13).normal(size=(3, 20))
    assert interquartile_mean(values) == pytest.approx(np.sort(values.ravel())[15:45].mean())


def test_the_worst_decile_is_the_mean_of_the_largest_tenth_rounded_up() -> None:
    assert worst_decile(np.arange(20.0)) == 18.5
    assert worst_decile(np.arange(11.0)) == 9.5
    assert worst_decile([3.0, 7.0]) == 7.0


def test_a_performance_profile_is_the_empirical_distribution() -> None:
    values, thresholds = np.random.default_rng(14).normal(size=40), np.linspace(-2, 2, 9)
    assert performance_profile(values, thresholds).tolist() == [np.mean(values <= t) for t in thresholds]
    reference = stats.ecdf(values).cdf.evaluate(thresholds)
    np.testing.assert_allclose(performance_profile(values, thresholds), reference)


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


@pytest.mark.parametrize("n", [6, 7, 20, 61])
def test_the_interval_of_a_median_is_that_of_the_quantile_test(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, 3))
    for column, found in zip(values.T, median_interval(values).T, strict=True):
        expected = stats.quantile_test(column, p=0.5).confidence_interval(0.95)
        assert found.tolist() == [expected.low, np.median(column), expected.high]


def test_five_values_have_a_median_but_no_interval() -> None:
    assert np.array_equal(median_interval([3.0, 1.0, 2.0, 5.0, 4.0]), [np.nan, 3.0, np.nan], equal_nan=True)


@pytest.mark.parametrize("k", [1, 3])
def test_what_no_seed_can_change_has_an_interval_of_no_width(k: int) -> None:
    scores = np.random.default_rng(k).uniform(1, 2, (k, 8))
    found = bootstrap_interval(scores, 2 * scores, of=lambda one, two: two / one)
    assert (found.low, found.high) == (found.estimate, found.estimate) and found.estimate == pytest.approx(2)
