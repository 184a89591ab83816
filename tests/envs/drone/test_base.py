"""What all drone tasks share: arguments, sensors, wind, and what a step tells."""

import json

import numpy as np
import pytest

from undrift.envs import ENVIRONMENTS, Always, Wind, make_batch
from undrift.envs.drone.base import DroneEnv
from undrift.envs.drone.physics import INTERFACES
from undrift.envs.drone.vehicle import GRAVITY, VEHICLES

TASKS = [env_id for env_id, kind in ENVIRONMENTS.items() if issubclass(kind, DroneEnv)]
ACCELEROMETER = {"specific_force": {"noise": 0.0}}
STORM = {
    "vehicle": "x500",
    "interface": "attitude",
    "control_hz": 100,
    "clock": {"jitter": 0.2},
    "wind": {"name": "dryden", "speed": 12.0},
    "sensors": {"position": {"noise": 0.02, "bias": 0.1, "rate_hz": 10.0}},
    "battery": True,
    "ground_effect": True,
}


@pytest.mark.parametrize("env_id", TASKS)
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("vehicle", VEHICLES)
def test_every_task_takes_every_vehicle_and_interface(env_id, interface, vehicle):
    env = make_batch(env_id, 2, vehicle=vehicle, interface=interface)
    env.reset([0, 1])
    seen, reward, _, _, info = env.step(np.zeros((2, 4)))
    assert np.isfinite(seen).all() and np.isfinite(reward).all()
    assert env.action_names == INTERFACES[interface]
    assert {f"previous_action_{name}" for name in INTERFACES[interface]} <= set(env.observation_names)
    assert {"position_error", "reference_position", "crashed", "shift", "dt"} <= set(info)
    np.testing.assert_allclose(reward, sum(value for key, value in info.items() if key.startswith("reward/")))


@pytest.mark.parametrize("env_id", TASKS)
def test_recorded_arguments_build_the_same_environment(env_id):
    env = make_batch(env_id, 2, **STORM)
    again = make_batch(env_id, 2, **json.loads(json.dumps(env.kwargs)))
    np.testing.assert_array_equal(env.reset([1, 2]), again.reset([1, 2]))
    for _ in range(20):
        actions = np.full((2, 4), 0.05)
        np.testing.assert_array_equal(env.step(actions)[0], again.step(actions)[0])


@pytest.mark.parametrize("env_id", TASKS)
def test_two_threads_change_nothing(env_id):
    one, two = (make_batch(env_id, 6, threads=threads, **STORM) for threads in (1, 2))
    np.testing.assert_array_equal(one.reset(range(6)), two.reset(range(6)))
    for _ in range(20):
        np.testing.assert_array_equal(one.step(np.zeros((6, 4)))[0], two.step(np.zeros((6, 4)))[0])


def test_an_accelerometer_shows_thrust_and_drag_but_not_gravity():
    env = make_batch("DroneTrack", 1, noise=0.0, sensors=ACCELEROMETER, interface="motors", crash_distance=1e9)
    assert env.observation_names[-3:] == ("specific_force_x", "specific_force_y", "specific_force_z")
    env.reset([0])
    env.place(0, [0, 0, 20.0])
    np.testing.assert_allclose(env.step(np.zeros((1, 4)))[0][0, -3:], [0, 0, GRAVITY], atol=1e-5)
    env.place(0, [0, 0, 20.0])
    env.batch.act[:] = 0.0
    np.testing.assert_allclose(env.step(-np.ones((1, 4)))[0][0, -3:], 0.0, atol=0.05)
    env.place(0, [0, 0, env.vehicle.height / 2])
    for _ in range(100):
        seen = env.step(-np.ones((1, 4)))[0]
    np.testing.assert_allclose(seen[0, -3:], [0, 0, GRAVITY], atol=0.05)


def test_the_wind_of_a_field_and_of_a_shift_add_up():
    shift = Wind(speed=3.0, heading=0.0, spread=0.0, schedule=Always())
    env = make_batch("DroneTrack", 1, wind={"name": "constant", "speed": 4.0, "heading": np.pi / 2}, shifts=(shift,))
    env.reset([0])
    env.step(np.zeros((1, 4)))
    np.testing.assert_allclose(env.record()["wind"], [[3.0, 4.0, 0.0]], atol=1e-12)


def test_a_field_acts_as_the_same_wind_by_a_shift_does():
    wind = {"speed": 5.0, "heading": 1.0}
    field = make_batch("DroneTrack", 1, wind={"name": "constant", **wind})
    shift = make_batch("DroneTrack", 1, shifts=(Wind(**wind, spread=0.0, schedule=Always()),))
    np.testing.assert_array_equal(field.reset([0]), shift.reset([0]))
    for _ in range(30):
        np.testing.assert_allclose(field.step(np.zeros((1, 4)))[0], shift.step(np.zeros((1, 4)))[0], atol=1e-6)


def test_turbulence_is_another_in_each_episode_and_the_same_for_a_seed():
    env = make_batch("DroneTrack", 3, wind="dryden")
    env.reset([4, 4, 5])
    env.step(np.zeros((3, 4)))
    wind = env.record()["wind"]
    np.testing.assert_array_equal(wind[0], wind[1])
    assert np.linalg.norm(wind[0]) > 0 and not np.allclose(wind[0], wind[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interface": "throttle"}, "motors, rates, attitude, velocity"),
        ({"wind": "zephyr"}, "unknown wind field 'zephyr'; the fields are: constant"),
        ({"sensors": {"sonar": {}}}, "there is no sensor 'sonar'"),
        ({"noise": -1.0}, "at least 0"),
    ],
)
def test_bad_arguments_are_named_with_what_is_valid(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_batch("DroneTrack", **arguments)
