"""Oscillating wind: its closed form."""

import numpy as np

from undrift.envs import Abrupt, OscillatingWind, make_batch


def test_it_follows_its_closed_form_from_the_onset_on():
    env = make_batch("DroneTrack", 2, shifts=(OscillatingWind(amplitude=5.0, frequency=0.4, schedule=Abrupt(0.2)),))
    env.reset([0, 1])
    for step in range(60):
        env.step(np.zeros((2, 4)))
        t = step * env.dt
        wind = 5.0 * np.array([np.sin(2 * np.pi * 0.4 * t), np.cos(2 * np.pi * 0.27 * t), 0.0])
        np.testing.assert_allclose(env.record()["wind"], [wind * (step >= 10)] * 2, atol=1e-12)
