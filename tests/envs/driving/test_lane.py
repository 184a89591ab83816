"""CarLane."""

import numpy as np

from undrift.envs import make_batch


def test_the_speed_reference_is_road_speed_on_every_road():
    env = make_batch("CarLane", 20)
    env.reset(list(range(20)))
    speed = np.array([env.roads[k].speed for k in range(20)])
    assert speed.min() >= 89 / 3.6 and speed.max() <= 33.0
    bend = np.array([np.abs(env.roads[k].curvature) for k in range(20)])
    assert 0.45 * 1.05 * 9.81 <= (speed**2 * bend).max() <= 0.5 * 1.05 * 9.81 * (1 + 1e-9)
