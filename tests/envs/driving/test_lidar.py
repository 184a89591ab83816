"""CarLidar: a track seen by a range scan, with obstacles on it."""

import numpy as np
import pytest

from undrift.envs.driving.lidar import RANGE, RANGE_NOISE, CarLidar
from undrift.envs.driving.road import Road
from undrift.envs.driving.scan import car_boxes, outline, overlap

RADIUS = 5.0


def ring(half_width=0.85, points=512):
    angle, one = 2 * np.pi * np.arange(points) / points, np.ones(points)
    position = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spacing = 2 * np.pi * RADIUS / points
    return Road(position, angle + np.pi / 2, one / RADIUS, half_width * one, one, np.inf * one, spacing, True)


def on_a_ring(**kwargs):
    env = CarLidar(1, **{"road": ring(), "noise": 0.0, "obstacles": 0} | kwargs)
    env.reset([0])
    return env


def put(env, station, lateral_error, heading_error=0.0, speed=2.0):
    """Place the car there; what one step then says."""
    env.place(0, station, lateral_error, heading_error, speed)
    env._locate(env._all)
    return env.step(np.zeros((1, 2)))


def drive(env, share, steps):
    """Along the centreline at a share of the speed reference; the last step's info."""
    for _ in range(steps):
        steering = np.arctan(env.vehicle.wheelbase / RADIUS) - 1.5 * env.lateral_error - 1.5 * env.heading_error
        drive = 2.0 * (share * env.speed_reference - env.body_velocity[:, 0])
        action = np.stack([steering / env.vehicle.steering_range, drive], axis=1)
        _, _, terminated, _, info = env.step(action)
        assert not terminated[0]
    return info


def test_the_scan_shows_the_borders_from_right_to_left():
    env = on_a_ring(beams=3, field_of_view=2 * np.pi)
    right, ahead, left = put(env, 5.0, 0.3, speed=0.0)[0][0, -3:]
    # The ring turns left: its outer border is to the right. The outer beams turn 80 degrees from ahead.
    inner, outer, here, aside = RADIUS - 0.85, RADIUS + 0.85, RADIUS - 0.3, np.radians(10)
    across, beside = here * np.sin(aside), here * np.cos(aside)
    assert right == pytest.approx(np.sqrt(outer**2 - across**2) - beside, abs=1e-3)
    assert ahead == pytest.approx(np.sqrt(outer**2 - here**2), abs=0.02)
    assert left == pytest.approx(beside - np.sqrt(inner**2 - across**2), abs=1e-3)


def test_the_observation_is_velocities_pace_action_and_ranges():
    env = CarLidar(3, noise=0.0, pace=0.8)
    env.reset([0, 1, 2])
    env.speed_scale[:] = 0.5
    action = np.array([[0.1, 0.2]] * 3)
    seen = env.step(action)[0]
    yaw = env.qpos[:, 2]
    forward = np.cos(yaw) * env.qvel[:, 0] + np.sin(yaw) * env.qvel[:, 1]
    left = np.cos(yaw) * env.qvel[:, 1] - np.sin(yaw) * env.qvel[:, 0]
    expected = np.column_stack([forward, left, env.qvel[:, 2], np.full(3, 0.4), action, env.ranges])
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_ranges_are_noisy_and_bounded():
    quiet, noisy = on_a_ring(), on_a_ring(noise=1.0)
    first = quiet.observation_names.index("range_0")
    errors = []
    for _ in range(40):
        quiet.place(0, 1.0), noisy.place(0, 1.0)
        errors.append(noisy.step(np.zeros((1, 2)))[0][0, first:] - quiet.step(np.zeros((1, 2)))[0][0, first:])
    assert np.std(errors) == pytest.approx(RANGE_NOISE, rel=0.1)
    assert noisy.ranges.max() <= RANGE


def test_obstacles_leave_room_beside_them_and_stand_clear_of_the_start():
    env = CarLidar(30, obstacles=6)
    env.reset(list(range(30)))
    own = car_boxes(env.vehicle, env.qpos)
    for n in range(30):
        road = env.roads[n]
        for box in env.boxes[n]:
            assert not overlap(own[n], box)
            off = np.linalg.norm(road.position - box[:2], axis=1).min()
            corner = np.hypot(*box[3:])
            assert road.half_width[0] + off - corner >= 2 * env.vehicle.width - 0.01  # on the side they do not stand on
            assert off + corner < road.half_width[0] + 0.05
    assert len(np.unique(env.boxes[:, 0, 0])) == 30


def test_touching_a_border_or_an_obstacle_with_the_outline_is_a_crash():
    side = on_a_ring().vehicle.width / 2
    for gap, crashed in ((0.03, False), (-0.03, True)):
        info = put(on_a_ring(), 5.0, -(0.85 - side - gap), speed=0.5)[4]
        assert info["crashed"][0] == crashed and (info["reward/crash"][0] == -10.0) == crashed
    env = on_a_ring(obstacles=1)
    x, y = env.boxes[0, 0, :2]
    at = (np.arctan2(y, x) % (2 * np.pi)) * RADIUS
    assert put(env, at, RADIUS - np.hypot(x, y))[4]["crashed"][0]
    assert not put(on_a_ring(obstacles=0), at, RADIUS - np.hypot(x, y))[4]["crashed"][0]


def test_nearness_costs_what_the_outline_is_near_to():
    env = on_a_ring(beams=33, field_of_view=6.0)
    costs = [put(env, 5.0, -lateral, speed=1.0)[4]["reward/clearance"][0] for lateral in (0.0, 0.4, 0.65)]
    assert costs[0] > costs[1] > costs[2]
    gap = 0.85 - abs(env.lateral_error[0]) - env.vehicle.width / 2
    assert costs[2] == pytest.approx(-0.3 * np.exp(-gap / 0.2), abs=0.03)


def test_the_cars_own_outline_is_that_of_its_box():
    env = on_a_ring()
    angles = np.linspace(-3, 3, 13)
    reach = outline(env.vehicle, angles)
    box = car_boxes(env.vehicle, np.zeros((1, 3)))[0]
    for angle, distance in zip(angles, reach, strict=True):
        for share, inside in ((0.99, True), (1.01, False)):
            point = share * distance * np.array([np.cos(angle), np.sin(angle)])
            assert overlap(box, np.array([*point, 0.0, 1e-9, 1e-9])) == inside


def test_a_lap_fast_enough_is_success_and_one_too_slow_is_not():
    assert drive(on_a_ring(), 0.9, 400)["success"].tolist() == [True]
    slow = drive(on_a_ring(), 0.55, 700)
    assert slow["laps"][0] > 1.0 and not slow["success"][0]


def test_going_faster_than_the_reference_earns_less():
    info = put(on_a_ring(pace=0.5), 5.0, 0.0, speed=4.0)[4]
    over = info["speed_error"][0]
    assert over > 1.0
    assert info["reward/progress"][0] == pytest.approx(0.7)
    assert info["reward/overspeed"][0] == pytest.approx(0.4 * (np.exp(-over) - 1.0), abs=0.02)


def test_less_than_a_lap_is_no_success():
    info = drive(on_a_ring(), 0.9, 200)
    assert 0.2 < info["laps"][0] < 1.0 and not info["success"][0]


@pytest.mark.parametrize(
    ("kwargs", "what"),
    [
        ({"obstacles": 20}, "0 to 12"),
        ({"beams": 1}, "at least 2"),
        ({"road": ring(half_width=0.3), "obstacles": 2}, "wider road"),
    ],
)
def test_a_track_that_cannot_be_driven_is_refused(kwargs, what):
    with pytest.raises(ValueError, match=what):
        CarLidar(1, **kwargs).reset([0])
