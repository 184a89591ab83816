"""Reference controllers: equilibrium, recovery, tracking, rejection of wind, SB3's predict."""

import gymnasium
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from stable_baselines3.common.evaluation import evaluate_policy

from undrift.envs import make_batch
from undrift.envs.drone import physics
from undrift.envs.drone.controllers import (
    AUGMENTATIONS,
    CascadedPID,
    Gains,
    GeometricController,
    attitude_error,
    derivative_weights,
    still_air_drag,
)
from undrift.envs.drone.vehicle import VEHICLES, load_vehicle
from undrift.envs.drone.wind import ConstantWind

CONTROLLERS = [GeometricController, CascadedPID]
STILL = {"points": [[0.0, 0.0, 20.0], [0.0, 0.0, 20.0001]], "speed": 1e-5, "closed": False}


def hovering(n=1, **kwargs):
    """Simulations whose reference stands still 20 m up, at rest on it, upright."""
    env = make_batch("DroneTrack", n, trajectory=STILL, noise=0.0, crash_distance=1e3, **kwargs)
    observation = env.reset(list(range(n)))
    env.qpos[:] = [0.0, 0.0, 20.0, 1.0, 0.0, 0.0, 0.0]
    env.qvel[:] = 0.0
    return env, observation


def fly(env, controller, observation, seconds):
    """Position errors [steps, N] m, and the controller's last state."""
    state, errors = None, []
    for _ in range(round(seconds / env.dt)):
        action, state = controller.predict(observation, state)
        observation, _, _, _, info = env.step(action)
        errors.append(info["position_error"])
    return np.array(errors), state


def at_rest(env):
    names = env.observation_names
    return np.array([[float(name in ("rotation_xx", "rotation_yy", "rotation_zz")) for name in names]])


@pytest.mark.parametrize("interface", ["rates", "motors"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("kind", CONTROLLERS)
def test_hovering_on_the_reference_is_an_equilibrium(kind, augmentation, interface):
    env = make_batch("DroneTrack", 1, interface=interface)
    controller, state = kind(env, augmentation), None
    for _ in range(5):
        action, state = controller.predict(at_rest(env), state)
        np.testing.assert_allclose(action, 0.0, atol=1e-6)


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("interface", ["rates", "motors"])
def test_the_geometric_controller_recovers_from_any_attitude(vehicle, interface):
    starts = [[90, 0, 0], [0, -90, 0], [180, 0, 0], [0, 180, 0], [150, 40, 120]]
    env, _ = hovering(len(starts), vehicle=vehicle, interface=interface)
    env.qpos[:, 3:] = Rotation.from_euler("xyz", starts, degrees=True).as_quat(scalar_first=True)
    observation = env.step(np.zeros((len(starts), 4)))[0]
    assert fly(env, GeometricController(env), observation, 8.0)[0][-1].max() < 0.01


def test_the_cascade_recovers_from_a_tilt_of_60_degrees():
    env, _ = hovering(2)
    env.qpos[:, 3:] = Rotation.from_euler("xyz", [[60, 0, 0], [0, -60, 0]], degrees=True).as_quat(scalar_first=True)
    observation = env.step(np.zeros((2, 4)))[0]
    assert fly(env, CascadedPID(env), observation, 4.0)[0][-1].max() < 0.02


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_the_figure_eight_is_flown_within_5_cm_with_noise_on(vehicle):
    env = make_batch("DroneTrack", 4, vehicle=vehicle, trajectory="figure_eight", episode_s=13.0)
    errors, _ = fly(env, GeometricController(env), env.reset([0, 1, 2, 3]), 12.56)
    assert np.sqrt((errors[314:] ** 2).mean()) < 0.02


def test_a_target_that_stands_still_is_reached_from_any_attitude():
    env = make_batch("DroneHover", 8)
    assert fly(env, GeometricController(env), env.reset(list(range(8))), 6.0)[0][-1].max() < 0.05


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_random_trajectories_are_flown_without_a_crash(kind):
    env = make_batch("DroneTrack", 16)
    controller, observation, state = kind(env), env.reset(list(range(16))), None
    for _ in range(300):
        action, state = controller.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        assert not terminated.any()
    assert info["position_error"].mean() < 0.1


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_a_steady_wind_moves_the_plain_controller_by_force_over_stiffness(kind):
    offset, acceleration, controller = wind_offset(kind, None)
    assert offset == pytest.approx(acceleration / controller.gains.position_bandwidth**2, rel=0.02)


@pytest.mark.parametrize("augmentation", ["integral", "l1"])
@pytest.mark.parametrize("kind", CONTROLLERS)
def test_an_augmentation_takes_out_the_offset_of_a_steady_wind(kind, augmentation):
    assert wind_offset(kind, augmentation)[0] < 0.01


def wind_offset(kind, augmentation, speed=6.0):
    """Position error after 15 s in a steady wind, m, the acceleration by its drag, m/s², and the controller."""
    env, observation = hovering(1, wind=ConstantWind(speed=speed, heading=0.5))
    controller = kind(env, augmentation)
    errors, _ = fly(env, controller, observation, 15.0)
    vehicle = env.vehicle
    drag = (vehicle.linear_drag + vehicle.quadratic_drag * speed) * speed
    return errors[-1, 0], drag / vehicle.mass, controller


def test_the_l1_augmentation_finds_the_disturbance():
    env, observation = hovering(1, wind=ConstantWind(speed=6.0, heading=0.0))
    _, state = fly(env, GeometricController(env, "l1"), observation, 10.0)
    found = state[-1][0]
    acceleration = (env.vehicle.linear_drag + env.vehicle.quadratic_drag * 6.0) * 6.0 / env.vehicle.mass
    # The law finds e^(-a dt) of it, and the attitude of the outer loop's own answer settles late.
    np.testing.assert_allclose(found, [np.exp(-0.02) * acceleration, 0.0, 0.0], atol=0.02 * acceleration)


def test_an_irregular_clock_does_not_fool_the_augmentations():
    env, observation = hovering(3, wind=ConstantWind(speed=6.0), clock={"jitter": 0.4, "missed": 0.1})
    for augmentation in ("integral", "l1"):
        assert fly(env, GeometricController(env, augmentation), observation, 10.0)[0][-1].max() < 0.02


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("kind", CONTROLLERS)
def test_a_row_of_a_batch_gets_the_action_of_a_single_run_to_the_bit(kind, augmentation):
    env = make_batch("DroneTrack", 5)
    controller, observation, state, alone = kind(env, augmentation), env.reset([1, 2, 3, 4, 5]), None, None
    for _ in range(60):
        action, state = controller.predict(observation, state)
        own, alone = controller.predict(observation[2:3], alone)
        np.testing.assert_array_equal(action[2], own[0])
        observation = env.step(action)[0]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_row_that_begins_an_episode_forgets_and_the_others_do_not(augmentation):
    env = make_batch("DroneTrack", 2)
    controller, observation = GeometricController(env, augmentation), env.reset([1, 2])
    _, state = fly(env, controller, observation, 1.0)
    observation = env.step(np.zeros((2, 4)))[0]
    action, _ = controller.predict(observation, state, episode_start=np.array([True, False]))
    afresh, _ = controller.predict(observation)
    going_on, _ = controller.predict(observation, state)
    np.testing.assert_array_equal(action, [afresh[0], going_on[1]])
    assert augmentation is None or not np.array_equal(afresh, going_on)


def test_predict_does_not_change_the_state_it_is_given():
    env = make_batch("DroneTrack", 2)
    controller, observation = GeometricController(env, "l1"), env.reset([1, 2])
    _, state = controller.predict(observation)
    kept = [part.copy() for part in state]
    controller.predict(observation, state)
    for part, before in zip(state, kept, strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("augmentation", ["integral", "l1"])
def test_sb3_can_evaluate_a_controller(augmentation):
    env = gymnasium.make("undrift/DroneTrack-v0", episode_s=4.0)
    mean, _ = evaluate_policy(GeometricController(env, augmentation), env, n_eval_episodes=2, warn=False)
    assert mean > 0.6 * 200
    one, _ = GeometricController(env).predict(env.reset(seed=0)[0])
    assert one.shape == (4,) and one.dtype == np.float32


def test_derivatives_of_a_polynomial_reference_are_exact():
    ahead = np.array([0.15, 0.30, 0.60])
    path = np.polynomial.Polynomial([0.0, 1.5, -2.0, 3.0, -1.0])
    bend = path(ahead) - ahead * 1.5
    for order in (2, 3):
        for delay in (0.0, 0.08):
            expected = path.deriv(order)(delay)
            assert derivative_weights(ahead, order, delay) @ bend == pytest.approx(expected, abs=1e-10)


def test_derivatives_of_the_figure_eight_are_close():
    ahead, t = np.array([0.15, 0.30, 0.60]), np.linspace(0.0, 6.28, 60)[:, None]
    bend = 0.75 * (np.sin(2 * (t + ahead)) - np.sin(2 * t) - 2 * np.cos(2 * t) * ahead)
    acceleration, jerk = (bend @ derivative_weights(ahead, order, 0.0) for order in (2, 3))
    np.testing.assert_allclose(acceleration, -3.0 * np.sin(2 * t[:, 0]), atol=0.02)
    np.testing.assert_allclose(jerk, -6.0 * np.cos(2 * t[:, 0]), atol=0.4)


def test_the_attitude_error_is_twice_the_sine_of_half_the_angle():
    rng = np.random.default_rng(0)
    wanted, angle, axis = (
        Rotation.random(200, random_state=1),
        rng.uniform(0.0, 3.1, (200, 1)),
        rng.normal(size=(200, 3)),
    )
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    error = attitude_error(wanted.as_matrix(), (wanted * Rotation.from_rotvec(angle * axis)).as_matrix())
    np.testing.assert_allclose(error, 2 * np.sin(angle / 2) * axis, atol=1e-9)


def test_the_attitude_error_has_its_axis_at_180_degrees_as_well():
    axis = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])
    opposite = Rotation.from_rotvec(np.pi * axis).as_matrix()
    np.testing.assert_allclose(attitude_error(np.tile(np.eye(3), (4, 1, 1)), opposite), 2 * axis, atol=1e-12)


@pytest.mark.parametrize("name", VEHICLES)
def test_nominal_drag_is_that_of_the_physics(name):
    vehicle = load_vehicle(name)
    attitude, speed = Rotation.from_euler("xyz", [0.3, -0.2, 0.5]), np.array([[2.0, -1.0, 0.5]])
    qpos, qvel = np.zeros((1, 7)), np.concatenate([speed, np.zeros((1, 3))], axis=1)
    qpos[0, 3:] = attitude.as_quat(scalar_first=True)
    hover, applied = np.full((1, 4), vehicle.weight / 4), np.zeros((1, 6))
    plant, still = make_batch("DroneTrack", vehicle=name).plant.values, np.zeros((1, 3))
    physics.drive(
        np.array([0]), 1, np.zeros((1, 4)), physics.constants(vehicle), qpos, qvel, hover, plant, still, np.ones(1),
        0.004, False, False, np.zeros((1, 4)), applied,
    )  # fmt: skip
    expected = still_air_drag(vehicle, speed, attitude.as_matrix()[None])
    np.testing.assert_allclose(applied[:, :3] / vehicle.mass, expected, rtol=1e-9)


def test_each_loop_is_slower_than_the_one_inside_it():
    for name in VEHICLES:
        vehicle = load_vehicle(name)
        gains = Gains.of(vehicle)
        assert gains.position_bandwidth < min(gains.attitude_gains[:2]) < min(vehicle.rate_gains[:2])


def test_what_cannot_be_flown_is_refused_with_what_is_valid():
    env = make_batch("DroneTrack", 1)
    with pytest.raises(ValueError, match="unknown augmentation 'l2'; there are: None, 'integral', 'l1'"):
        GeometricController(env, "l2")
    with pytest.raises(ValueError, match="'rates' and 'motors', not 'velocity'"):
        CascadedPID(make_batch("DroneTrack", 1, interface="velocity"))
    with pytest.raises(ValueError, match="CartPoleEnv is no DroneEnv"):
        GeometricController(gymnasium.make("CartPole-v1").unwrapped)
    env.observation_names = tuple(name for name in env.observation_names if name != "rotation_zz")
    with pytest.raises(ValueError, match="needs the observation channel 'rotation_zz'; they are: position_error_x"):
        GeometricController(env)
