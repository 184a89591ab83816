"""CarTrack."""

import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.driving.roads import through
from undrift.envs.driving.vehicle import GRAVITY


def test_the_speed_reference_uses_the_stated_share_of_the_friction_limit_and_no_more():
    env = make_batch("CarTrack", 20)
    env.reset(list(range(20)))
    for k in range(20):
        road = env.roads[k]
        used = (road.speed**2 * np.abs(road.curvature)).max() / GRAVITY
        assert 0.84 <= used <= 0.85 + 1e-9
        assert road.speed.max() <= 5.2


def test_laps_count_what_was_driven_along_the_track():
    angle = 2 * np.pi * np.arange(24) / 24
    circle = through(6.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    env = make_batch("CarTrack", 1, road=circle)
    env.reset([0])
    travelled = 0.0
    for _ in range(500):
        steering = 0.13 - 1.5 * env.lateral_error - 1.5 * env.heading_error
        _, _, terminated, _, info = env.step(np.stack([steering, 0.5 * (3.0 - env.body_velocity[:, 0])], axis=1))
        travelled += env.dt * np.hypot(*env.qvel[0, :2])
        assert not terminated[0]
    assert info["laps"][0] == pytest.approx(travelled / (2 * np.pi * 6.0), rel=0.03)
    assert info["laps"][0] > 0.7
