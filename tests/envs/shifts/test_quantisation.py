"""Quantisation."""

import numpy as np

from undrift.envs import Abrupt, Quantisation

from .flights import observations

RATES = slice(15, 18)


def test_what_is_measured_is_rounded_to_multiples_of_the_step_from_the_onset_on():
    plain = observations("DroneTrack", 3, 9)[:, :, RATES]
    shift = Quantisation(step=0.25, channels=("body_rate",), schedule=Abrupt(0.1))
    shifted = observations("DroneTrack", 3, 9, (shift,))[:, :, RATES]
    np.testing.assert_array_equal(shifted[:6], plain[:6])
    np.testing.assert_allclose(shifted[6:], 0.25 * np.round(plain[6:] / 0.25), atol=1e-6)
    assert len(np.unique(shifted[6:])) > 3
