"""Samples that are lost, channels that stand still."""

import numpy as np

from undrift.envs import Abrupt, Always, Dropout, Frozen, Pulse, make_batch

from .flights import actions, observations

SENSED = slice(6, 18)
"""Attitude and body rates of DroneTrack, which are shown as they are measured."""
PREVIOUS_ACTION = slice(18, 22)


def test_a_lost_sample_is_the_last_one_that_arrived_whole():
    plain = observations("DroneTrack", 8, 60)[:, :, SENSED]
    seen = observations("DroneTrack", 8, 60, (Dropout(probability=0.5, schedule=Always()),))[:, :, SENSED]
    for n in range(8):
        came = 0
        for step in range(61):
            fresh = np.abs(seen[step, n] - plain[step, n]).max() < 1e-6
            came = step if fresh else came
            np.testing.assert_allclose(seen[step, n], plain[came, n], atol=1e-6)


def test_samples_are_lost_with_the_probability_one_by_one():
    seen = observations("DroneTrack", 100, 40, (Dropout(probability=0.4, schedule=Abrupt(0.2)),))[:, :, 17]
    lost = np.isclose(seen[1:], seen[:-1], atol=1e-7)
    assert not lost[:10].any()
    np.testing.assert_allclose(lost[10:].mean(), 0.4, atol=0.03)
    np.testing.assert_allclose((lost[10:-1] & lost[11:]).mean(), 0.16, atol=0.03)


def test_the_first_sample_of_an_episode_arrives_even_when_all_are_lost():
    env = make_batch("DroneTrack", 3, shifts=(Dropout(probability=1.0, schedule=Always()),))
    plain = make_batch("DroneTrack", 3)
    first = env.reset([0, 1, 2])[:, SENSED]
    np.testing.assert_allclose(first, plain.reset([0, 1, 2])[:, SENSED], atol=1e-6)
    for step in range(5):
        np.testing.assert_allclose(env.step(actions(env, step))[0][:, SENSED], first, atol=1e-6)
    anew = env.reset([7], np.array([1]))[:, SENSED]
    np.testing.assert_allclose(anew, plain.reset([7], np.array([1]))[:, SENSED], atol=1e-6)
    seen = env.step(actions(env, 9))[0][:, SENSED]
    np.testing.assert_allclose(seen, np.stack([first[0], anew[0], first[2]]), atol=1e-6)


def test_the_previous_action_is_not_lost():
    env = make_batch("DroneTrack", 2, shifts=(Dropout(probability=1.0, schedule=Always()),))
    env.reset([0, 1])
    for step in range(4):
        sent = actions(env, step)
        np.testing.assert_allclose(env.step(sent)[0][:, PREVIOUS_ACTION], sent, atol=1e-6)


def test_only_the_channels_that_are_meant_get_lost():
    plain = observations("DroneTrack", 2, 10)[:, :, SENSED]
    shift = Dropout(probability=1.0, channels=("body_rate",), schedule=Always())
    seen = observations("DroneTrack", 2, 10, (shift,))[:, :, SENSED]
    np.testing.assert_array_equal(seen[:, :, :9], plain[:, :, :9])
    np.testing.assert_allclose(seen[:, :, 9:], np.tile(plain[0, :, 9:], (11, 1, 1)), atol=1e-6)


def test_frozen_channels_keep_their_value_of_the_onset_until_it_is_over():
    plain = observations("DroneTrack", 2, 12)[:, :, SENSED]
    shift = Frozen(channels=("body_rate_x",), schedule=Pulse(at=0.1, duration=0.06))
    seen = observations("DroneTrack", 2, 12, (shift,))[:, :, SENSED]
    expected = plain.copy()
    expected[6:9, :, 9] = plain[5, :, 9]
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    np.testing.assert_array_equal(seen[:6], plain[:6])
    np.testing.assert_array_equal(seen[9:], plain[9:])


def test_what_is_frozen_from_the_start_keeps_its_first_sample():
    plain = observations("DroneTrack", 2, 4)[:, :, SENSED]
    seen = observations("DroneTrack", 2, 4, (Frozen(schedule=Always()),))[:, :, SENSED]
    np.testing.assert_allclose(seen, np.tile(plain[0], (5, 1, 1)), atol=1e-6)
