"""Sensor bias and drift."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, Cyclic, Ramp, SensorBias, SensorDrift, make_batch

from .flights import actions, error


def test_each_episode_and_channel_draws_its_bias_from_both_signs_and_keeps_it():
    offset = error(300, 2, SensorBias(size=0.4, channels=("body_rate",), schedule=Always()))[:, :, 15:]
    np.testing.assert_allclose(offset, offset[[0, 0, 0]], atol=1e-6)
    assert np.abs(offset).max() < 0.4 and np.abs(offset).max() > 0.39
    np.testing.assert_allclose(offset[0].std(axis=0), 0.4 / np.sqrt(3), rtol=0.1)
    assert np.abs(np.corrcoef(offset[0].T)[np.triu_indices(3, 1)]).max() < 0.2


def test_a_drawn_sign_is_one_for_all_channels():
    offset = error(40, 1, SensorBias(size=0.4, distribution="sign", channels=("body_rate",), schedule=Always()))[0]
    signs = offset[:, 15]
    np.testing.assert_allclose(offset[:, 15:], np.tile(signs[:, None], 3), atol=1e-6)
    np.testing.assert_allclose(np.unique(np.round(signs, 5)), [-0.4, 0.4])


def test_biases_add_up_in_either_order():
    a, b = (SensorBias(size=s, distribution="fixed", schedule=Always()) for s in (0.25, 0.5))
    np.testing.assert_allclose(error(1, 1, a, b), 0.75, atol=1e-6)
    np.testing.assert_allclose(error(1, 1, b, a), 0.75, atol=1e-6)


def test_a_bias_follows_the_strength_of_its_schedule():
    offset = error(1, 12, SensorBias(size=0.4, distribution="fixed", schedule=Ramp(at=0.1, duration=0.08)))[:, 0, 16]
    np.testing.assert_allclose(offset, [0.0] * 7 + [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], atol=1e-6)


def test_an_unknown_distribution_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="SensorBias.distribution is 'normal': it must be one of uniform, sign, fixed"):
        SensorBias(distribution="normal")


def test_drift_grows_with_the_time_since_the_onset():
    drift = SensorDrift(rate=0.5, distribution="fixed", channels=("position",), schedule=Abrupt(0.1))
    offset = error(1, 12, drift)[:, 0, :3]
    np.testing.assert_allclose(offset, np.outer(0.5 * 0.02 * np.maximum(np.arange(13) - 5, 0), np.ones(3)), atol=1e-6)


def test_drift_counts_seconds_and_not_steps():
    drift = SensorDrift(rate=0.5, distribution="fixed", schedule=Always())
    clock = {"jitter": 0.5, "missed": 0.3}
    shifted, plain = (make_batch("DroneTrack", 4, clock=clock, shifts=shifts) for shifts in ((drift,), ()))
    seen, true = shifted.reset(range(4)), plain.reset(range(4))
    for step in range(12):
        offset = (seen - true)[:, :18]
        np.testing.assert_allclose(offset, np.tile(0.5 * plain.time[:, None], 18), atol=2e-6)
        seen, true = shifted.step(actions(shifted, step))[0], plain.step(actions(plain, step))[0]


def test_drift_begins_anew_each_time_it_sets_in():
    drift = SensorDrift(rate=0.5, distribution="fixed", schedule=Cyclic(at=0.04, period=0.1, duty=0.6))
    grown = 0.01 * np.array([0, 0, 0, 1, 2, 3, 0, 0, 1, 2, 3, 0, 0, 1])
    np.testing.assert_allclose(error(1, 13, drift)[:, 0, 0], grown, atol=1e-6)
