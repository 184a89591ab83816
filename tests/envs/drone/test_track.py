"""DroneTrack: what it shows, what it rewards, how it flies."""

import numpy as np
import pytest

from undrift.envs import make_batch


def channels(env, observation, *names):
    return np.array([observation[env.observation_names.index(name)] for name in names])


def test_observation_channels_hold_what_their_names_say():
    env = make_batch("DroneTrack", 1, noise=0.0)
    seen = env.reset([5])[0]
    for _ in range(20):
        seen, _, _, _, info = (
            part[0] if not isinstance(part, dict) else part for part in env.step(np.full((1, 4), 0.1))
        )
    reference = info["reference_position"][0]
    error = channels(env, seen, *(f"position_error_{a}" for a in "xyz"))
    np.testing.assert_allclose(error, env.qpos[0, :3] - reference, atol=1e-6)
    assert np.linalg.norm(error) == pytest.approx(info["position_error"][0], rel=1e-5)
    speed = channels(env, seen, *(f"velocity_error_{a}" for a in "xyz"))
    speed += channels(env, seen, *(f"reference_velocity_{a}" for a in "xyz"))
    np.testing.assert_allclose(speed, env.qvel[0, :3], atol=1e-5)
    rotation = channels(env, seen, *(f"rotation_{a}{b}" for a in "xyz" for b in "xyz")).reshape(3, 3)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(channels(env, seen, *(f"body_rate_{a}" for a in "xyz")), env.qvel[0, 3:], atol=1e-5)
    np.testing.assert_allclose(channels(env, seen, "previous_action_thrust", "previous_action_rate_z"), 0.1, atol=1e-6)


def test_the_preview_is_where_the_reference_will_be():
    env = make_batch("DroneTrack", 1, noise=0.0, crash_distance=100.0)
    seen = env.reset([6])[0]
    ahead = channels(env, seen, *(f"preview_0.30_{a}" for a in "xyz"))
    start = env.trajectory.reference(np.array([0]), np.zeros(1), np.zeros(0))[0][0, 0]
    for _ in range(15):
        info = env.step(np.zeros((1, 4)))[4]
    np.testing.assert_allclose(info["reference_position"][0] - start, ahead, atol=1e-5)


def test_a_part_of_the_way_back_is_asked_for_at_a_speed_that_takes_the_same_acceleration_to_stop():
    """v² / (2 e) of every axis stays; what the observation shows beside the way back is no demand."""
    env = make_batch("DroneTrack", 1)
    demand, share, seen = env.signals.demand, 0.25, env.reset([5])[0].astype(float)
    assert all(base == "" for base, _ in demand.values())
    powers = np.array([demand.get(name, ("", 0.0))[1] for name in env.observation_names])
    errors, speeds = (
        [env.observation_names.index(f"{kind}_error_{axis}") for axis in "xyz"] for kind in ("position", "velocity")
    )
    asked = share**powers * seen
    np.testing.assert_allclose(asked[errors], share * seen[errors])
    np.testing.assert_allclose(asked[speeds] ** 2 / asked[errors], seen[speeds] ** 2 / seen[errors])
    others = np.delete(np.arange(len(seen)), errors + speeds)
    np.testing.assert_array_equal(asked[others], seen[others])


def test_sensor_noise_has_the_documented_strength():
    noisy, clean = make_batch("DroneTrack", 500), make_batch("DroneTrack", 500, noise=0.0)
    difference = noisy.reset(list(range(500))) - clean.reset(list(range(500)))
    spread = difference.std(0)
    np.testing.assert_allclose(spread[:3], 0.01, rtol=0.15)
    np.testing.assert_allclose(spread[3:6], 0.03, rtol=0.15)
    np.testing.assert_allclose(spread[15:18], 0.05, rtol=0.15)
    assert (spread[18:] == 0).all()


def test_reward_is_bounded_and_is_the_sum_of_its_named_terms():
    env = make_batch("DroneTrack", 64)
    env.reset(list(range(64)))
    rng = np.random.default_rng(0)
    for _ in range(100):
        _, reward, terminated, _, info = env.step(rng.uniform(-1, 1, (64, 4)))
        terms = sum(value for key, value in info.items() if key.startswith("reward/"))
        np.testing.assert_allclose(reward, terms)
        assert (reward <= 1.0).all() and (reward >= -6.1).all()
        assert (reward[terminated] <= -4.0).all()


def test_a_tipped_or_lost_drone_has_crashed():
    env = make_batch("DroneTrack", 2)
    env.reset([0, 1])
    env.qpos[0, 3:7] = [0.0, 1.0, 0.0, 0.0]
    env.qpos[1, 0] += 5.0
    _, _, terminated, truncated, info = env.step(np.zeros((2, 4)))
    assert terminated.all() and info["crashed"].all() and not truncated.any()


def test_body_rates_follow_what_is_asked():
    env = make_batch("DroneTrack", 1, noise=0.0, crash_distance=100.0)
    env.reset([0])
    for _ in range(8):
        env.step(np.array([[0.0, 0.25, -0.125, 0.5]]))
    np.testing.assert_allclose(env.qvel[0, 3:], [2.0, -1.0, 1.5], atol=0.35)


def test_thrust_reaches_its_command_with_the_rotors_time_constant():
    env = make_batch("DroneTrack", 1, noise=0.0)
    env.reset([0])
    env.qvel[:, 3:] = 0.0
    hover = env.vehicle.weight
    env.step(np.array([[0.4, 0.0, 0.0, 0.0]]))
    reached = (env.batch.act[0].sum() - hover) / (0.6 * hover)
    assert reached == pytest.approx(1 - np.exp(-0.02 / 0.03), rel=1e-3)
