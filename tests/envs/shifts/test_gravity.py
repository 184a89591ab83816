"""Gravity: how fast a drone falls whose thrust carries its nominal weight."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, Gravity, Ramp
from undrift.envs.drone.vehicle import GRAVITY

from .flights import aloft, fly

HOVER = np.zeros((10, 4))


@pytest.mark.parametrize("gravity", [0.0, 3.7, 11.0])
def test_what_thrust_does_not_carry_accelerates_the_drone(gravity):
    env = aloft(Gravity(acceleration=gravity, schedule=Abrupt(0.1)))
    fly(env, HOVER[:5])
    assert abs(env.qvel[0, 2]) < 1e-9
    fly(env, HOVER[:1])
    assert env.qvel[0, 2] / env.dt == pytest.approx(GRAVITY - gravity, rel=0.01)


def test_half_the_strength_is_half_way_from_the_nominal_gravity():
    env = aloft(Gravity(acceleration=11.81, schedule=Ramp(at=0.0, duration=0.04)))
    fly(env, HOVER[:2])  # at the strengths 0 and 0.5
    assert env.qvel[0, 2] / env.dt == pytest.approx(-1.0, rel=0.01)


def test_the_changes_of_several_add_up():
    env = aloft(Gravity(acceleration=11.0, schedule=Always()), Gravity(acceleration=9.0, schedule=Always()))
    np.testing.assert_allclose(env.plant["gravity"], [[0.0, 0.0, -(GRAVITY + 1.19 - 0.81)]])
