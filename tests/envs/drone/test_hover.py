"""DroneHover: from any attitude to a standstill."""

import numpy as np

from undrift.envs import make_batch
from undrift.envs.drone.controllers import GeometricController
from undrift.envs.drone.hover import SETPOINT


def test_attitudes_at_the_start_are_uniform_over_all_rotations():
    env = make_batch("DroneHover", 2000, noise=0.0)
    up = env.reset(list(range(2000)))[:, env.observation_names.index("rotation_zz")]
    # the third row and column of a uniform rotation: each entry is uniform in [-1, 1]
    np.testing.assert_allclose(np.quantile(up, [0.1, 0.25, 0.5, 0.75, 0.9]), [-0.8, -0.5, 0, 0.5, 0.8], atol=0.06)


def test_observation_channels_hold_what_their_names_say():
    env = make_batch("DroneHover", 2, noise=0.0)
    env.reset([0, 1])
    seen, *_, info = env.step(np.full((2, 4), 0.2))
    np.testing.assert_allclose(seen[:, :3], env.qpos[:, :3] - SETPOINT, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(seen[:, :3], axis=1), info["position_error"], atol=1e-5)
    np.testing.assert_allclose(seen[:, 3:6], env.qvel[:, :3], atol=1e-5)
    np.testing.assert_allclose(seen[:, 15:18], env.qvel[:, 3:], atol=1e-5)
    np.testing.assert_allclose(seen[:, 18:], 0.2, atol=1e-6)


def test_hovering_at_the_setpoint_earns_the_whole_reward_and_is_success():
    env = make_batch("DroneHover", 1, noise=0.0)
    env.reset([0])
    env.place(0, SETPOINT)
    _, reward, terminated, _, info = env.step(np.zeros((1, 4)))
    assert 0.999 < reward[0] <= 1.0 and info["success"][0] and not terminated[0]


def test_touching_the_floor_ends_the_episode_as_a_crash():
    env = make_batch("DroneHover", 1)
    env.reset([0])
    env.place(0, np.array([0.0, 0.0, 0.3]), velocity=np.array([0.0, 0.0, -3.0]))
    ended = [env.step(np.zeros((1, 4)))[2:] for _ in range(10)]
    crashed = [bool(terminated[0]) and bool(info["crashed"][0]) for terminated, _, info in ended]
    assert any(crashed)


def test_the_task_can_be_done_by_a_reference_controller():
    env = make_batch("DroneHover", 20, noise=0.0)
    controller, state, alive = GeometricController(env), None, np.ones(20, dtype=bool)
    seen = env.reset(list(range(20)))
    for step in range(env.max_episode_steps):
        action, state = controller.predict(seen, state, np.full(20, step == 0))
        seen, _, terminated, _, info = env.step(action)
        alive &= ~terminated
    assert (info["success"] & alive).mean() >= 0.9
