"""What DroneTrack follows."""

import json

import numpy as np
import pytest

from undrift.envs import Waypoints, make_batch
from undrift.envs.drone.trajectory import MAX_ACCELERATION, MAX_SPEED, make_trajectory
from undrift.envs.drone.vehicle import VEHICLES, load_vehicle

SQUARE = {"points": [[0, 0, 2], [3, 0, 2.5], [3, 3, 2], [0, 3, 1.5]], "speed": 1.5}
EVERY = ("random", "figure_eight", "spiral", SQUARE, SQUARE | {"closed": False})


def path(trajectory, seconds=60.0, seed=0, vehicle="racer"):
    """Times [T], positions [T, 3] and velocities [T, 3]."""
    made = make_trajectory(trajectory, 1, load_vehicle(vehicle))
    made.start(0, np.random.default_rng(seed))
    time = np.arange(round(200 * seconds) + 1) / 200
    points, speed = made.reference(np.zeros(len(time), dtype=int), time, np.array([0.3]))
    np.testing.assert_allclose(points[:-60, 1], points[60:, 0], atol=1e-9)
    return time, points[:, 0], speed


def test_random_ones_keep_their_bounds_and_stay_above_ground():
    for seed in range(30):
        time, points, speed = path("random", seed=seed)
        assert np.linalg.norm(speed, axis=1).max() <= MAX_SPEED + 1e-9
        assert np.linalg.norm(np.gradient(speed, time, axis=0), axis=1).max() <= MAX_ACCELERATION * 1.001
        assert points[:, 2].min() >= 1.0 - 1e-9


@pytest.mark.parametrize("trajectory", EVERY)
def test_velocity_is_the_derivative_of_position(trajectory):
    time, points, speed = path(trajectory, 20.0)
    np.testing.assert_allclose(np.gradient(points, time, axis=0)[1:-1], speed[1:-1], atol=2e-3)


def test_the_figure_eight_is_neural_flys():
    _, points, speed = path("figure_eight", 6.28)
    np.testing.assert_allclose(np.ptp(points, axis=0), [2.5, 0.0, 1.5], atol=1e-3)
    np.testing.assert_allclose(points[-1], points[0], atol=0.01)
    # It crosses itself in the middle, once in each direction.
    assert (np.diff(np.sign(points[1:-1, 0])) != 0).sum() == 1
    assert (np.diff(np.sign(points[1:-1, 2] - 2)) != 0).sum() == 3
    assert np.linalg.norm(speed, axis=1).max() < 2.0


def test_the_spiral_winds_out_and_up_around_one_axis():
    _, points, _ = path("spiral", 2 * np.pi / 0.25)
    radius = np.linalg.norm(points[:, :2], axis=1)
    assert radius.min() == pytest.approx(0.4, abs=1e-3) and radius.max() == pytest.approx(1.6, abs=1e-3)
    angle = np.unwrap(np.arctan2(points[:, 1], points[:, 0]))
    assert angle[-1] - angle[0] == pytest.approx(5 * 2 * np.pi, rel=1e-3)
    np.testing.assert_allclose(np.corrcoef(radius, points[:, 2])[0, 1], 1.0, atol=1e-6)


def test_a_closed_path_meets_its_waypoints_and_goes_round():
    _, points, speed = path(SQUARE, 30.0)
    for waypoint in SQUARE["points"]:
        assert np.linalg.norm(points - waypoint, axis=1).min() < 0.01
    lap = make_trajectory(SQUARE, 1, load_vehicle("racer")).duration
    np.testing.assert_allclose(points[round(200 * lap) :][:100], points[:100], atol=0.02)
    assert np.linalg.norm(speed, axis=1).mean() == pytest.approx(1.5, rel=0.25)


def test_an_open_path_begins_and_ends_at_rest_and_stays_there():
    _, points, speed = path(SQUARE | {"closed": False}, 30.0)
    np.testing.assert_allclose(points[[0, -1]], [SQUARE["points"][0], SQUARE["points"][-1]], atol=1e-9)
    np.testing.assert_allclose(speed[[0, -1]], 0.0, atol=1e-9)


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("trajectory", EVERY)
def test_every_vehicle_can_fly_every_trajectory(trajectory, vehicle):
    env = make_batch("DroneTrack", 2, trajectory=trajectory, vehicle=vehicle)
    env.reset([0, 1])
    assert np.isfinite(env.step(np.zeros((2, 4)))[1]).all()
    again = make_batch("DroneTrack", 2, **json.loads(json.dumps(env.kwargs)))
    np.testing.assert_array_equal(again.reset([0, 1]), env.reset([0, 1]))


@pytest.mark.parametrize(
    ("trajectory", "message"),
    [
        ("figure_nine", "random, figure_eight, spiral, or waypoints"),
        (SQUARE | {"speed": 30.0}, r"racer cannot fly this trajectory: at .* m/s it takes a thrust of .* N"),
        (SQUARE | {"pace": 3.0}, "waypoints have no 'pace'; they have: points, speed, closed"),
        (SQUARE | {"speed": -1.0}, "m/s above 0"),
        ({"points": [[0, 0, 2]]}, "at least two points"),
        ({"points": [[0, 0, 2], [0, 0, 2], [1, 0, 2]]}, "waypoint 1 repeats"),
        ({"points": [[0, 0, 0.1], [2, 0, 0.1], [2, 2, 0.1]]}, "comes down to"),
    ],
)
def test_what_cannot_be_flown_is_refused_with_the_reason(trajectory, message):
    with pytest.raises(ValueError, match=message):
        make_batch("DroneTrack", trajectory=trajectory)


def test_waypoints_are_given_as_an_object_too():
    env = make_batch("DroneTrack", trajectory=Waypoints(**SQUARE))
    np.testing.assert_allclose(env.trajectory.reference(np.array([0]), np.zeros(1), np.zeros(0))[0][0, 0], [0, 0, 2])
