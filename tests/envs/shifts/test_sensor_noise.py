"""Sensor noise."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, SensorNoise, make_batch

from .flights import error, observations

OWN = np.repeat([0.01, 0.03, 0.01, 0.05], [3, 3, 9, 3])


def test_a_factor_makes_the_deviation_of_each_channel_so_many_times_its_own():
    shift = SensorNoise(factor=3.0, schedule=Always())
    noisy = observations("DroneTrack", 100, 9, (shift,))[:, :, :18]
    true = observations("DroneTrack", 100, 9, noise=0.0)[:, :, :18]
    np.testing.assert_allclose((noisy - true).std(axis=(0, 1)), 3.0 * OWN, rtol=0.1)


def test_a_deviation_is_added_to_the_channels_that_are_meant_in_their_unit():
    shift = SensorNoise(factor=1.0, std=0.2, channels=("velocity",), schedule=Always())
    added = error(100, 9, shift)
    np.testing.assert_allclose(added.std(axis=(0, 1))[3:6], 0.2, rtol=0.1)
    assert (np.delete(added, [3, 4, 5], axis=2) == 0).all()


def test_the_noise_is_white():
    noise = error(50, 20, SensorNoise(factor=3.0, schedule=Always()))
    assert abs((noise[1:] * noise[:-1]).mean() / (noise**2).mean()) < 0.05


def test_the_variances_of_several_add():
    shifts = SensorNoise(factor=1.0, std=0.3, schedule=Always()), SensorNoise(factor=1.0, std=0.4, schedule=Always())
    np.testing.assert_allclose(error(100, 9, *shifts).std(), 0.5, rtol=0.05)


def test_it_begins_at_the_onset():
    noise = error(3, 10, SensorNoise(factor=3.0, schedule=Abrupt(0.1)))
    assert (noise[:6] == 0).all() and (noise[6:] != 0).all()


def test_a_factor_is_refused_where_there_is_no_noise_to_scale():
    with pytest.raises(ValueError, match="no noise of their own that a factor could scale"):
        make_batch("DroneTrack", noise=0.0, shifts=(SensorNoise(factor=3.0),))
    make_batch("DroneTrack", noise=0.0, shifts=(SensorNoise(factor=3.0, std=0.1),))
