"""The car's physics against closed forms."""

import numpy as np
import pytest

from undrift.envs import Always, Bank, Friction, Slope, Wind
from undrift.envs.driving.physics import action_ranges
from undrift.envs.driving.vehicle import CARS, load_car
from undrift.envs.vehicle import GRAVITY

from .conftest import fixed

MODERATE = {"f1tenth": 3.0, "sedan": 15.0}
FAST = {"f1tenth": 6.0, "sedan": 28.0}


def go(env, steering, drive, seconds):
    """Drive on; returns what each control step shows: [T, 5] forward and lateral velocity, yaw rate, x, y."""
    rows = []
    for _ in range(round(seconds / env.dt)):
        env.step(np.array([[steering / env.vehicle.steering_range, drive]]))
        rows.append([*env.body_velocity[0], env.qvel[0, 2], *env.qpos[0, :2]])
    return np.array(rows)


def free(name, **changes):
    """A car that nothing slows: no rolling resistance, no air."""
    return load_car(name).to_dict() | {"rolling_resistance": 0.0, "drag": [0.0, 0.0]} | changes


def everywhere(friction):
    return (Friction(factor=friction, spread=0.0, schedule=Always()),)


def bank(angle):
    return Bank(angle=angle, either_side=False, spread=0.0, schedule=Always())


def slope(angle, direction=0.0):
    return Slope(angle=angle, direction=direction, spread=0.0, schedule=Always())


def effective_mass(car):
    """What the wheels' turning adds to the mass, kg."""
    return car.mass + 4 * car.wheel_inertia / car.wheel_radius**2


@pytest.mark.parametrize("name", CARS)
@pytest.mark.parametrize("steering", [0.1, -0.15])
def test_at_low_speed_it_yaws_as_its_geometry_says(plane, name, steering):
    env = plane(vehicle=free(name), speed=0.2 * MODERATE[name])
    forward, _, yaw_rate, *_ = go(env, steering, 0.0, 1.5)[-1]
    assert yaw_rate == pytest.approx(forward * np.tan(steering) / env.vehicle.wheelbase, rel=0.01)


@pytest.mark.parametrize("name", CARS)
@pytest.mark.parametrize("front", [1.0, 0.7])
def test_it_understeers_by_the_gradient_of_its_cornering_stiffnesses(plane, name, front):
    """steering = wheelbase / radius + K (lateral acceleration); a front tyre softer by 0.7 for a larger K."""
    car = free(name, stiffness_front=front * load_car(name).stiffness_front)
    env = plane(vehicle=car, speed=MODERATE[name])
    gradient, speed = env.vehicle.understeer_gradient, MODERATE[name]
    curvature = 0.6 / speed**2
    wanted = env.vehicle.wheelbase * curvature + gradient * speed**2 * curvature
    forward, left, yaw_rate, *_ = go(env, wanted, 0.0, 3.0)[-1]
    speed = np.hypot(forward, left)
    found = (env.steering[0] - env.vehicle.wheelbase * yaw_rate / speed) / (speed * yaw_rate)
    assert found == pytest.approx(gradient, rel=0.02)


@pytest.mark.parametrize("name", CARS)
@pytest.mark.parametrize("friction", [1.0, 0.7, 0.5, 0.35])
def test_the_lateral_acceleration_reaches_the_friction_limit_and_stays_within(plane, name, friction):
    """v² / R <= μ g: steering wound on until the front tyres slide; both axles at one stiffness, so that they share."""
    car = load_car(name)
    stiffness = car.stiffness_rear
    env = plane(
        vehicle=free(name, stiffness_front=0.9 * stiffness, steering_range=0.3, max_steering=0.3),
        speed=0.8 * FAST[name],
        shifts=everywhere(friction),
    )
    limit, reached = friction * car.friction_front * GRAVITY, 0.0
    for wound in np.linspace(0.0, 1.0, 80):
        before = env.qvel[0, :2].copy()
        env.step(np.array([[wound, 0.0]]))
        acceleration = np.linalg.norm(env.qvel[0, :2] - before) / env.dt
        assert acceleration <= limit * (1 + 1e-9)
        reached = max(reached, acceleration)
    assert reached > 0.93 * limit


@pytest.mark.parametrize("name", CARS)
@pytest.mark.parametrize("friction", [1.0, 0.5])
def test_braking_shared_as_the_loads_takes_the_distance_of_the_friction_limit(plane, name, friction):
    """v² / (2 μ g), at 97 % of the limit; the brakes also stop the turning wheels."""
    car, share = load_car(name), 0.97
    force = share * friction * car.friction_front * car.weight
    brakes = {"mass_height": 0.0, "brake_front": car.rear_axle / car.wheelbase, "max_brake_force": force}
    env = plane(vehicle=free(name, **brakes), speed=FAST[name], shifts=everywhere(friction))
    way = go(env, 0.0, -1.0, 1.3 * FAST[name] / (friction * GRAVITY))[-1, 3] - 100.0
    distance = FAST[name] ** 2 / (2 * force / effective_mass(env.vehicle))
    assert way == pytest.approx(distance, rel=0.05)
    assert way > FAST[name] ** 2 / (2 * friction * car.friction_front * GRAVITY)


@pytest.mark.parametrize("name", CARS)
def test_locked_wheels_slide_further_and_come_to_rest_within_the_tyres_give(plane, name):
    car = load_car(name)
    env = plane(vehicle=free(name, max_brake_force=5 * car.weight), speed=FAST[name])
    rows = go(env, 0.0, -1.0, 1.5 * FAST[name] / GRAVITY + 2.0)
    shortest = FAST[name] ** 2 / (2 * car.friction_front * GRAVITY)
    assert 1.05 * shortest < rows[-1, 3] - 100.0 < 1.35 * shortest
    np.testing.assert_array_equal(env.wheel_speed[0], 0.0)
    assert rows[:, 3].max() - rows[-1, 3] < car.relaxation_length * np.tan(0.5 * np.pi / car.tyre_shape) / 8.0
    np.testing.assert_allclose(env.qvel[0], 0.0, atol=1e-9)


@pytest.mark.parametrize("name", CARS)
def test_braking_loads_the_front_wheels_and_cornering_the_outer_ones(plane, name):
    env = plane(vehicle=free(name), speed=FAST[name])
    car, weight = env.vehicle, env.vehicle.weight
    rows = go(env, 0.0, -0.4, 0.6)
    braking = (rows[-2, 0] - rows[-1, 0]) / env.dt
    load = env.wheel_load[0]
    front = (weight * car.rear_axle + car.mass * braking * car.mass_height) / car.wheelbase
    np.testing.assert_allclose(load, 0.5 * np.repeat([front, weight - front], 2), rtol=1e-3)

    env = plane(vehicle=free(name), speed=MODERATE[name])
    forward, left, yaw_rate, *_ = go(env, 0.4 * car.wheelbase * GRAVITY / MODERATE[name] ** 2, 0.0, 1.5)[-1]
    load, across = env.wheel_load[0], np.hypot(forward, left) * yaw_rate
    assert load.sum() == pytest.approx(weight)
    assert load[1] + load[3] - load[0] - load[2] == pytest.approx(
        2 * car.mass * across * car.mass_height / car.track, rel=0.02
    )


@pytest.mark.parametrize("name", CARS)
def test_coasting_straight_keeps_the_energy_and_steering_only_loses_it(plane, name):
    env = plane(vehicle=free(name), speed=FAST[name])
    first = energy(env)
    go(env, 0.0, 0.0, 2.0)
    assert energy(env) == pytest.approx(first, rel=1e-12)
    rng, lowest = np.random.default_rng(0), first
    for _ in range(20):
        steering = rng.uniform(-1, 1) * env.vehicle.steering_range
        for _ in range(15):
            go(env, steering, 0.0, env.dt)
            assert energy(env) <= lowest + 1e-4 * first
            lowest = min(lowest, energy(env))
    assert lowest < 0.7 * first


@pytest.mark.parametrize("name", CARS)
def test_the_drive_gives_no_more_energy_than_its_power(plane, name):
    env = plane(vehicle=free(name))
    for second in range(1, 6):
        go(env, 0.0, 1.0, 1.0)
        assert energy(env) <= second * env.vehicle.max_power
    assert energy(env) > 1.0 * env.vehicle.max_power
    assert env.body_velocity[0, 0] <= env.vehicle.max_speed


def energy(env):
    """Of motion and of the wheels' turning, J."""
    car, (x, y, yaw_rate) = env.vehicle, env.qvel[0]
    turning = car.yaw_inertia * yaw_rate**2 + car.wheel_inertia * (env.wheel_speed[0] ** 2).sum()
    return 0.5 * (car.mass * (x**2 + y**2) + turning)


@pytest.mark.parametrize("name", CARS)
def test_a_gentle_drive_accelerates_by_its_force_over_mass_and_wheels(plane, name):
    env = plane(vehicle=free(name), speed=0.2 * MODERATE[name])
    rows = go(env, 0.0, 0.3, 1.0)
    acceleration = (rows[-1, 0] - rows[24, 0]) / 0.5
    assert acceleration == pytest.approx(0.3 * env.vehicle.max_drive_force / effective_mass(env.vehicle), rel=0.01)


@pytest.mark.parametrize("name", CARS)
def test_coasting_slows_by_rolling_resistance_and_drag(plane, name):
    car, speed = load_car(name), FAST[name]
    env = plane(vehicle=name, speed=speed)
    rows = go(env, 0.0, 0.0, 1.0)
    slowed = (rows[24, 0] - rows[-1, 0]) / 0.5
    expected = (car.rolling_resistance * car.weight + car.drag[0] * rows[36, 0] ** 2) / effective_mass(car)
    assert slowed == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", CARS)
def test_downhill_it_rolls_off_as_gravity_and_the_wheels_say(plane, name):
    angle = 0.05
    env = plane(vehicle=free(name), shifts=(slope(angle, np.pi),))
    speed = go(env, 0.0, 0.0, 1.0)[-1, 0]
    expected = env.vehicle.weight * np.sin(angle) / effective_mass(env.vehicle)
    assert speed == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", CARS)
@pytest.mark.parametrize("tilt", [(bank(0.15),), (slope(0.15),), (bank(-0.3), slope(0.1))])
def test_parked_on_a_tilted_road_it_settles_on_its_tyres_and_stays(plane, name, tilt):
    env = plane(vehicle=name, shifts=tilt)
    rows = go(env, 0.0, -1.0, 2.0)
    give = env.vehicle.relaxation_length * max(np.sin(abs(shift.angle)) for shift in tilt) / 8.0
    assert np.hypot(rows[-1, 3] - 100.0, rows[-1, 4]) < give
    assert np.abs(rows[-50:, :3]).max() < 1e-4
    later = go(env, 0.0, -1.0, 4.0)
    np.testing.assert_allclose(later[-1, 3:], rows[-1, 3:], rtol=0, atol=1e-5 * env.vehicle.wheelbase)
    np.testing.assert_allclose(env.qvel[0], 0.0, atol=1e-9)


@pytest.mark.parametrize("name", CARS)
def test_on_a_bank_it_goes_straight_where_its_axles_share_the_slip(plane, name):
    """Rolling across the bank both axles bear g sin(bank): at equal B C μ, at one slip angle, without yaw."""
    stiffness = load_car(name).stiffness_rear
    env = plane(vehicle=free(name, stiffness_front=stiffness), speed=MODERATE[name], shifts=(bank(0.05),))
    forward, left, yaw_rate, *_ = go(env, 0.0, 0.0, 1.0)[-1]
    needed = np.tan(0.05) / (env.vehicle.friction_front * stiffness * env.vehicle.tyre_shape)
    assert left / forward == pytest.approx(-needed, rel=0.02)
    assert abs(yaw_rate) < 1e-3


@pytest.mark.parametrize("name", CARS)
def test_on_ice_a_side_wind_pushes_and_turns_as_its_drag_says(plane, name):
    air = 12.0
    wind = Wind(speed=air, heading=np.pi / 2, spread=0.0, schedule=Always())
    car = load_car(name).to_dict() | {"drag_centre": 0.3 * load_car(name).wheelbase}
    env = plane(vehicle=car, shifts=(*everywhere(0.0), wind))
    go(env, 0.0, 0.0, 0.1)
    force = env.vehicle.drag[1] * (air - 0.5 * env.qvel[0, 1]) ** 2
    grip = 0.001 * env.vehicle.friction_front * GRAVITY
    assert env.qvel[0, 1] / 0.1 == pytest.approx(force / env.vehicle.mass, abs=1.1 * grip)
    expected = env.vehicle.drag_centre * force / env.vehicle.yaw_inertia
    assert env.qvel[0, 2] / 0.1 == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", CARS)
def test_a_side_wind_bends_the_way_and_the_tyres_hold_against_it(plane, name):
    """At an airspeed w across the way: (slip angle) B C μ weight = drag[1] |w| w where both axles share."""
    air, speed, stiffness = 10.0, MODERATE[name], load_car(name).stiffness_rear
    drag = [0.0, load_car(name).drag[1]]
    wind = Wind(speed=air, heading=np.pi / 2, spread=0.0, schedule=Always())
    same = {"stiffness_front": stiffness, "drag_centre": 0.0, "drag": drag}
    env = plane(vehicle=free(name, **same), speed=speed, shifts=(wind,))
    # The wind acts on the axles as their distances from the centre of mass say, like the weight.
    forward, left, *_ = go(env, 0.0, 0.0, 1.0)[-1]
    force = drag[1] * np.hypot(forward, air) * air
    cornering = env.vehicle.friction_front * stiffness * env.vehicle.tyre_shape * env.vehicle.weight
    assert left / forward == pytest.approx(force / cornering, rel=0.03)


@pytest.mark.parametrize("name", CARS)
def test_the_servo_follows_with_its_lag_and_at_its_rate_and_no_further_than_its_stop(plane, name):
    car = load_car(name)
    small = 0.05 * car.steering_lag * car.steering_rate
    env = plane(vehicle=name)
    go(env, small, 0.0, 2 * env.dt)
    assert env.steering[0] == pytest.approx(small * (1 - np.exp(-2 * env.dt / car.steering_lag)), rel=1e-9)
    env = plane(vehicle=name)
    go(env, car.steering_range, 0.0, 2 * env.dt)
    assert env.steering[0] == pytest.approx(2 * env.dt * car.steering_rate, rel=1e-9)
    env = plane(vehicle=name, shifts=fixed(actuator_gain=[10.0, 1.0]))
    go(env, car.steering_range, 0.0, 2.0)
    assert env.steering[0] == pytest.approx(car.max_steering, rel=1e-3)


@pytest.mark.parametrize("name", CARS)
def test_the_ranges_told_are_what_the_actions_ask_for(plane, name):
    told = action_ranges(load_car(name))
    for end, action in enumerate((-1.0, 0.0, 1.0)):
        env = plane(vehicle=name)
        go(env, action * env.vehicle.steering_range, 0.0, 2.0)
        assert env.steering[0] == pytest.approx(told["steering"][end], abs=1e-3)
    assert told["drive"] == (-env.vehicle.max_brake_force, 0.0, env.vehicle.max_drive_force, "N")


@pytest.mark.parametrize("hz", [100, 200])
def test_finer_control_steps_drive_the_same_way(plane, hz):
    def way(control_hz):
        env = plane(speed=4.0, control_hz=control_hz)
        return np.vstack([go(env, 0.1, 0.3, 0.5), go(env, -0.15, -0.2, 1.0)])[-1, 3:]

    np.testing.assert_allclose(way(hz), way(50), atol=0.03)
