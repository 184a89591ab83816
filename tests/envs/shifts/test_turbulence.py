"""Turbulence: the intensities and lengths of MIL-F-8785C."""

from dataclasses import replace

import numpy as np
import pytest

from undrift.envs import Always, Turbulence, make_batch

ROWS = 5000
FOOT = 0.3048


@pytest.mark.parametrize(("feet", "airspeed", "dt"), [(10.0, 5.0, 0.02), (600.0, None, 0.5)])
def test_intensity_and_length_are_those_of_the_standard(feet, airspeed, dt):
    turbulence = Turbulence(speed=10.0, altitude=feet * FOOT, airspeed=airspeed, heading=0.0)
    world, rng = make_batch("DroneTrack"), np.random.default_rng(1)
    memory = np.array([turbulence.draw(rng, world) for _ in range(ROWS)])
    winds = []
    for _ in range(11):
        turbulence.evolve(memory, np.ones(ROWS), rng.standard_normal((ROWS, 5)), np.zeros(ROWS), np.full(ROWS, dt))
        winds.append(memory[:, :3].copy())
    sigma = 1.0 / (0.177 + 0.000823 * feet) ** 0.4
    np.testing.assert_allclose(winds[-1].std(0), [sigma, sigma, 1.0], rtol=0.04)
    length = feet * FOOT / (0.177 + 0.000823 * feet) ** 1.2
    correlation = (winds[0][:, 0] * winds[-1][:, 0]).mean() / sigma**2
    assert correlation == pytest.approx(np.exp(-10 * dt * (airspeed or 10.0) / length), abs=0.05)


def test_it_turns_with_the_heading_of_the_mean_wind():
    forward, left = (flown(Turbulence(heading=heading)) for heading in (0.0, np.pi / 2))
    np.testing.assert_allclose(left, forward @ [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], atol=1e-12)


def flown(turbulence):
    """Wind [20, 3] of an episode."""
    env = make_batch("DroneTrack", shifts=(replace(turbulence, schedule=Always()),))
    env.reset([0])
    return np.array([(env.step(np.zeros((1, 4))), env.record()["wind"][0])[1] for _ in range(20)])
