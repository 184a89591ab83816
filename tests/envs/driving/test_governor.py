"""The governor: how much speed a grip allows, and how it acts in an environment, right or, for training, wrong."""

import json

import numpy as np
import pytest

from undrift.envs import Friction, Pulse, make_batch
from undrift.envs.driving.governor import DOWN_S, LEAST_SCALE, TRUSTED, UP_S, Governor, make_governor, safe_scale

SLIPPERY = [Friction(factor=0.5, spread=0.0, schedule=Pulse(at=0.2, duration=1.0))]
ERRS = Governor(share=0.5, error=0.2, lag_s=(0.05, 0.6), false_alarms=0.3)


def drive(env, steps):
    """The scale of the speed reference after each step, [steps, N]."""
    scales = []
    for _ in range(steps):
        env.step(np.full((env.num_envs, 2), 0.05))
        scales.append(env.speed_scale.copy())
    return np.array(scales)


def test_what_is_asked_for_leaves_lateral_acceleration_within_the_grip():
    grips = np.linspace(0.35, TRUSTED - 0.01, 20)
    scales = np.array([safe_scale(grip, grip) for grip in grips])
    assert (scales**2 < grips).all() and (scales**2 > 0.7 * grips).all()
    assert safe_scale(TRUSTED, TRUSTED) == safe_scale(1.2, 1.1) == 1.0
    assert safe_scale(1.0, 0.0) == LEAST_SCALE


def test_a_front_axle_without_grip_costs_less_speed_than_a_rear_axle():
    assert safe_scale(1.0, 0.6) == safe_scale(0.45, 0.6) < safe_scale(0.6, 1.0) < 1.0


def test_a_governor_that_knows_the_grip_lowers_the_speed_at_once_and_raises_it_slowly():
    env = make_batch("CarTrack", 3, shifts=SLIPPERY, governor=Governor())
    env.reset([1, 2, 3])
    scales = drive(env, 110)
    wanted = safe_scale(0.5, 0.5)
    np.testing.assert_array_equal(scales[:10], 1.0)
    np.testing.assert_allclose(scales[10:60, 0], wanted + (1 - wanted) * np.exp(-0.02 / DOWN_S * np.arange(1, 51)))
    np.testing.assert_allclose(scales[60:, 0], 1 - (1 - scales[59, 0]) * np.exp(-0.02 / UP_S * np.arange(1, 51)))


def test_a_governor_leaves_road_and_noise_and_shifts_of_a_seed():
    plain, governed = (make_batch("CarTrack", 4, shifts=SLIPPERY, governor=each) for each in (None, ERRS))
    seen = [env.reset([5, 6, 7, 8]) for env in (plain, governed)]
    np.testing.assert_array_equal(*seen)
    np.testing.assert_array_equal(plain.roads.table, governed.roads.table)
    motions = []
    for env in (plain, governed):
        drive(env, 40)
        motions.append(env.qpos.copy())
    np.testing.assert_array_equal(*motions)  # only what is asked for differs
    assert (governed.speed_scale < plain.speed_scale).any()


def test_in_training_some_episodes_have_none_and_the_others_one_that_errs_is_late_and_gives_false_alarms():
    rows = np.array([ERRS.draw(np.random.default_rng(seed), 14.0) for seed in range(400)])
    there = rows[:, 0] > 0
    factor, lag, alarm, believed = rows[there].T
    assert 0.4 < there.mean() < 0.6 and 0.2 < np.isfinite(alarm).mean() < 0.4
    assert 0.8 <= factor.min() < 0.85 and 1.15 < factor.max() <= 1.2
    assert 0.05 <= lag.min() < 0.1 and 0.5 < lag.max() <= 0.6
    assert (alarm[np.isfinite(alarm)] < 14.0).all() and (believed > 0.3).all() and (believed < 1.0).all()


def test_a_false_alarm_lowers_the_speed_on_dry_ground_from_its_moment_on():
    env = make_batch("CarTrack", 8, governor=Governor(false_alarms=1.0), episode_s=2.0)
    env.reset(list(range(8)))
    scales = drive(env, 99)
    falling = np.diff(scales, axis=0, prepend=1.0) < 0
    began = falling.argmax(axis=0)
    assert falling.any(axis=0).sum() >= 4 and len(np.unique(began)) >= 4
    assert (np.diff(falling.astype(int), axis=0) >= 0).all()  # once it falls it goes on


def test_it_is_written_as_json_and_read_again():
    env = make_batch("CarTrack", 1, governor=ERRS)
    assert make_governor(json.loads(json.dumps(env.kwargs))["governor"]) == ERRS
    assert make_batch("CarTrack", 1).kwargs["governor"] is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, "Governor.share is 1.5: give a probability"),
        ({"false_alarms": -0.1}, "Governor.false_alarms"),
        ({"error": 1.0}, "Governor.error is 1.0: give a share of the grip"),
        ({"lag_s": (0.2, 0.1)}, "Governor.lag_s"),
        ({"lag_s": 0.1}, "Governor.lag_s"),
        ({"late": 1.0}, "a governor has no 'late'; it has: share, error, lag_s, false_alarms"),
    ],
)
def test_wrong_figures_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_governor(wrong)
