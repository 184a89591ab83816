"""Pilots: they solve their tasks, keep clear of what stands and drives there, and drive nothing else."""

import numpy as np
import pytest

from undrift.envs import make_batch
from undrift.envs.driving.intelligent_driver import Driver
from undrift.envs.driving.pilots import OWN_DRIVER, LidarPilot, TrafficPilot, _decide
from undrift.envs.driving.road import HALF_WIDTH, project


def drive(env, pilot):
    """Whether each episode is solved without a crash, [N], and the rows of `info` at its end."""
    observation, state = env.reset(list(range(1000, 1000 + env.num_envs))), None
    crashed = np.zeros(env.num_envs, dtype=bool)
    for _ in range(env.max_episode_steps):
        action, state = pilot.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        crashed |= terminated
    return info["success"] & ~crashed, info


def line_of(env):
    """The lines that a pilot lays in episodes 0 to N - 1."""
    pilot = LidarPilot(env)
    pilot.predict(env.reset(list(range(env.num_envs))))
    return pilot._reader.lines


def test_the_lidar_pilot_drives_its_lap_among_obstacles():
    env = make_batch("CarLidar", 8)
    assert drive(env, LidarPilot(env))[0].all()


def test_the_line_leaves_room_beside_every_obstacle_and_to_both_borders():
    env = make_batch("CarLidar", 20)
    lines = line_of(env).table[:, :, :2]
    away = np.linalg.norm(env.boxes[:, :, None, :2] - lines[:, None], axis=3).min(axis=2)
    room = 0.5 * env.vehicle.width
    assert (away - np.hypot(*env.boxes[0, 0, 3:]) > 1.5 * room).all()
    for n in range(env.num_envs):
        points = np.concatenate([lines[n], np.zeros((len(lines[n]), 1))], axis=1)
        count = len(points)
        road = env.roads.table, env.roads.spacing, True, np.full(count, n)
        station, aside, turned = np.empty((3, count))
        project(np.arange(count), *road, points, np.full(count, -1), station, aside, turned)
        assert (env.roads.table[n, 0, HALF_WIDTH] - np.abs(aside) > 1.5 * room).all()


def test_without_obstacles_the_line_is_the_centreline():
    env = make_batch("CarLidar", 3, obstacles=0)
    lines = line_of(env)
    np.testing.assert_allclose(lines.length, env.roads.length, rtol=1e-3)
    away = np.linalg.norm(lines.table[:, :, None, :2] - env.roads.table[:, None, :, :2], axis=3).min(axis=2)
    assert away.max() < 0.5 * env.roads.spacing.max() + 0.01


def test_a_new_episode_gets_a_line_of_its_own():
    env = make_batch("CarLidar", 2)
    pilot = LidarPilot(env)
    pilot.predict(env.reset([1, 2]))
    before = pilot._reader.lines.table.copy()
    env.reset([3], ids=[1])
    pilot.predict(np.zeros((2, len(env.observation_names))))
    after = pilot._reader.lines.table
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 0.1


def test_the_traffic_pilot_overtakes_and_touches_nobody():
    env = make_batch("CarTraffic", 6)
    solved, info = drive(env, TrafficPilot(env))
    assert solved.all()
    assert info["overtaken"].mean() > 4


FREE, NOBODY, NO_LANE = (120.0, 0.0), ((120.0, 0.0), (120.0, 0.0)), ((0.0, 0.0), (0.0, 0.0))
SLOW_AHEAD = ((40.0, -10.0), FREE)


@pytest.mark.parametrize(
    ("left", "own", "right", "offset", "heading", "side"),
    [
        (NOBODY, NOBODY, NOBODY, 0.0, 0.0, 0),
        (NOBODY, SLOW_AHEAD, NO_LANE, 0.0, 0.0, 1),
        (NO_LANE, SLOW_AHEAD, NOBODY, 0.0, 0.0, -1),
        (((60.0, -10.0), FREE), SLOW_AHEAD, ((110.0, -10.0), FREE), 0.0, 0.0, -1),
        (((0.0, -8.0), FREE), SLOW_AHEAD, NO_LANE, 0.0, 0.0, 0),  # somebody is alongside
        ((FREE, (8.0, 10.0)), SLOW_AHEAD, NO_LANE, 0.0, 0.0, 0),  # somebody comes fast from behind
        (NOBODY, SLOW_AHEAD, NO_LANE, -1.0, 0.02, 0),  # not settled yet
        (NOBODY, NOBODY, NO_LANE, 1.0, 0.02, 1),  # under way
        (NOBODY, NOBODY, NO_LANE, 1.0, -0.02, 0),  # on its way back
        (SLOW_AHEAD, NOBODY, NO_LANE, 1.0, 0.02, 0),  # under way, and worse off there
    ],
)
def test_a_lane_is_changed_where_that_is_faster_and_safe(left, own, right, offset, heading, side):
    figures = np.array([TrafficPilot.ADVANTAGE, TrafficPilot.SAFE, TrafficPilot.SETTLED])
    chosen, acceleration = np.empty(1), np.empty(1)
    state = np.array([25.0]), np.array([30.0]), np.array([offset]), np.array([heading])
    _decide(OWN_DRIVER, Driver(), figures, *state, np.array([[left, own, right]]), chosen, acceleration)
    assert chosen[0] == side


def test_what_a_pilot_cannot_drive_is_refused():
    lidar = make_batch("CarLidar", 3)
    with pytest.raises(ValueError, match="CarTraffic"):
        TrafficPilot(lidar)
    with pytest.raises(ValueError, match="share is 0"):
        LidarPilot(lidar, share=0.0)
    with pytest.raises(ValueError, match="1 observations of 3 simulations"):
        LidarPilot(lidar).predict(lidar.reset([0, 1, 2])[0])
