"""Every metric against episodes whose answer is known in closed form or by a plain loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from undrift.agents.episode import Episode
from undrift.agents.evaluation import metrics

Make = Callable[..., Episode]
ONSET, BEFORE, STEPS = 5.0, 250, 500
CALM, JOLT = 1 / 64, 0.5

errors = arrays(np.float32, STEPS, elements=st.floats(0.0, 2.0, width=32))


def jolted(steps: int, total: int = STEPS) -> np.ndarray:
    """Calm, except for ``steps`` steps of a large error from the onset on."""
    error = np.full(total, CALM)
    error[BEFORE : BEFORE + steps] = JOLT
    return error


def test_rmse_counts_only_its_side_of_the_onset(make_episode: Make) -> None:
    error = np.concatenate([np.full(BEFORE, 0.25), np.full(BEFORE, 0.5)])
    episode = make_episode(error)
    assert metrics.post_shift_rmse(episode, ONSET) == 0.5
    assert metrics.pre_shift_rmse(episode, ONSET) == 0.25
    assert metrics.peak_error(episode, ONSET) == 0.5


def test_the_first_seconds_of_settling_do_not_count_before_the_shift(make_episode: Make) -> None:
    error = np.full(STEPS, 0.25)
    error[:100] = 2.0
    assert metrics.pre_shift_rmse(make_episode(error), ONSET) == 0.25


def test_rmse_of_a_sine_is_its_amplitude_over_root_two(make_episode: Make) -> None:
    error = np.abs(0.1 * np.sin(2 * np.pi * np.arange(STEPS) / 50))
    assert metrics.post_shift_rmse(make_episode(error), ONSET) == pytest.approx(0.1 / np.sqrt(2), rel=1e-6)


def test_after_a_crash_the_error_counts_as_the_constant_up_to_the_planned_end(make_episode: Make) -> None:
    episode = make_episode(np.full(300, CALM), crashed=True, planned=STEPS)
    expected = np.sqrt((50 * CALM**2 + 200 * metrics.CRASH_ERROR**2) / 250)
    assert metrics.post_shift_rmse(episode, ONSET) == pytest.approx(expected, rel=1e-12)
    assert metrics.peak_error(episode, ONSET) == metrics.CRASH_ERROR


def test_a_crash_before_the_shift_scores_the_constant_after_it(make_episode: Make) -> None:
    episode = make_episode(np.full(120, CALM), crashed=True, planned=STEPS)
    assert metrics.post_shift_rmse(episode, ONSET) == metrics.CRASH_ERROR


def test_an_error_that_is_not_finite_counts_as_a_crash_of_that_step(make_episode: Make) -> None:
    error = np.zeros(STEPS)
    error[[300, 301]] = np.nan, np.inf
    expected = metrics.CRASH_ERROR * np.sqrt(2 / 250)
    assert metrics.post_shift_rmse(make_episode(error), ONSET) == pytest.approx(expected, rel=1e-12)


def test_an_episode_that_stops_early_without_a_crash_is_refused(make_episode: Make) -> None:
    with pytest.raises(ValueError, match="stops after 300 of 500 steps without a crash"):
        metrics.post_shift_rmse(make_episode(np.zeros(300), planned=STEPS), ONSET)


def test_a_shift_at_the_last_step_scores_that_step_and_never_recovers(make_episode: Make) -> None:
    error = np.full(STEPS, CALM)
    error[-1] = JOLT
    episode = make_episode(error, onset_s=9.98)
    assert metrics.post_shift_rmse(episode, 9.98) == JOLT
    assert metrics.recovery_time(episode, 9.98) == np.inf


@pytest.mark.parametrize("onset", [10.0, 12.0, -1.0])
def test_an_onset_outside_the_episode_is_refused_with_the_valid_range(make_episode: Make, onset: float) -> None:
    with pytest.raises(ValueError, match=r"choose one in \[0, 10\) s"):
        metrics.post_shift_rmse(make_episode(np.zeros(STEPS)), onset)


def test_an_onset_between_two_steps_belongs_to_the_step_it_falls_into(make_episode: Make) -> None:
    episode = make_episode(np.zeros(STEPS))
    assert [metrics.onset_step(episode, onset) for onset in (4.98, 4.99, 5.0, 5.001)] == [249, 249, 250, 250]


def test_a_shift_that_is_never_felt_is_recovered_from_at_once(make_episode: Make) -> None:
    assert metrics.recovery_time(make_episode(np.full(STEPS, CALM)), ONSET) == 0.0


def test_recovery_waits_until_the_average_has_forgotten_the_jolt(make_episode: Make) -> None:
    # With threshold 2/64 + 0.01 m, one jolted sample among 25 is below it and two are not.
    assert metrics.recovery_time(make_episode(jolted(50)), ONSET) == pytest.approx((50 + 25 - 1) * 0.02)


def test_recovery_must_be_held_for_a_second(make_episode: Make) -> None:
    error = jolted(50)
    error[BEFORE + 74 + 40] = 5.0
    assert metrics.recovery_time(make_episode(error), ONSET) == pytest.approx((50 + 24 + 41 + 25 - 1) * 0.02, abs=0.021)


def test_a_lasting_error_never_recovers(make_episode: Make) -> None:
    assert metrics.recovery_time(make_episode(jolted(250)), ONSET) == np.inf


def test_calm_that_comes_less_than_a_second_before_the_end_is_no_recovery(make_episode: Make) -> None:
    assert metrics.recovery_time(make_episode(jolted(176)), ONSET) == pytest.approx(4.0)
    assert metrics.recovery_time(make_episode(jolted(178)), ONSET) == np.inf


def test_a_flight_that_crashes_later_has_not_recovered(make_episode: Make) -> None:
    episode = make_episode(jolted(10, total=400), crashed=True, planned=STEPS)
    assert metrics.recovery_time(episode, ONSET) == np.inf


def test_without_a_level_before_the_shift_recovery_is_undefined(make_episode: Make) -> None:
    episode = make_episode(np.full(STEPS, CALM), onset_s=2.0)
    assert np.isnan(metrics.pre_shift_rmse(episode, 2.0)) and np.isnan(metrics.recovery_time(episode, 2.0))


@given(level=st.floats(0.005, 0.2), decay=st.floats(0.05, 2.0), size=st.floats(0.0, 1.0), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_recovery_time_is_what_a_plain_loop_over_the_definition_finds(
    make_episode: Make, level: float, decay: float, size: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(0.5, 1.5, STEPS)
    since = (np.arange(STEPS) - BEFORE) * 0.02
    error = (level * noise + np.where(since >= 0, size * np.exp(-since.clip(0) / decay), 0)).astype(np.float32)
    threshold = 2 * np.sqrt(np.mean(error[100:BEFORE].astype(float) ** 2)) + 0.01
    expected = np.inf
    for last in range(BEFORE - 1, STEPS - 49):
        averages = [error[k - 24 : k + 1].astype(float).mean() for k in range(last, last + 50)]
        if max(averages) < threshold:
            expected = (last + 1 - BEFORE) * 0.02
            break
    assert metrics.recovery_time(make_episode(error), ONSET) == pytest.approx(expected)


@given(error=errors, bump=st.floats(0.0, 1.0), where=st.integers(BEFORE, STEPS - 1))
@settings(max_examples=40, deadline=None)
def test_a_larger_error_never_scores_better(make_episode: Make, error: np.ndarray, bump: float, where: int) -> None:
    worse = error.copy()
    worse[where] += np.float32(bump)
    assert metrics.post_shift_rmse(make_episode(worse), ONSET) >= metrics.post_shift_rmse(make_episode(error), ONSET)


@given(error=errors, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_rmse_lies_between_mean_and_peak_and_ignores_the_order_in_time(
    make_episode: Make, error: np.ndarray, seed: int
) -> None:
    shuffled = error.copy()
    np.random.default_rng(seed).shuffle(shuffled[BEFORE:])
    rmse = metrics.post_shift_rmse(make_episode(error), ONSET)
    assert metrics.post_shift_rmse(make_episode(shuffled), ONSET) == pytest.approx(rmse)
    assert error[BEFORE:].astype(float).mean() - 1e-9 <= rmse <= metrics.peak_error(make_episode(error), ONSET) + 1e-9


@given(error=errors, cuts=st.tuples(st.integers(1, STEPS - 1), st.integers(1, STEPS - 1)))
@settings(max_examples=40, deadline=None)
def test_crashing_earlier_never_scores_better(make_episode: Make, error: np.ndarray, cuts: tuple[int, int]) -> None:
    early, late = (make_episode(error[:cut], crashed=True, planned=STEPS) for cut in sorted(cuts))
    assert metrics.post_shift_rmse(early, ONSET) >= metrics.post_shift_rmse(late, ONSET) - 1e-12
    assert metrics.post_shift_rmse(late, ONSET) >= metrics.post_shift_rmse(make_episode(error), ONSET) - 1e-12


def test_harm_needs_both_ten_percent_and_a_millimetre() -> None:
    base = np.array([0.10, 0.10, 0.005, 0.005, 0.05])
    rmse = np.array([0.111, 0.109, 0.0059, 0.0061, 0.04])
    assert metrics.harmed(rmse, base).tolist() == [True, False, False, True, False]


def test_speed_and_acceleration_of_a_circle_are_those_of_its_chords(make_episode: Make) -> None:
    episode, chord = make_episode(np.zeros(STEPS)), 2 * np.sin(0.01) / 0.02
    np.testing.assert_allclose(metrics.reference_speed(episode), 2.0 * chord, rtol=1e-4)
    np.testing.assert_allclose(metrics.reference_acceleration(episode), 2.0 * chord**2, rtol=2e-3)


def test_step_times_are_pooled_over_episodes(make_episode: Make) -> None:
    fast, slow = make_episode(np.zeros(STEPS)), make_episode(np.zeros(STEPS))
    fast.step_time[:], slow.step_time[:] = 1e-5, 3e-5
    assert metrics.step_time_percentiles([fast, fast, slow]) == pytest.approx((1e-5, 3e-5))
