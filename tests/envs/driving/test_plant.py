"""What may change of a car: each parameter acts as it says, measured on how the car moves."""

import numpy as np
import pytest

from undrift.envs import (
    Abrupt,
    ActuatorBias,
    ActuatorLag,
    Always,
    DeadZone,
    Friction,
    MotorLoss,
    Payload,
    Saturation,
    Stuck,
    Wind,
)
from undrift.envs.driving.plant import PARAMETERS
from undrift.envs.vehicle import GRAVITY

from .conftest import fixed

RANGE = 0.42
"""rad, the steering range of the f1tenth."""


def go(env, steering, drive, seconds):
    for _ in range(round(seconds / env.dt)):
        env.step(np.tile([steering, drive], (env.num_envs, 1)))
    return env


def always(kind, **fields):
    return (kind(**fields, schedule=Always()),)


def effective_mass(env):
    return env.vehicle.mass + 4 * env.vehicle.wheel_inertia / env.vehicle.wheel_radius**2


def payload(fraction, forward=0.0):
    return Payload(fraction=fraction, forward=forward, spread=0.0, schedule=Always())


def test_a_bias_of_the_steering_turns_the_wheels_at_a_command_of_zero(plane):
    env = plane(speed=2.0, shifts=always(ActuatorBias, bias=0.125, actuator="steering"))
    assert go(env, 0.0, 0.0, 0.5).steering[0] == pytest.approx(0.125 * RANGE, rel=1e-3)


def test_a_weak_steering_and_a_slow_servo_turn_the_wheels_less(plane):
    weak = plane(shifts=always(MotorLoss, fraction=0.5, motor="steering"))
    assert go(weak, 0.4, 0.0, 1.0).steering[0] == pytest.approx(0.2 * RANGE, rel=1e-3)
    slow = plane(shifts=always(ActuatorLag, lag=0.12, actuator="steering"))
    assert go(slow, 0.1, 0.0, 0.04).steering[0] == pytest.approx(0.1 * RANGE * (1 - np.exp(-0.04 / 0.16)), rel=1e-6)


def test_a_limited_steering_turns_no_further_and_a_dead_zone_swallows_small_commands(plane):
    limited = plane(shifts=always(Saturation, limit=0.3, actuator="steering"))
    assert go(limited, -0.8, 0.0, 1.0).steering[0] == pytest.approx(-0.3 * RANGE, rel=1e-3)
    dead = plane(shifts=always(DeadZone, threshold=0.2, actuator="steering"))
    assert go(dead, 0.19, 0.0, 0.5).steering[0] == 0.0
    assert go(dead, 0.21, 0.0, 1.0).steering[0] == pytest.approx(0.21 * RANGE, rel=1e-3)


def test_a_stuck_actuator_holds_what_it_has_when_it_sets_in(plane):
    env = plane(speed=2.0, shifts=(Stuck(actuator="steering", schedule=Abrupt(0.1)),))
    go(env, 0.5, 0.0, 0.1)
    held = env.steering[0]
    assert 0.1 < held < 0.5 * RANGE
    assert go(env, -0.5, 0.0, 0.3).steering[0] == held

    stuck = plane(speed=1.0, shifts=(Stuck(actuator="drive", schedule=Abrupt(0.1)),))
    free = plane(speed=1.0)
    for env in (stuck, free):
        go(env, 0.0, 0.4, 0.1)
    go(stuck, 0.0, -1.0, 0.3), go(free, 0.0, 0.4, 0.3)
    np.testing.assert_array_equal(stuck.qvel, free.qvel)
    stuck.reset([1])
    assert stuck.pedal[0] == 0.0


def test_the_drive_lags_by_its_time_constant(plane):
    env = plane(speed=1.0, shifts=always(ActuatorLag, lag=0.1, actuator="drive"))
    for step in range(1, 11):
        env.step(np.array([[0.0, 0.5]]))
        assert env.pedal[0] == pytest.approx(0.5 * (1 - np.exp(-step * env.dt / 0.1)), rel=1e-12)
    assert go(plane(), 0.0, 0.5, 0.02).pedal[0] == 0.5


@pytest.mark.parametrize(
    ("shift", "asked", "given"),
    [
        (ActuatorBias(bias=-0.2, actuator="drive", schedule=Always()), 0.3, 0.1),
        (Saturation(limit=0.2, actuator="drive", schedule=Always()), 0.7, 0.2),
        (Saturation(limit=0.2, actuator="drive", schedule=Always()), -0.7, -0.2),
        (DeadZone(threshold=0.2, actuator="drive", schedule=Always()), 0.15, 0.0),
        (DeadZone(threshold=0.2, actuator="drive", schedule=Always()), -0.25, -0.25),
    ],
)
def test_a_faulty_drive_drives_as_a_sound_one_does_that_is_asked_for_what_it_gives(plane, shift, asked, given):
    faulty, sound = plane(speed=2.0, shifts=(shift,)), plane(speed=2.0)
    go(faulty, 0.1, asked, 0.4), go(sound, 0.1, given, 0.4)
    np.testing.assert_allclose(faulty.qvel, sound.qvel, rtol=1e-9)


def test_motor_loss_weakens_the_drive_and_not_the_brakes(plane):
    shift = MotorLoss(fraction=1.0, schedule=Always())
    assert go(plane(speed=2.0, shifts=(shift,)), 0.0, 1.0, 0.3).body_velocity[0, 0] < 2.0
    env = go(plane(speed=2.0, shifts=(shift,)), 0.0, -1.0, 0.5)
    np.testing.assert_array_equal(env.wheel_speed, 0.0)
    assert env.record()["motor_effectiveness"].tolist() == [[0.0]]
    with pytest.raises(ValueError, match="one of steering, drive, or an index from 0 to 1"):
        plane(shifts=(MotorLoss(motor=2, schedule=Always()),))


def test_half_the_drive_accelerates_half_as_much(plane):
    full, half = plane(speed=2.0), plane(speed=2.0, shifts=always(MotorLoss, fraction=0.5))
    changes = [go(env, 0.0, 0.3, 0.4).body_velocity[0, 0] - 2.0 for env in (full, half)]
    assert changes[1] / changes[0] == pytest.approx(0.5, abs=0.06)


def test_a_payload_makes_the_car_slower_to_speed_up(plane):
    env = plane(speed=1.0, shifts=(payload(0.5),))
    before = go(env, 0.0, 0.2, 0.4).body_velocity[0, 0]
    gained = go(env, 0.0, 0.2, 0.4).body_velocity[0, 0] - before
    loaded, car = effective_mass(env) + 1.75, env.vehicle
    force = 0.2 * car.max_drive_force - car.rolling_resistance * (car.weight + 1.75 * GRAVITY)
    assert gained / 0.4 == pytest.approx(force / loaded, rel=0.02)
    assert env.record()["payload"][0] == pytest.approx(1.75)
    assert env.wheel_load[0].sum() == pytest.approx(car.weight + 1.75 * GRAVITY)


def test_a_payload_over_the_rear_axle_loads_the_rear_wheels(plane):
    env = go(plane(shifts=(payload(1.0 / 3.5, -0.17),)), 0.0, 0.0, 0.5)
    bare = go(plane(), 0.0, 0.0, 0.5)
    np.testing.assert_allclose(env.wheel_load - bare.wheel_load, [[0, 0, GRAVITY / 2, GRAVITY / 2]], atol=1e-9)


def test_on_ice_gravity_pulls_at_the_loaded_centre_of_mass_and_so_does_not_turn_the_car(plane):
    ice = always(Friction, factor=0.0)
    rise = 0.3 * np.array([np.cos(1.0), np.sin(1.0)])
    env = plane(shifts=(*ice, payload(2.0 / 3.5, 0.15), *fixed(slope=rise, rolling_resistance=0.0)))
    go(env, 0.0, 0.0, 0.5)
    assert abs(env.qpos[0, 2]) < 1e-3
    np.testing.assert_allclose(env.qvel[0, :2], -GRAVITY * rise * 0.5, atol=0.01)


def test_a_load_adds_its_own_yaw_inertia_and_that_of_two_masses_apart(plane):
    env = plane(shifts=(payload(2.0 / 3.5, 0.15),))
    car = env.vehicle
    expected = car.yaw_inertia * (1 + 0.5 * 2.0 / 3.5) + car.mass * 2.0 / (car.mass + 2.0) * 0.15**2
    moment = 3.0
    env.plant["torque"][0, env.plant.body, 2] = moment
    env.plant["friction"][:] = 0.0
    env.plant.commit(np.array([0]), ["friction"])
    env.step(np.zeros((1, 2)))
    assert env.qvel[0, 2] / env.dt == pytest.approx(moment / expected, rel=0.02)


def test_gravity_makes_the_wheels_bear_less_and_grip_less(plane):
    moon = go(plane(speed=3.0, shifts=fixed(gravity=[0.0, 0.0, -1.62])), 0.0, -1.0, 0.2)
    assert moon.wheel_load[0].sum() == pytest.approx(moon.vehicle.mass * 1.62)
    slowed = (3.0 - moon.body_velocity[0, 0]) / 0.2
    assert 0.7 * 1.62 < slowed < 1.01 * 1.62


def test_drag_slows_by_its_factor(plane):
    thick, thin = plane(speed=6.0, shifts=fixed(drag=20.0)), plane(speed=6.0, shifts=fixed(drag=0.0))
    rates = [(6.0 - go(env, 0.0, 0.0, 0.1).body_velocity[0, 0]) / 0.1 for env in (thick, thin)]
    expected = 20.0 * thick.vehicle.drag[0] * 5.9**2 / effective_mass(thick)
    assert rates[0] - rates[1] == pytest.approx(expected, rel=0.05)


def test_brakes_pull_to_the_side_that_grips(plane):
    right = [always(Friction, factor=0.3, where=f"{end}_right")[0] for end in ("front", "rear")]
    env = go(plane(speed=4.0, shifts=right), 0.0, -0.6, 0.3)
    assert env.qpos[0, 2] > 0.02


def test_a_slippery_rear_axle_spins_the_car_that_a_slippery_front_lets_straight_on(plane):
    rates = []
    for axle in ("front", "rear"):
        env = go(plane(speed=4.0, shifts=always(Friction, factor=0.3, where=axle)), 0.3, 0.0, 0.6)
        rates.append(env.qvel[0, 2])
    neutral = go(plane(speed=4.0), 0.3, 0.0, 0.6).qvel[0, 2]
    assert rates[0] < 0.7 * neutral < 1.3 * neutral < rates[1]


def test_shifts_add_up_and_are_gone_with_the_episode(plane):
    lasting = Wind(speed=2.0, heading=0.0, spread=0.0, schedule=Always())
    late = Wind(speed=5.0, heading=0.0, spread=0.0, schedule=Abrupt(0.1))
    env = plane(shifts=(lasting, late))
    assert env.plant["wind"][0, 0] == 2.0
    go(env, 0.0, 0.0, 0.2)
    assert env.plant["wind"][0, 0] == env.plant.values["air"][0, 0] == 7.0
    env.reset([1])
    assert env.plant["wind"][0, 0] == env.plant.values["air"][0, 0] == 2.0


def test_a_push_accelerates_the_car_to_the_left_of_its_road(plane):
    pushed, free = plane(speed=2.0), plane(speed=2.0)
    pushed.plant.push(np.array([[1.5]]))
    for env in (pushed, free):
        env.step(np.zeros((1, 2)))
    # the tyres hold against it as soon as they slip
    gained = (pushed.body_velocity - free.body_velocity)[0, 1]
    assert 0.5 * 1.5 * env.dt < gained <= 1.5 * env.dt
    assert pushed.plant.strongest_push == pytest.approx(GRAVITY * np.sin(PARAMETERS["bank"].most))
