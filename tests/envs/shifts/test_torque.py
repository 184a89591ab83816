"""Torque: what it turns, and about whose axes."""

import numpy as np
import pytest

from undrift.envs import Always, Torque, make_batch

from .flights import aloft, fly


@pytest.mark.parametrize(
    "attitude", [(1.0, 0.0, 0.0, 0.0), (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)), (0.8, 0.6, 0.0, 0.0)]
)
def test_it_turns_the_vehicle_about_its_own_axes(attitude):
    env = aloft(Torque(roll=0.01, pitch=-0.02, yaw=0.003, schedule=Always()))
    env.place(0, [0.0, 0.0, 50.0], quaternion=attitude)
    fly(env, np.zeros((1, 4)))
    expected = np.array([0.01, -0.02, 0.003]) / env.vehicle.inertia
    np.testing.assert_allclose(env.qvel[0, 3:] / env.dt, expected, rtol=0.01)


def test_each_episode_draws_its_own_within_the_ranges():
    env = make_batch("DroneTrack", 200, seed=0, shifts=(Torque(schedule=Always()),))
    env.reset()
    torque = env.plant["body_torque"]
    bounds = np.array([0.02, 0.02, 0.006])
    assert (np.abs(torque) <= bounds).all()
    np.testing.assert_allclose(torque.std(0), bounds / np.sqrt(3), rtol=0.15)
