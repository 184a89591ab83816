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
CRASH = 2.5

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
    expected = np.sqrt((50 * CALM**2 + 200 * CRASH**2) / 250)
    assert metrics.post_shift_rmse(episode, ONSET) == pytest.approx(expected, rel=1e-12)
    assert metrics.peak_error(episode, ONSET) == CRASH


def test_a_crash_before_the_shift_scores_the_constant_after_it(make_episode: Make) -> None:
    episode = make_episode(np.full(120, CALM), crashed=True, planned=STEPS)
    assert metrics.post_shift_rmse(episode, ONSET) == CRASH


@pytest.mark.parametrize(("task", "error"), [("CarTrack", 0.85), ("CarLidar", 0.85), ("CarLane", 1.75)])
def test_a_car_that_left_its_road_counts_as_half_the_roads_width_off(
    make_episode: Make, task: str, error: float
) -> None:
    episode = make_episode(np.full(120, CALM), crashed=True, planned=STEPS, env_id=f"undrift/{task}-v0")
    assert metrics.post_shift_rmse(episode, ONSET) == error


def test_an_error_that_is_not_finite_counts_as_a_crash_of_that_step(make_episode: Make) -> None:
    error = np.zeros(STEPS)
    error[[300, 301]] = np.nan, np.inf
    expected = CRASH * np.sqrt(2 / 250)
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


A_B_A_B = 3.0, (5.0, 7.0, 9.0)
"""On at 3 s, off at 5 s, on at 7 s, off at 9 s; of 11 s."""


def cycled(first: float, off: tuple[float, float], second: float, last: tuple[float, float]) -> np.ndarray:
    """Errors of an A-B-A-B episode of 11 s: calm, the first exposure, off (its start, the rest), the second, off."""
    phases = ((150, CALM), (100, first), (50, off[0]), (50, off[1]), (100, second), (50, last[0]), (50, last[1]))
    return np.concatenate([np.full(steps, error) for steps, error in phases])


def test_exposures_are_the_stretches_under_shift(make_episode: Make) -> None:
    zeros = np.zeros(550)
    assert metrics.exposures(make_episode(zeros, A_B_A_B[0], ends_s=A_B_A_B[1])) == [(150, 250), (350, 450)]
    assert metrics.exposures(make_episode(zeros)) == [(250, 550)]
    assert metrics.exposures(make_episode(zeros, onset_s=10.98)) == [(549, 550)]
    assert metrics.exposures(make_episode(zeros, onset_s=0.0)) == [(0, 550)]
    assert metrics.exposures(make_episode(zeros, onset_s=None)) == []


def test_a_shift_that_is_on_at_a_crash_stays_on_and_one_that_never_came_does_not(make_episode: Make) -> None:
    assert metrics.exposures(make_episode(np.zeros(200), 3.0, crashed=True, planned=550)) == [(150, 550)]
    assert metrics.exposures(make_episode(np.zeros(100), 3.0, crashed=True, planned=550)) == []


def test_overlapping_shifts_are_one_exposure(make_episode: Make) -> None:
    episode = make_episode(np.zeros(STEPS))
    steps = np.arange(STEPS)
    episode.shift = np.stack([(steps >= 100) & (steps < 200), (steps >= 150) & (steps < 300)], axis=1) * 0.5
    assert metrics.exposures(episode) == [(100, 300)]


def test_recovery_counts_only_while_the_shift_is_on(make_episode: Make) -> None:
    error = cycled(JOLT, (CALM, CALM), JOLT, (CALM, CALM))
    assert metrics.recovery_time(make_episode(error, A_B_A_B[0]), A_B_A_B[0]) == pytest.approx(2.0 + 24 * 0.02)
    assert metrics.recovery_time(make_episode(error, A_B_A_B[0], ends_s=A_B_A_B[1]), A_B_A_B[0]) == np.inf


def test_the_area_is_what_exceeds_the_level_before_the_shift(make_episode: Make) -> None:
    assert metrics.excess_area(make_episode(jolted(50)), ONSET) == pytest.approx((JOLT - CALM) * 1.0)
    assert metrics.excess_area(make_episode(np.full(STEPS, CALM)), ONSET) == 0.0
    assert metrics.excess_area(make_episode(np.append(np.full(BEFORE, CALM), np.zeros(BEFORE))), ONSET) == 0.0
    crashed = make_episode(jolted(10, total=260), crashed=True, planned=STEPS)
    assert metrics.excess_area(crashed, ONSET) == pytest.approx(0.2 * (JOLT - CALM) + 4.8 * (CRASH - CALM))
    assert np.isnan(metrics.excess_area(make_episode(jolted(50), onset_s=1.0), 1.0))


def test_the_second_exposure_is_compared_with_the_first(make_episode: Make) -> None:
    def ratio(first: float, second: float, ends: tuple[float, ...] = A_B_A_B[1]) -> float:
        error = cycled(CALM + first, (CALM, CALM), CALM + second, (CALM, CALM))
        return metrics.second_exposure_ratio(make_episode(error, A_B_A_B[0], ends_s=ends))

    assert ratio(0.5, 0.125) == pytest.approx(0.25)
    assert ratio(0.25, 0.25) == pytest.approx(1.0)
    # A second exposure of 1 s is compared with the first second of the first.
    assert ratio(0.5, 0.125, (5.0, 7.0, 8.0)) == pytest.approx(0.25)
    assert np.isnan(ratio(0.5, 0.125, (5.0,))) and np.isnan(ratio(0.0, 0.125))


def test_a_crash_in_the_second_exposure_counts_and_one_in_the_first_leaves_nothing_to_compare(
    make_episode: Make,
) -> None:
    error = cycled(CALM + 0.5, (CALM, CALM), CALM, (CALM, CALM))
    second = make_episode(error[:400], A_B_A_B[0], crashed=True, planned=550, ends_s=A_B_A_B[1])
    assert metrics.second_exposure_ratio(second) == pytest.approx((CRASH - CALM) / 0.5 / 2)
    first = make_episode(error[:200], A_B_A_B[0], crashed=True, planned=550, ends_s=A_B_A_B[1])
    assert np.isnan(metrics.second_exposure_ratio(first))


def test_after_effect_and_forgetting_are_what_is_left_when_a_shift_ends(make_episode: Make) -> None:
    error = np.concatenate([np.full(250, CALM), np.full(100, JOLT), np.full(100, 4 * CALM), np.full(100, 2 * CALM)])
    episode = make_episode(error, ends_s=(7.0,))
    assert metrics.after_effect(episode) == pytest.approx(3 * CALM)
    assert metrics.forgetting(episode) == pytest.approx(CALM)


def test_without_an_end_there_is_neither_after_effect_nor_forgetting(make_episode: Make) -> None:
    for episode in (make_episode(jolted(50)), make_episode(jolted(50), onset_s=None)):
        assert np.isnan(metrics.after_effect(episode)) and np.isnan(metrics.forgetting(episode))
    brief = make_episode(np.full(STEPS, CALM), ends_s=(9.0,))
    assert metrics.after_effect(brief) == 0.0 and np.isnan(metrics.forgetting(brief))


def test_the_after_effect_pools_every_end(make_episode: Make) -> None:
    error = cycled(JOLT, (0.25, 0.25), JOLT, (0.5, 0.5))
    episode = make_episode(error, A_B_A_B[0], ends_s=A_B_A_B[1])
    assert metrics.after_effect(episode) == pytest.approx(np.sqrt((0.25**2 + 0.5**2) / 2) - CALM)


def test_the_return_counts_what_was_flown_after_the_onset(make_episode: Make) -> None:
    episode = make_episode(np.zeros(STEPS))
    episode.reward[:] = np.where(np.arange(STEPS) < BEFORE, 100.0, 0.5)
    assert metrics.post_shift_return(episode, ONSET) == 125.0
    episode.reward[[300, 301]] = np.nan, -np.inf
    assert metrics.post_shift_return(episode, ONSET) == 124.0
    crashed = make_episode(np.zeros(300), crashed=True, planned=STEPS)
    crashed.reward[:] = 1.0
    assert metrics.post_shift_return(crashed, ONSET) == 50.0


def test_the_recovered_fraction_of_known_errors() -> None:
    frozen, adapted, unshifted = np.array([0.10, 0.10, 0.10]), np.array([0.02, 0.10, 0.18]), np.full(3, 0.02)
    assert metrics.recovered_fraction(frozen, adapted, unshifted).tolist() == pytest.approx([1.0, 0.0, -1.0])


def test_a_recovered_fraction_is_given_only_where_the_shift_costs_two_centimetres() -> None:
    frozen = np.array([0.0375, 0.03125, 0.015625, 0.01])
    found = metrics.recovered_fraction(frozen, np.full(4, 0.015625), np.full(4, 0.015625))
    assert found[0] == 1.0 and np.isnan(found[1:]).all()


def test_jerk_is_the_root_mean_square_rate_of_the_action_after_the_onset(make_episode: Make) -> None:
    episode = make_episode(np.zeros(STEPS))
    episode.action[:] = np.where(np.arange(STEPS) < BEFORE, 0.0, 0.1 * (np.arange(STEPS) % 2))[:, None]
    assert metrics.control_jerk(episode, ONSET) == pytest.approx(0.1 / 0.02 * np.sqrt(249 / 250))
    episode.action[:] = 0.0
    episode.action[BEFORE:, 0] = 0.5  # one jump of one of four channels, at the onset
    assert metrics.control_jerk(episode, ONSET) == pytest.approx(0.5 / 0.02 / np.sqrt(4 * 250))
    assert np.isnan(metrics.control_jerk(make_episode(np.zeros(100), crashed=True, planned=STEPS), ONSET))


def test_guard_interventions_are_counted(make_episode: Make) -> None:
    events = [{"step": step, "reason": "shrunk"} for step in (4, 5, 300)]
    assert metrics.guard_interventions(make_episode(np.zeros(STEPS), guard_events=events)) == 3
    assert metrics.guard_interventions(make_episode(np.zeros(STEPS))) == 0


def test_without_a_shift_every_metric_is_scored_from_the_time_given(make_episode: Make) -> None:
    episode = make_episode(np.append(np.full(BEFORE, CALM), np.full(BEFORE, 2 * CALM)), onset_s=None)
    assert metrics.post_shift_rmse(episode, ONSET) == 2 * CALM
    assert metrics.recovery_time(episode, ONSET) == 0.0
    assert metrics.excess_area(episode, ONSET) == pytest.approx(5 * CALM)
    assert np.isnan(metrics.second_exposure_ratio(episode))


def test_a_crash_of_an_unknown_kind_of_environment_is_refused_with_the_known_ones(make_episode: Make) -> None:
    flown = make_episode(np.zeros(STEPS), env_id="undrift/BoatTrack-v0")
    assert metrics.post_shift_rmse(flown, ONSET) == 0.0
    crashed = make_episode(np.zeros(300), crashed=True, planned=STEPS, env_id="undrift/BoatTrack-v0")
    with pytest.raises(ValueError, match=r"crash of 'BoatTrack-v0' cannot be scored: .*Drone, .*; add a line"):
        metrics.post_shift_rmse(crashed, ONSET)


def test_the_onset_follows_the_clock_of_a_control_loop_that_jitters(make_episode: Make) -> None:
    episode = make_episode(np.zeros(STEPS))
    episode.time = episode.time + np.where(np.arange(STEPS) >= 100, 0.5, 0.0)
    assert metrics.onset_step(episode, ONSET) == BEFORE - 25
