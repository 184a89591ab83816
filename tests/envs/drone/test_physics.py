"""The drones' physics against closed forms."""

import numpy as np
import pytest

from undrift.envs import Always, Wind, make_batch
from undrift.envs.drone.physics import INTERFACES, action_ranges
from undrift.envs.drone.vehicle import GRAVITY, VEHICLES, load_vehicle

HIGH = 50.0


def flight(vehicle="racer", interface="motors", **kwargs):
    """One drone at rest, 50 m up, level, its rotors at hovering thrust, in still air."""
    env = make_batch("DroneTrack", 1, vehicle=vehicle, interface=interface, noise=0.0, crash_distance=1e9, **kwargs)
    env.reset([0])
    env.place(0, [0.0, 0.0, HIGH])
    return env


def fly(env, action, seconds):
    for _ in range(round(seconds / env.dt)):
        env.step(np.array([action], dtype=float))


def frictionless(name, **changes):
    still = {"linear_drag": 0.0, "quadratic_drag": 0.0, "rotor_drag": [0.0] * 3, "angular_drag": [0.0] * 3}
    return load_vehicle(name).to_dict() | still | changes


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("control_hz", [50, 100, 200])
def test_action_zero_hovers(vehicle, interface, control_hz):
    env = flight(vehicle, interface, control_hz=control_hz)
    fly(env, [0, 0, 0, 0], 1.0)
    np.testing.assert_allclose(env.qpos[0], [0, 0, HIGH, 1, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(4 * env.batch.act[0], env.vehicle.mass * GRAVITY, rtol=1e-12)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_without_thrust_it_falls_freely(vehicle):
    env = flight(frictionless(vehicle))
    env.batch.act[:] = 0.0
    fly(env, [-1, -1, -1, -1], 0.5)
    assert env.qvel[0, 2] == pytest.approx(-GRAVITY * 0.5, rel=1e-9)
    assert env.qpos[0, 2] == pytest.approx(HIGH - 0.5 * GRAVITY * 0.5**2, abs=GRAVITY * 0.5 * 0.004)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_fall_ends_at_terminal_velocity_in_the_moving_air(vehicle):
    env = flight(vehicle, shifts=(Wind(speed=6.0, heading=0.0, spread=0.0, schedule=Always()),))
    env.place(0, [0.0, 0.0, 5000.0])
    env.batch.act[:] = 0.0
    fly(env, [-1, -1, -1, -1], 40.0)
    v = env.vehicle
    a, b = v.quadratic_drag, v.linear_drag
    terminal = (-b + np.sqrt(b * b + 4 * a * v.mass * GRAVITY)) / (2 * a)
    np.testing.assert_allclose(env.qvel[0, :3], [6.0, 0.0, -terminal], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_level_hover_drifts_with_the_wind_as_its_drag_says(vehicle):
    env = flight(vehicle, shifts=(Wind(speed=5.0, heading=np.pi / 2, spread=0.0, schedule=Always()),))
    fly(env, [0, 0, 0, 0], 0.02)
    v = env.vehicle
    rotor = v.rotor_drag[1] * 4 * np.sqrt(v.hover_thrust / v.thrust_coefficient)
    expected = (v.linear_drag + v.quadratic_drag * 5.0 + rotor) * 5.0 / v.mass
    assert env.qvel[0, 1] / 0.02 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_roll_rate_after_a_motor_step_follows_the_rotors_lag(vehicle):
    """The right pair of rotors steps down: I dp/dt = sum y T(t), T(t) = T0 + dT (1 - exp(-t / tau))."""
    env = flight(frictionless(vehicle))
    action, seconds = np.array([0.0, 0.0, -0.1, -0.1]), 0.1
    fly(env, action, seconds)
    v = env.vehicle
    change = v.hover_thrust * action
    tau, y = v.motor_time_constant, np.array(v.rotor_positions)[:, 1]
    expected = (y * change).sum() / v.inertia[0] * (seconds - tau * (1 - np.exp(-seconds / tau)))
    # Rotor thrust is advanced before it acts, so the sum over steps of 4 ms runs ahead by half a step.
    assert env.qvel[0, 3] == pytest.approx(expected, rel=0.06)
    np.testing.assert_allclose(4 * env.batch.act[0].mean(), v.weight + change.sum() * (1 - np.exp(-seconds / tau)))


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_yaw_turns_against_the_faster_rotors(vehicle):
    env = flight(vehicle)
    fly(env, 0.2 * np.array(env.vehicle.rotor_spin), 0.1)
    assert env.qvel[0, 5] > 0.1
    np.testing.assert_allclose(env.qvel[0, 3:5], 0.0, atol=1e-9)


def test_linear_and_angular_momentum_are_conserved_without_forces():
    env = flight(frictionless("racer", inertia=[0.002, 0.0025, 0.0045]), control_hz=200)
    env.batch.expand("opt.gravity")[:] = 0.0
    env.batch.act[:] = 0.0
    env.qvel[0] = [1.0, -2.0, 0.5, 3.0, 4.0, -2.0]
    before = momentum(env)
    fly(env, [-1, -1, -1, -1], 0.5)
    after = momentum(env)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    np.testing.assert_allclose(after[1], before[1], rtol=0, atol=0.01 * np.linalg.norm(before[1]))


def momentum(env):
    v = env.vehicle
    rotation = matrix(env.qpos[0, 3:7])
    return v.mass * env.qvel[0, :3].copy(), rotation @ (np.array(v.inertia) * env.qvel[0, 3:])


def matrix(quaternion):
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_the_energy_that_drag_takes_is_force_times_way():
    env = flight("racer", control_hz=200)
    env.batch.act[:] = 0.0
    env.qvel[0, :3] = [6.0, 0.0, 4.0]
    v, lost, before = env.vehicle, 0.0, energy(env)
    for _ in range(200):
        speed = np.linalg.norm(env.qvel[0, :3])
        power = (v.linear_drag + v.quadratic_drag * speed) * speed**2
        env.step(-np.ones((1, 4)))
        speed = np.linalg.norm(env.qvel[0, :3])
        lost += 0.5 * env.dt * (power + (v.linear_drag + v.quadratic_drag * speed) * speed**2)
    assert before - energy(env) == pytest.approx(lost, rel=0.01)


def energy(env):
    return env.vehicle.mass * (0.5 * (env.qvel[0, :3] ** 2).sum() + GRAVITY * env.qpos[0, 2])


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_the_rates_interface_reaches_the_rates_asked_for(vehicle):
    env = flight(vehicle, "rates")
    fly(env, [0.0, 0.2, -0.1, 0.3], 0.8)
    np.testing.assert_allclose(env.qvel[0, 3:], np.array(env.vehicle.max_rates) * [0.2, -0.1, 0.3], atol=0.1)


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("heading", [0.0, 2.0])
def test_the_attitude_interface_holds_the_tilt_asked_for(vehicle, heading):
    env = flight(vehicle, "attitude")
    env.place(0, [0, 0, HIGH], 0.0, np.array([np.cos(heading / 2), 0, 0, np.sin(heading / 2)]))
    fly(env, [0.1, 0.3, -0.4, 0.0], 1.5)
    roll, pitch = env.vehicle.max_tilt * np.array([0.3, -0.4])
    attitude = matrix(env.qpos[0, 3:7])
    assert np.arcsin(-attitude[2, 0]) == pytest.approx(pitch, abs=0.02)
    assert np.arctan2(attitude[2, 1], attitude[2, 2]) == pytest.approx(roll, abs=0.02)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_the_velocity_interface_flies_at_the_velocity_asked_for(vehicle):
    env = flight({**frictionless(vehicle), "name": vehicle}, "velocity")
    fly(env, [0.4, -0.3, 0.2, 0.1], 5.0)
    np.testing.assert_allclose(env.qvel[0, :3], np.array(env.vehicle.max_velocity) * [0.4, -0.3, 0.2], atol=0.05)
    assert env.qvel[0, 5] == pytest.approx(0.1 * env.vehicle.max_rates[2], abs=0.02)


@pytest.mark.parametrize("interface", ["attitude", "velocity"])
def test_the_loops_right_a_drone_that_lies_on_its_back(interface):
    env = flight("racer", interface)
    env.place(0, [0, 0, HIGH], 0.0, np.array([0.0, 1.0, 0.0, 0.0]))
    fly(env, [0, 0, 0, 0], 3.0)
    assert matrix(env.qpos[0, 3:7])[2, 2] > 0.99


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("end", [0, 1, 2])
def test_the_ranges_told_are_what_the_actions_ask_for(vehicle, end):
    action = end - 1.0
    env = flight(vehicle, "motors")
    fly(env, [action] * 4, 0.5)
    told = [values[end] for values in action_ranges(env.vehicle, "motors").values()]
    np.testing.assert_allclose(env.batch.act[0], told, atol=1e-4 * env.vehicle.max_rotor_thrust)
    for interface in ("rates", "attitude"):
        env = flight(vehicle, interface)
        fly(env, [action, 0, 0, 0], 0.5)
        told = action_ranges(env.vehicle, interface)["thrust"][end]
        assert env.batch.act[0].sum() == pytest.approx(told, abs=1e-4 * env.vehicle.weight)


def test_motors_range_from_off_through_hover_to_full_thrust():
    env = flight("x500")
    fly(env, [-1.0, 0.0, 1.0, 0.5], 1.0)
    hover, full = env.vehicle.hover_thrust, env.vehicle.max_rotor_thrust
    np.testing.assert_allclose(env.batch.act[0], [0.0, hover, full, 0.5 * (hover + full)], atol=1e-9)


@pytest.mark.parametrize("interface", INTERFACES)
def test_rows_of_a_batch_equal_single_runs_to_the_bit_with_everything_on(interface):
    everything = {
        "vehicle": "crazyflie",
        "interface": interface,
        "control_hz": 100,
        "clock": {"jitter": 0.4, "missed": 0.1},
        "wind": {"name": "dryden"},
        "battery": True,
        "ground_effect": True,
        "sensors": {"specific_force": {"noise": 0.1, "bias": 0.1}, "position": {"rate_hz": 20.0}},
        "crash_distance": 1e9,
    }
    batch, single = make_batch("DroneTrack", 3, **everything), make_batch("DroneTrack", 1, **everything)
    rows, row = batch.reset([1, 2, 3]), single.reset([2])
    rng = np.random.default_rng(0)
    for _ in range(150):
        np.testing.assert_array_equal(rows[1], row[0])
        np.testing.assert_array_equal(batch.batch.state[1], single.batch.state[0])
        actions = rng.uniform(-0.6, 0.5, (3, 4))
        rows, row = batch.step(actions)[0], single.step(actions[1:2])[0]


def test_a_battery_that_hovers_empties_in_its_hovering_time():
    env = flight("crazyflie", battery=True)
    first = env.charge[0] = 0.8
    fly(env, [0, 0, 0, 0], 4.0)
    assert first - env.charge[0] == pytest.approx(4.0 / env.vehicle.hover_endurance, rel=1e-6)


def test_a_low_battery_limits_thrust_with_the_square_of_its_voltage():
    env = flight("x500", battery=True)
    env.charge[0] = 0.0
    fly(env, [1, 1, 1, 1], 1.0)
    v = env.vehicle
    np.testing.assert_allclose(env.batch.act[0], v.max_rotor_thrust * v.empty_voltage**2, rtol=1e-9)


def test_each_episode_draws_its_first_charge():
    env = make_batch("DroneTrack", 50, battery=True)
    env.reset(list(range(50)))
    assert env.charge.min() >= 0.2 and env.charge.max() <= 1.0 and env.charge.std() > 0.15


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("height_in_radii", [1.0, 2.0, 4.0])
def test_ground_effect_raises_thrust_as_cheeseman_and_bennett_say(vehicle, height_in_radii):
    env = flight(vehicle, ground_effect=True)
    height = height_in_radii * env.vehicle.rotor_radius + env.vehicle.height
    env.place(0, [0, 0, height])
    fly(env, [0, 0, 0, 0], 0.02)
    ratio = 1 / (1 - (env.vehicle.rotor_radius / (4 * height)) ** 2)
    assert env.qvel[0, 2] / 0.02 == pytest.approx(GRAVITY * (ratio - 1), rel=0.05)
    high = flight(vehicle, ground_effect=True)
    fly(high, [0, 0, 0, 0], 0.02)
    assert abs(high.qvel[0, 2]) < 1e-4


def test_ground_effect_rights_a_tilted_drone():
    env = flight("racer", ground_effect=True)
    env.place(0, [0, 0, 0.2], 0.0, np.array([1.0, 0.05, 0.0, 0.0]))
    fly(env, [0, 0, 0, 0], 0.02)
    assert env.qvel[0, 3] < 0.0
