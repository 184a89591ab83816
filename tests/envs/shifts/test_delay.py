"""Delays of measurements and actions."""

import numpy as np
import pytest

from undrift.envs import Abrupt, ActionDelay, Always, Pulse, SensorDelay, make_batch

from .flights import actions, observations

SENSED = slice(6, 18)
"""Attitude and body rates of DroneTrack, which are shown as they are measured."""


@pytest.mark.parametrize(("seconds", "periods"), [(0.0, 0), (0.009, 0), (0.04, 2), (0.069, 3)])
def test_measurements_are_seen_so_many_control_periods_later(seconds, periods):
    plain = observations("DroneTrack", 2, 12)[:, :, SENSED]
    late = observations("DroneTrack", 2, 12, (SensorDelay(seconds=seconds, schedule=Always()),))[:, :, SENSED]
    np.testing.assert_allclose(late, plain[np.maximum(np.arange(13) - periods, 0)], atol=1e-6)


def test_in_mid_episode_what_was_measured_before_the_onset_is_seen_again_and_the_end_brings_the_present_back():
    plain = observations("DroneTrack", 1, 16)[:, 0, SENSED]
    shift = SensorDelay(seconds=0.06, channels=("body_rate",), schedule=Pulse(at=0.1, duration=0.1))
    late = observations("DroneTrack", 1, 16, (shift,))[:, 0, SENSED]
    expected = plain.copy()
    expected[6:11, 9:] = plain[3:8, 9:]
    np.testing.assert_allclose(late, expected, atol=1e-6)


def test_a_new_episode_remembers_nothing_of_the_last_and_leaves_the_others_alone():
    env, plain = (make_batch("DroneTrack", 3, shifts=s) for s in ((SensorDelay(schedule=Always()),), ()))
    seen, true = [env.reset([0, 1, 2])], [plain.reset([0, 1, 2])]
    for step in range(5):
        seen.append(env.step(actions(env, step))[0])
        true.append(plain.step(actions(env, step))[0])
    first, expected = (e.reset([9], np.array([1])) for e in (env, plain))
    np.testing.assert_allclose(first[:, SENSED], expected[:, SENSED], atol=1e-6)
    now, _ = env.step(actions(env, 9))[0], plain.step(actions(env, 9))
    np.testing.assert_allclose(now[[0, 2], SENSED], true[4][[0, 2], SENSED], atol=1e-6)
    np.testing.assert_allclose(now[1, SENSED], expected[0, SENSED], atol=1e-6)


@pytest.mark.parametrize(("seconds", "hz", "periods"), [(0.02, 50, 1), (0.04, 50, 2), (0.04, 100, 4)])
def test_actions_arrive_so_many_control_periods_after_they_were_sent(seconds, hz, periods):
    onset, steps = 5, 14
    shift = ActionDelay(seconds=seconds, schedule=Abrupt(onset / hz))
    late, plain = (make_batch("DroneTrack", 2, control_hz=hz, shifts=s) for s in ((shift,), ()))
    late.reset([0, 1])
    plain.reset([0, 1])
    for step in range(steps):
        late.step(actions(late, step))
        plain.step(actions(plain, step - periods if step >= onset else step))
        np.testing.assert_array_equal(late.qpos, plain.qpos)


def test_before_the_first_action_arrives_there_is_none():
    late, plain = (make_batch("DroneTrack", 2, shifts=s) for s in ((ActionDelay(schedule=Always()),), ()))
    late.reset([0, 1])
    plain.reset([0, 1])
    for step in range(6):
        late.step(actions(late, step))
        plain.step(actions(plain, step - 2) if step >= 2 else np.zeros((2, 4)))
        np.testing.assert_array_equal(late.qpos, plain.qpos)


def test_what_is_shown_and_charged_is_the_action_that_was_sent():
    env = make_batch("DroneTrack", 2, shifts=(ActionDelay(seconds=0.06, schedule=Always()),))
    env.reset([0, 1])
    before = np.zeros((2, 4))
    for step in range(6):
        sent = actions(env, step)
        seen, _, _, _, info = env.step(sent)
        np.testing.assert_allclose(seen[:, 18:22], sent, atol=1e-6)
        np.testing.assert_allclose(info["reward/smoothness"], -0.04 * ((sent - before) ** 2).sum(1))
        before = sent


def test_a_car_is_steered_late():
    shift = ActionDelay(seconds=0.06, schedule=Always())
    late, plain = (make_batch("CarTrack", 1, shifts=s) for s in ((shift,), ()))
    late.reset([0])
    plain.reset([0])
    for step in range(8):
        late.step(actions(late, step))
        plain.step(actions(plain, step - 3) if step >= 3 else np.zeros((1, 2)))
        np.testing.assert_array_equal(late.qpos, plain.qpos)
