"""Sensor scale."""

import numpy as np

from undrift.envs import Abrupt, Always, SensorScale

from .flights import observations

RATES = slice(15, 18)


def test_what_is_measured_is_multiplied_from_the_onset_on():
    plain = observations("DroneTrack", 2, 9)[:, :, RATES]
    shift = SensorScale(factor=1.5, channels=("body_rate",), schedule=Abrupt(0.1))
    shifted = observations("DroneTrack", 2, 9, (shift,))[:, :, RATES]
    np.testing.assert_array_equal(shifted[:6], plain[:6])
    np.testing.assert_allclose(shifted[6:], 1.5 * plain[6:], rtol=1e-6)


def test_factors_multiply():
    plain = observations("DroneTrack", 1, 1)[:, :, RATES]
    shifts = SensorScale(factor=2.0, schedule=Always()), SensorScale(factor=-0.5, schedule=Always())
    np.testing.assert_allclose(observations("DroneTrack", 1, 1, shifts)[:, :, RATES], -plain, rtol=1e-6)
