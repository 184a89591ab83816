"""Pictures of cars: the road, its grip, the car and what stands around it are where the simulation has them."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.envs import Always, Payload, Wind, make_batch
from undrift.envs.driving.looks import along
from undrift.envs.driving.road import FRICTION, HALF_WIDTH
from undrift.envs.driving.roads import Patch

from ..conftest import near, white


def start(task="CarTrack", **kwargs):
    env = make_batch(task, 1, noise=0.0, **kwargs)
    env.reset([1003])
    return env


def beside(env, ahead, lateral):
    """The place `ahead` m along the road and so many half-widths left of the centreline."""
    station = env.station[0] + ahead
    return along(env.roads, 0, np.array([station]), lateral * env.roads.table[0, 0, HALF_WIDTH])[0]


def blue(pixels):
    return (pixels[..., 2] > pixels[..., 0].astype(int) + 40) & (pixels[..., 2] > 120)


def grass(pixels):
    return (pixels[..., 1] > pixels[..., 0].astype(int) + 10) & (pixels[..., 1] > pixels[..., 2].astype(int) + 10)


def dark(pixels):
    return pixels.max(axis=-1) < 30


def orange(pixels):
    return (pixels[..., 0] > pixels[..., 2].astype(int) + 90) & (pixels[..., 0] > 150)


@pytest.mark.parametrize("task", ["CarTrack", "CarLane"])
def test_the_road_lies_between_white_lines_and_grass(look, task):
    env = start(task)
    view = look(env, "top")
    picture, car = view.draw(), env.vehicle
    half_width = env.half_width[0]
    for side in (-1, 1):
        for ahead in (-car.length, 2 * car.length):
            line = near(view, picture, beside(env, ahead, side * (1 + 0.06 * car.width / half_width)), 1)
            assert white(line).any()
            assert grass(near(view, picture, beside(env, ahead, side * 1.5), 1)).all()
            asphalt = near(view, picture, beside(env, ahead, side * 0.6), 1)
            assert not white(asphalt).any() and not grass(asphalt).any()


def test_slippery_ground_is_blue_and_dry_ground_is_not(look):
    env = start(patches=(Patch(0.0, 1e3, 0.35),))
    view = look(env, "top")
    assert blue(near(view, view.draw(), beside(env, 1.0, 0.5))).all()
    dry = start()
    view = look(dry, "top")
    assert not blue(near(view, view.draw(), beside(dry, 1.0, 0.5))).any()
    assert env.roads.table[0, :, FRICTION].max() == 0.35


def test_the_line_to_follow_is_white_ahead_of_the_car(look):
    env = start()
    view = look(env)
    picture = view.draw()
    assert white(near(view, picture, beside(env, 1.5, 0.0), 1)).any()
    assert not white(near(view, picture, beside(env, 1.5, 0.3), 1)).any()


def test_a_new_episode_shows_its_own_road(look):
    env = start()
    view = look(env, "top")
    env.reset([5])
    view.draw()
    env.reset([1003])
    np.testing.assert_array_equal(view.draw(), look(start(), "top").draw())


def test_the_front_wheels_are_steered_and_the_wheels_turn(look):
    env = start()
    env.place(0, env.station[0], speed=2.0)
    env.steering[0] = 0.3
    view = look(env)
    view.draw()
    axles = [np.array(view._canvas.geom(name).mat)[:2, 2] for name in ("front_left", "rear_left")]
    turned = np.arccos(np.clip(abs(axles[0] @ axles[1]), 0, 1))
    assert turned == pytest.approx(0.3, abs=1e-3)
    before = view._canvas.memory["traces"].turned.copy()
    env.step(np.zeros((1, 2)))
    view.draw()
    gone = view._canvas.memory["traces"].turned - before
    np.testing.assert_allclose(gone * env.vehicle.wheel_radius, 2.0 * env.dt, rtol=0.2)


def test_wheels_that_lock_leave_marks_and_wheels_that_roll_leave_none(look):
    marks = []
    for drive in (-1.0, 0.1):
        env = start(patches=(Patch(0.0, 1e3, 0.35),))
        env.place(0, env.station[0], speed=3.0)
        view = look(env, "top")
        env.step(np.zeros((1, 2)))
        view.draw()
        for _ in range(10):
            way = env.qpos[0].copy()
            env.step(np.array([[0.0, drive]]))
            picture = view.draw()
        wheel = env.vehicle.wheel_positions[3]
        turn = np.array([[np.cos(way[2]), -np.sin(way[2])], [np.sin(way[2]), np.cos(way[2])]])
        spot = way[:2] - 0.1 * turn[:, 0] + turn @ wheel
        marks.append(dark(near(view, picture, np.array([*spot, 0.0]), 3)).any())
    assert marks == [True, False]


@pytest.mark.parametrize("camera", ["chase", "first_person"])
def test_obstacles_stand_where_they_are_also_for_the_driver(look, camera):
    env = start("CarLidar", obstacles=1)
    view = look(env, camera)
    place = beside(env, 1.5, 0.0)
    env.boxes[0, 0] = [*place[:2], 0.0, 0.0, 0.0]
    without = view.draw().astype(int)
    env.boxes[0, 0, 3:] = 0.15
    changed = np.abs(view.draw() - without).max(axis=2) > 20
    assert changed.sum() > (40 if camera == "first_person" else 500)


def test_the_beams_of_the_scan_end_where_it_ends(look):
    env = start("CarLidar", obstacles=0)
    view = look(env, "top")
    picture = view.draw()
    beam = int(np.argmin(np.abs(env.angles - 1.2)))
    direction = env.qpos[0, 2] + env.angles[beam]
    along_it = np.array([np.cos(direction), np.sin(direction), 0.0]) * env.ranges[0, beam]
    start_at = np.array([*env.qpos[0, :2], 0.7 * env.vehicle.height])
    inside, outside = (near(view, picture, start_at + share * along_it, 2) for share in (0.8, 1.4))

    def red(pixels):
        return (pixels[..., 0] > pixels[..., 1] + 15).any()

    assert red(inside) and not red(outside)


@pytest.mark.parametrize("camera", ["chase", "first_person"])
def test_other_cars_are_seen(look, camera):
    env = start("CarTraffic")
    view = look(env, camera)
    env.crowd.boxes[0, :, :2] = 1e4
    alone = view.draw().astype(int)
    env.crowd.boxes[0, 0, :3] = [*beside(env, 15.0, 0.2)[:2], env.qpos[0, 2]]
    changed = np.abs(view.draw() - alone).max(axis=2) > 20
    assert changed.sum() > (10 if camera == "first_person" else 500)


def test_the_map_shows_the_car_where_it_is_on_the_lap(look):
    env = start()
    view = look(env, "top")
    places, table = [], env.roads.table[0]
    for station in (0.0, 0.5 * env.roads.length[0]):
        env.place(0, station)
        rows, columns = np.nonzero(orange(view.draw()[10:130, 510:630]))
        places.append([columns.mean(), -rows.mean()])
    way = along(env.roads, 0, np.array([0.0, 0.5 * env.roads.length[0]]))[:, :2]
    scale = 120 / (1.2 * np.ptp(table[:, :2], axis=0).max())
    np.testing.assert_allclose(np.diff(places, axis=0), scale * np.diff(way, axis=0), atol=4)


def test_the_camera_on_top_has_the_car_in_the_middle_and_y_upwards(look):
    env = start()
    view = look(env, "top")
    picture = view.draw()
    assert orange(near(view, picture, env.position(0), 12)).any()
    x, y = view._canvas.project(env.position(0) + [0.0, 1.0, 0.0])
    assert x == pytest.approx(320, abs=1) and y < 240


def test_wind_has_arrows_and_a_payload_lies_on_the_roof(look):
    calm, storm, loaded = (
        look(start(shifts=shifts)).draw().astype(int)
        for shifts in (
            (),
            (Wind(speed=12.0, schedule=Always()),),
            (Payload(fraction=0.5, spread=0.0, schedule=Always()),),
        )
    )

    def cyan(picture):
        return int(((picture[..., 2] > 170) & (picture[..., 0] < picture[..., 2] - 50)).sum())

    assert cyan(calm) == 0 and cyan(storm) > 200
    changed = np.abs(loaded - calm).max(axis=2) > 20
    assert changed[150:260, 260:380].sum() > 300 and changed[:, :200].sum() == 0


def test_drawing_changes_nothing_in_the_simulation(look):
    watched, alone = start("CarTraffic"), start("CarTraffic")
    view = look(watched)
    for _ in range(5):
        view.draw()
        seen, unseen = watched.step(np.zeros((1, 2))), alone.step(np.zeros((1, 2)))
        np.testing.assert_array_equal(seen[0], unseen[0])
