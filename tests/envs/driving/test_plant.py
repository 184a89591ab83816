"""What may change of a car: each parameter acts as it says, and existing shifts act on the car."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, MotorLoss, Payload, Wind
from undrift.envs.driving.plant import PARAMETERS
from undrift.envs.vehicle import GRAVITY


def fixed(**parameters):
    return {"randomise": {name: (value, value) for name, value in parameters.items()}}


def go(env, steering, drive, seconds):
    for _ in range(round(seconds / env.dt)):
        env.step(np.tile([steering, drive], (env.num_envs, 1)))
    return env


def effective_mass(env):
    return env.vehicle.mass + 4 * env.vehicle.wheel_inertia / env.vehicle.wheel_radius**2


def test_the_steering_trim_turns_the_wheels_at_a_command_of_zero(plane):
    assert go(plane(speed=2.0, **fixed(steering_trim=0.05)), 0.0, 0.0, 0.5).steering[0] == pytest.approx(0.05, rel=1e-3)


def test_a_weak_steering_gain_and_a_slow_servo_turn_the_wheels_less(plane):
    weak = go(plane(**fixed(steering_gain=0.5)), 0.4, 0.0, 1.0).steering[0]
    assert weak == pytest.approx(0.2 * 0.42, rel=1e-3)
    slow = go(plane(**fixed(servo_lag=4.0)), 0.1, 0.0, 0.04).steering[0]
    assert slow == pytest.approx(0.042 * (1 - np.exp(-0.04 / 0.16)), rel=1e-6)


@pytest.mark.parametrize(("drive", "name"), [(0.3, "drive_gain"), (-0.3, "brake_gain")])
def test_the_gains_scale_drive_and_brakes(plane, drive, name):
    full, half = plane(speed=2.0), plane(speed=2.0, **fixed(**{name: 0.5}))
    changes = [go(env, 0.0, drive, 0.4).body_velocity[0, 0] - 2.0 for env in (full, half)]
    assert changes[1] / changes[0] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("shift", [None, Payload(fraction=0.5, spread=0.0, schedule=Always())])
def test_a_payload_makes_the_car_slower_to_speed_up(plane, shift):
    env = plane(speed=1.0, **(fixed(payload=1.75) if shift is None else {"shifts": (shift,)}))
    before = go(env, 0.0, 0.2, 0.4).body_velocity[0, 0]
    gained = go(env, 0.0, 0.2, 0.4).body_velocity[0, 0] - before
    loaded, car = effective_mass(env) + 1.75, env.vehicle
    force = 0.2 * car.max_drive_force - car.rolling_resistance * (car.weight + 1.75 * GRAVITY)
    assert gained / 0.4 == pytest.approx(force / loaded, rel=0.02)
    assert env.record()["payload"][0] == pytest.approx(1.75)
    assert env.wheel_load[0].sum() == pytest.approx(car.weight + 1.75 * GRAVITY)


def test_a_payload_over_the_rear_axle_loads_the_rear_wheels(plane):
    env = go(plane(**fixed(payload=1.0, payload_place=-0.17)), 0.0, 0.0, 0.5)
    bare = go(plane(), 0.0, 0.0, 0.5)
    np.testing.assert_allclose(env.wheel_load - bare.wheel_load, [[0, 0, GRAVITY / 2, GRAVITY / 2]], atol=1e-9)


def test_on_ice_gravity_pulls_at_the_loaded_centre_of_mass_and_so_does_not_turn_the_car(plane):
    ice = {"friction_front": 0.0, "friction_rear": 0.0, "rolling_resistance": 0.0}
    env = plane(**fixed(payload=2.0, payload_place=0.15, slope=0.3, slope_direction=1.0, **ice))
    go(env, 0.0, 0.0, 0.5)
    assert abs(env.qpos[0, 2]) < 1e-3
    fallen = -GRAVITY * np.sin(0.3) * 0.5 * np.array([np.cos(1.0), np.sin(1.0)])
    np.testing.assert_allclose(env.qvel[0, :2], fallen, atol=0.01)


def test_the_load_off_the_centre_adds_to_the_yaw_inertia_by_the_parallel_axis_theorem(plane):
    env = plane(**fixed(payload=2.0, payload_place=0.15))
    env.reset([0])
    reduced = env.vehicle.mass * 2.0 / (env.vehicle.mass + 2.0)
    expected = env.vehicle.yaw_inertia + reduced * 0.15**2
    assert env.batch.expand("body_inertia")[0, env.model.body("car").id, 2] == pytest.approx(expected)


def test_brakes_pull_to_the_side_that_grips(plane):
    env = plane(speed=4.0)
    env.plant.wheel_friction[0] = [1.0, 0.3, 1.0, 0.3]
    go(env, 0.0, -0.6, 0.3)
    assert env.qpos[0, 2] > 0.02


def test_a_slippery_rear_axle_spins_the_car_that_a_slippery_front_lets_straight_on(plane):
    rates = []
    for axle in ("friction_front", "friction_rear"):
        env = go(plane(speed=4.0, **fixed(**{axle: 0.3})), 0.3, 0.0, 0.6)
        rates.append(env.qvel[0, 2])
    neutral = go(plane(speed=4.0), 0.3, 0.0, 0.6).qvel[0, 2]
    assert rates[0] < 0.7 * neutral < 1.3 * neutral < rates[1]


def test_a_flat_tyre_drags_the_car_to_its_side(plane):
    env = plane(speed=4.0)
    env.plant.rolling_resistance[0, 0] = 20.0
    go(env, 0.0, 0.0, 0.5)
    assert env.qpos[0, 2] > 0.005 and env.body_velocity[0, 0] < 3.7


def test_motor_loss_weakens_the_drive_and_not_the_brakes(plane):
    shift = MotorLoss(fraction=1.0, schedule=Always())
    assert go(plane(speed=2.0, shifts=(shift,)), 0.0, 1.0, 0.3).body_velocity[0, 0] < 2.0
    env = go(plane(speed=2.0, shifts=(shift,)), 0.0, -1.0, 0.5)
    np.testing.assert_array_equal(env.wheel_speed, 0.0)
    assert env.record()["motor_effectiveness"].tolist() == [[0.0]]
    with pytest.raises(ValueError, match="motors are 0 to 0"):
        plane(shifts=(MotorLoss(motor=2, schedule=Always()),))


def test_a_shift_adds_to_what_the_episode_drew_and_is_gone_with_it(plane):
    env = plane(
        shifts=(Wind(speed=5.0, heading=0.0, spread=0.0, schedule=Abrupt(0.1)),), randomise={"wind": (2.0, 2.0)}
    )
    assert env.plant.wind[0, 0] == 2.0
    go(env, 0.0, 0.0, 0.2)
    assert env.plant.wind[0, 0] == 7.0
    env.reset([1])
    assert env.plant.wind[0, 0] == 2.0


def test_every_parameter_can_be_randomised_and_each_wheel_draws_its_own(plane):
    ranges = {name: (0.1, 0.2) for name in PARAMETERS}
    env = plane(50, randomise=ranges)
    for name, parameter in PARAMETERS.items():
        drawn = getattr(env.plant, name)
        assert drawn.shape == ((50, parameter.count) if parameter.count else (50,))
        assert (drawn >= 0.1).all() and (drawn <= 0.2).all() and drawn.std() > 0.02
    assert len(np.unique(env.plant.wheel_friction)) == 200
    np.testing.assert_array_equal(plane(50, randomise=ranges).plant.wheel_friction, env.plant.wheel_friction)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"grip": (0.1, 1.0)}, "no 'grip'; a car's parameters are: friction_front"),
        ({"payload": (1.0, 0.5)}, r"randomise\['payload'\].*\(low, high\), kg in \[0, inf\]"),
        ({"bank": (0.0, 1.0)}, r"rad in \[-0.5, 0.5\]"),
        ({"payload": 1.0}, r"\(low, high\)"),
        ({"steering_trim": (0.0, float("nan"))}, r"\(low, high\)"),
    ],
)
def test_a_bad_range_is_named_with_what_is_valid(plane, ranges, message):
    with pytest.raises(ValueError, match=message):
        plane(randomise=ranges)


def test_a_push_accelerates_the_car_to_the_left_of_its_road(plane):
    pushed, free = plane(speed=2.0), plane(speed=2.0)
    pushed.plant.push(np.array([[1.5]]))
    for env in (pushed, free):
        env.step(np.zeros((1, 2)))
    # the tyres hold against it as soon as they slip
    gained = (pushed.body_velocity - free.body_velocity)[0, 1]
    assert 0.5 * 1.5 * env.dt < gained <= 1.5 * env.dt
    assert pushed.plant.strongest_push == pytest.approx(GRAVITY * np.sin(PARAMETERS["bank"].most))
