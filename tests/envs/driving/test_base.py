"""CarEnv: roads, sensors, clock, pace and what ends an episode."""

import json

import mujoco
import numpy as np
import pytest

from undrift.envs import Abrupt, Always, Bank, FlatTyre, Friction, FrictionPatches, GustyWind, Payload, Wind
from undrift.envs.driving.base import SENSORS
from undrift.envs.driving.road import Road
from undrift.envs.driving.vehicle import CARS


def go(env, steering, drive, steps):
    for _ in range(steps):
        *_, info = env.step(np.tile([steering, drive], (env.num_envs, 1)))
    return info


def test_an_episode_begins_on_the_road_rolling_along_its_bend(plane, road):
    env = plane(road=road(curvature=0.05), speed=3.0)
    assert env.station[0] == pytest.approx(100.0, abs=1e-6)
    np.testing.assert_allclose([env.lateral_error[0], env.heading_error[0]], 0.0, atol=1e-9)
    np.testing.assert_allclose(env.body_velocity, [[3.0, 0.0]], atol=1e-9)
    assert env.qvel[0, 2] == pytest.approx(0.15)
    assert np.tan(env.steering[0]) == pytest.approx(env.vehicle.wheelbase * 0.05)
    info = go(env, env.steering[0] / env.vehicle.steering_range, 0.07, 50)
    assert abs(info["lateral_error"][0]) < 0.1 and abs(info["heading_error"][0]) < 0.05


def test_the_errors_are_the_distances_and_angles_to_the_road(plane, road):
    env = plane(road=road(curvature=0.05, length=120))
    env.place(0, 50.0, lateral_error=0.4, heading_error=0.2, speed=2.0)
    env.step(np.zeros((1, 2)))
    info = go(env, 0.0, 0.0, 1)
    reference = info["reference_position"][0]
    assert np.hypot(*(env.qpos[0, :2] - reference[:2])) == pytest.approx(info["position_error"][0])
    centre = np.array([0.0, 20.0])
    assert np.hypot(*(reference[:2] - centre)) == pytest.approx(20.0, abs=1e-6)
    assert 20.0 - np.hypot(*(env.qpos[0, :2] - centre)) == pytest.approx(info["lateral_error"][0], abs=1e-6)
    assert info["speed_error"][0] == pytest.approx(env.body_velocity[0, 0] - 3.0)


def test_progress_is_the_way_along_the_road_also_over_the_start_of_a_lap(plane):
    radius, points = 10.0, 200
    angle = 2 * np.pi * np.arange(points) / points
    one = np.ones(points)
    place = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lap = Road(place, angle + np.pi / 2, one / radius, one, one, 3 * one, 2 * np.pi * radius / points, True)
    env = plane(road=lap, speed=3.0)
    env.place(0, lap.length - 0.5, speed=3.0)
    steering, ways = np.arctan(env.vehicle.wheelbase / radius) / env.vehicle.steering_range, []
    env._locate(np.array([0]))
    for _ in range(20):
        go(env, steering, 0.1, 1)
        ways.append(env.progress[0])
    np.testing.assert_allclose(ways, 3.0 * env.dt, rtol=0.1)
    assert env.station[0] < 2.0


def test_the_speed_reference_is_the_roads_times_pace_times_scale(plane):
    env = plane(4, pace=(0.5, 0.9))
    assert (env.pace >= 0.5).all() and (env.pace <= 0.9).all() and len(np.unique(env.pace)) == 4
    np.testing.assert_allclose(env.speed_reference, 3.0 * env.pace)
    env.speed_scale[2] = 0.5
    info = go(env, 0.0, 0.1, 1)
    np.testing.assert_allclose(env.speed_reference, 3.0 * env.pace * [1, 1, 0.5, 1])
    np.testing.assert_allclose(info["speed_error"], env.body_velocity[:, 0] - env.speed_reference)
    env.reset([0, 1, 2, 3])
    np.testing.assert_array_equal(env.speed_scale, 1.0)


def test_a_patch_of_ice_is_under_the_front_wheels_first(plane, road):
    ice = np.where((np.arange(400) > 105) & (np.arange(400) < 200), 0.1, 1.0)
    env = plane(vehicle="sedan", road=road(length=400, friction=ice), speed=10.0)
    seen = []
    for _ in range(50):
        go(env, 0.0, 0.0, 1)
        seen.append(env.surface[0].copy())
    seen = np.array(seen)
    first = (seen < 0.5).argmax(axis=0)
    assert first[0] == first[1] < first[2] == first[3]
    np.testing.assert_allclose(env.record()["friction"][0], 0.1)


@pytest.mark.parametrize(
    ("change", "when"),
    [
        ({"lateral_error": 2.1}, "off the road"),
        ({"lateral_error": -2.1}, "off the road"),
        ({"heading_error": 1.8}, "turned around"),
    ],
)
def test_a_car_off_the_road_or_turned_around_has_crashed(plane, road, change, when):
    env = plane(2, road=road(length=300, half_width=2.0))
    env.place(0, 100.0, **change)
    *_, terminated, _, info = env.step(np.zeros((2, 2)))
    assert terminated.tolist() == info["crashed"].tolist() == [True, False], when


def test_a_car_that_stands_has_crashed_once_it_had_time_to_start(plane):
    env = plane(2)
    for step in range(1, 110):
        *_, terminated, _, _ = env.step(np.array([[0.0, 0.0], [0.0, 0.3]]))
        assert terminated.tolist() == [step > 100, False]


def test_the_sensors_add_the_noise_and_the_bias_they_are_said_to(plane):
    bias = {"yaw_rate": (0.1, 0.5)}
    env = plane(200, noise=2.0, sensors=bias)
    rows = np.array([env.step(np.zeros((200, 2)))[0] for _ in range(60)])
    deviation = rows.std(axis=0).mean(axis=0)
    np.testing.assert_allclose(deviation, 2.0 * np.array([s[0] for s in (SENSORS | bias).values()]), rtol=0.05)
    assert rows.mean(axis=0)[:, 4].std() == pytest.approx(1.0, rel=0.2)
    assert rows.mean(axis=0)[:, :4].std() < 0.02
    true = plane(1, speed=2.0)
    seen = true.step(np.array([[0.2, 0.1]]))[0]
    expected = [true.lateral_error[0], true.heading_error[0], *true.body_velocity[0], true.qvel[0, 2]]
    np.testing.assert_allclose(seen[0], expected, rtol=1e-6)


EVERYTHING = {
    "noise": 1.0,
    "sensors": {"heading_error": (0.01, 0.02)},
    "clock": {"jitter": 0.4, "missed": 0.1},
    "pace": (0.5, 1.0),
    "shifts": (
        Friction(factor=(0.4, 1.0), where="front", schedule=Always()),
        FlatTyre(wheel="all", schedule=Abrupt(1.5)),
        FrictionPatches(factor=(0.5, 1.0), schedule=Always()),
        Payload(fraction=(0.0, 0.3), forward=(-0.1, 0.1), schedule=Always()),
        Bank(angle=(-0.1, 0.1), schedule=Always()),
        GustyWind(schedule=Abrupt(0.3)),
        Wind(schedule=Abrupt(0.5)),
        Payload(schedule=Abrupt(1.0)),
    ),
}


@pytest.mark.parametrize("vehicle", CARS)
def test_rows_of_a_batch_equal_single_runs_to_the_bit_with_everything_on(plane, road, vehicle):
    everything = EVERYTHING | {"vehicle": vehicle, "road": road(curvature=0.01), "speed": 4.0}
    batch, single = plane(3, **everything), plane(1, **everything)
    rows, row = batch.reset([1, 2, 3]), single.reset([2])
    rng = np.random.default_rng(0)
    for _ in range(150):
        np.testing.assert_array_equal(rows[1], row[0])
        np.testing.assert_array_equal(batch.batch.state[1], single.batch.state[0])
        np.testing.assert_array_equal(batch.slip[1], single.slip[0])
        actions = rng.uniform(-0.6, 0.7, (3, 2))
        rows, row = batch.step(actions)[0], single.step(actions[1:2])[0]


def test_an_episode_leaves_nothing_to_the_next(plane):
    env = plane(2, **EVERYTHING)
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (60, 2, 2))
    runs = []
    for _ in range(2):
        first = env.reset([5, 6])
        runs.append(np.array([first, *(env.step(action)[0] for action in actions)]))
    np.testing.assert_array_equal(*runs)


def test_randomising_the_plant_changes_neither_noise_nor_pace(plane):
    plain = plane(2, noise=1.0, pace=(0.5, 1.0))
    drawn = plane(2, noise=1.0, pace=(0.5, 1.0), shifts=(Payload(fraction=(0.0, 0.3), schedule=Always()),))
    assert len(np.unique(drawn.plant.values["mass"])) == 2
    np.testing.assert_array_equal(plain.reset([3, 4]), drawn.reset([3, 4]))
    np.testing.assert_array_equal(plain.pace, drawn.pace)


def test_a_car_that_diverges_has_crashed_and_its_neighbours_drive_on(plane, capfd):
    env = plane(3, speed=3.0)
    env.qvel[1, 0] = np.nan
    seen, reward, terminated, _, _ = env.step(np.full((3, 2), 0.1))
    assert terminated[[0, 2]].tolist() == [False, False] and terminated[1]
    assert np.isfinite(seen).all() and np.isfinite(reward).all()
    env.reset(ids=np.array([1]))
    for _ in range(3):
        assert not env.step(np.full((3, 2), 0.1))[2].any()
    assert "unstable" in capfd.readouterr().err


def test_what_builds_it_is_plain_and_builds_it_again(plane):
    env = plane(2, **EVERYTHING | {"vehicle": "sedan"})
    kwargs = json.loads(json.dumps(env.kwargs))
    again = plane(2, **kwargs, shifts=EVERYTHING["shifts"])
    np.testing.assert_array_equal(env.reset([1, 2]), again.reset([1, 2]))
    assert again.kwargs == env.kwargs


def test_the_record_holds_what_pictures_need(plane):
    env = plane(2, speed=3.0)
    go(env, 0.3, 0.2, 10)
    shapes = {name: array.shape for name, array in env.record().items()}
    assert shapes == {
        "qpos": (2, 3),
        "wind": (2, 3),
        "payload": (2,),
        "motor_effectiveness": (2, 1),
        "steering": (2,),
        "wheel_speed": (2, 4),
        "slip": (2, 4),
        "friction": (2, 4),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -1.0}, "at least 0"),
        ({"pace": 0.0}, "share of the road's speed profile above 0"),
        ({"pace": (0.9, 0.5)}, r"range \(low, high\)"),
        ({"sensors": {"radar": (1, 0)}}, "no sensor 'radar'; the sensors are: lateral_error"),
        ({"sensors": {"yaw_rate": 0.1}}, "deviations of noise and bias"),
        ({"vehicle": "carriage"}, "f1tenth, sedan"),
    ],
)
def test_bad_arguments_are_named_with_what_is_valid(plane, arguments, message):
    with pytest.raises(ValueError, match=message):
        plane(**arguments)


def test_mujoco_moves_the_body_as_the_forces_say_and_nothing_else_does(plane):
    env = plane(speed=3.0)
    assert env.model.nv == 3 and env.model.nu == 0
    flags = mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
    assert env.model.opt.disableflags & flags == flags
