"""Reference controllers of the car: the steady turn, the regulator, tracking at the limit, SB3's predict."""

import gymnasium
import numpy as np
import pytest
from scipy.linalg import expm
from stable_baselines3.common.evaluation import evaluate_policy

from undrift.envs import make_batch
from undrift.envs.driving.controllers import Gains, PreviewController, StanleyController, SteadyTurn, _regulate
from undrift.envs.driving.vehicle import CARS, GRAVITY, load_car

CONTROLLERS = [StanleyController, PreviewController]


def drive(env, controller, steps, observation=None):
    """Lateral errors [steps, N] m, which cars crashed, and the controller's last state."""
    observation = env.reset(list(range(1000, 1000 + env.num_envs))) if observation is None else observation
    state, errors, crashed = None, [], np.zeros(env.num_envs, dtype=bool)
    for _ in range(steps):
        action, state = controller.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        errors.append(info["lateral_error"])
        crashed |= terminated
    return np.array(errors), crashed, state


def rms(errors):
    return float(np.sqrt((errors**2).mean()))


@pytest.mark.parametrize("name", CARS)
def test_a_gentle_steady_turn_is_that_of_the_linear_bicycle(name):
    car, speed = load_car(name), np.array([3.0, 8.0])
    curvature = 0.02 * GRAVITY / speed**2
    turn = SteadyTurn.of(car, curvature, speed)
    acceleration = speed**2 * curvature
    np.testing.assert_allclose(
        turn.steering, car.wheelbase * curvature + car.understeer_gradient * acceleration, rtol=1e-3
    )
    rear_stiffness = GRAVITY * car.friction_rear * car.stiffness_rear * car.tyre_shape
    np.testing.assert_allclose(
        turn.sideslip, car.rear_axle * curvature - acceleration / rear_stiffness, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", CARS)
def test_the_stiffnesses_of_a_steady_turn_are_the_derivatives_of_its_forces(name):
    car, speed, change = load_car(name), np.array(10.0), 1e-6
    at, further = (SteadyTurn.of(car, np.array((0.6 * GRAVITY + d) / speed**2), speed) for d in (-change, change))
    front = (further.steering - at.steering) - (car.wheelbase / speed**2) * 2 * change
    rear = -(further.sideslip - at.sideslip) + (car.rear_axle / speed**2) * 2 * change
    force = 2 * change * car.mass * np.array([car.rear_axle, car.front_axle]) / car.wheelbase
    assert at.rear_stiffness == pytest.approx(force[1] / rear, rel=1e-3)
    assert at.front_stiffness == pytest.approx(force[0] / (front + rear), rel=1e-3)


def test_the_regulator_finds_the_minimum_of_its_cost():
    """Against the dense least-squares problem over all steerings, its transitions by scipy's matrix exponential."""
    rng, horizon, step = np.random.default_rng(0), 25, 0.024
    car = np.array([3.5, 0.047, 0.16, 0.17, 0.04])
    speed, stiffness = rng.uniform(2.0, 5.0, (1, horizon)), rng.uniform(60.0, 220.0, (2, 1, horizon))
    steady, state = 0.1 * rng.normal(size=(1, horizon, 5)), 0.1 * rng.normal(size=(1, 5))
    weights = np.array([0.1, 0.1, 0.2]) ** -2
    wanted = np.empty(1)
    _regulate(state, steady, speed, *stiffness, car, step, weights, wanted)

    mass, inertia, front, rear, lag = car
    affine = np.zeros((5, horizon + 1))  # of the deviation, in the steerings and 1
    affine[:, -1] = state[0] - steady[0, 0]
    residuals = [np.eye(horizon + 1)[k] / 0.2 for k in range(horizon)]
    for k in range(horizon):
        v, front_tyres, rear_tyres = speed[0, k], stiffness[0, 0, k], stiffness[1, 0, k]
        turning = front_tyres * front - rear_tyres * rear
        rate = np.zeros((6, 6))
        rate[0, [1, 2]], rate[1, 3] = [v, 1.0], 1.0
        rate[2, 2:5] = [-(front_tyres + rear_tyres) / (mass * v), -turning / (mass * v) - v, front_tyres / mass]
        damping = front_tyres * front**2 + rear_tyres * rear**2
        rate[3, 2:5] = [-turning / (inertia * v), -damping / (inertia * v), front_tyres * front / inertia]
        rate[4, 4:] = [-1 / lag, 1 / lag]
        whole = expm(rate * step)
        residuals += [affine[0] / 0.1, (affine[1] + affine[2] / v) / 0.1]
        affine = whole[:5, :5] @ affine + np.outer(whole[:5, 5], np.eye(horizon + 1)[k])
        if k + 1 < horizon:
            affine[:, -1] += steady[0, k] - steady[0, k + 1]
    residuals += [affine[0] / 0.1, (affine[1] + affine[2] / v) / 0.1]
    matrix = np.array(residuals)
    best = np.linalg.lstsq(matrix[:, :-1], -matrix[:, -1], rcond=None)[0]
    assert wanted[0] - steady[0, 0, 4] == pytest.approx(best[0], rel=1e-4)


@pytest.mark.parametrize(("kind", "bound"), [(StanleyController, 0.012), (PreviewController, 0.008)])
def test_tracks_are_driven_at_the_full_pace_within_millimetres(kind, bound):
    env = make_batch("CarTrack", 12)
    errors, crashed, _ = drive(env, kind(env), 300)
    assert not crashed.any()
    assert rms(errors[100:]) < bound
    assert env.way.sum() > 0.93 * 12 * 6.0 * env.speed_reference.min()


@pytest.mark.parametrize(("kind", "bound"), [(StanleyController, 0.04), (PreviewController, 0.025)])
def test_lanes_are_kept_within_centimetres(kind, bound):
    env = make_batch("CarLane", 12)
    errors, crashed, _ = drive(env, kind(env), 300)
    assert not crashed.any()
    assert rms(errors[150:]) < bound


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_a_lowered_speed_reference_is_followed(kind):
    env = make_batch("CarTrack", 4)
    observation = env.reset([1000, 1001, 1002, 1003])
    env.speed_scale[:] = 0.6
    controller, state = kind(env), None
    for _ in range(150):
        action, state = controller.predict(observation, state)
        observation, *_, info = env.step(action)
    assert np.abs(info["speed_error"]).max() < 0.1 * env.top_speed
    assert env.speed_reference.max() < 0.6 * env.top_speed + 1e-9


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_an_irregular_clock_is_borne(kind):
    env = make_batch("CarTrack", 4, clock={"jitter": 0.2, "missed": 0.05})
    errors, crashed, _ = drive(env, kind(env), 200)
    assert not crashed.any() and rms(errors[100:]) < 0.03


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_a_row_of_a_batch_gets_the_action_of_a_single_run_to_the_bit(kind):
    env = make_batch("CarTrack", 5)
    controller, observation, state, alone = kind(env), env.reset([1, 2, 3, 4, 5]), None, None
    for _ in range(30):
        action, state = controller.predict(observation, state)
        own, alone = controller.predict(observation[2], alone)
        np.testing.assert_array_equal(action[2], own)
        observation = env.step(action)[0]


def test_a_row_that_begins_an_episode_forgets_and_the_others_do_not():
    env = make_batch("CarTrack", 2)
    controller, observation = PreviewController(env), env.reset([1, 2])
    _, _, state = drive(env, controller, 30, observation)
    observation = env.step(np.zeros((2, 2)))[0]
    action, _ = controller.predict(observation, state, episode_start=np.array([True, False]))
    afresh, _ = controller.predict(observation)
    going_on, _ = controller.predict(observation, state)
    np.testing.assert_array_equal(action, [afresh[0], going_on[1]])
    assert not np.array_equal(afresh, going_on)


def test_sb3_can_evaluate_a_controller():
    env = gymnasium.make("undrift/CarTrack-v0", episode_s=3.0)
    mean, _ = evaluate_policy(PreviewController(env), env, n_eval_episodes=2, warn=False)
    assert mean > 0.8 * 150


def test_gains_follow_froudes_similarity():
    small, large = (Gains.of(load_car(name)) for name in ("f1tenth", "sedan"))
    lengths = load_car("sedan").wheelbase / load_car("f1tenth").wheelbase
    assert large.lateral_tolerance / small.lateral_tolerance == pytest.approx(lengths)
    assert large.horizon / small.horizon == pytest.approx(np.sqrt(lengths))
    assert small.convergence / large.convergence == pytest.approx(np.sqrt(lengths))


def test_what_cannot_be_driven_is_refused_with_what_is_valid():
    with pytest.raises(ValueError, match="needs the observation channel 'lateral_error'; they are: forward_velocity"):
        StanleyController(make_batch("CarLidar", 1))
    with pytest.raises(ValueError, match="CartPoleEnv is no CarEnv"):
        PreviewController(gymnasium.make("CartPole-v1").unwrapped)
