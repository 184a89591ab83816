from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO as PlainPPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from undrift.agents.controller import Loop
from undrift.agents.run import Run
from undrift.agents.vec_env import AdaptingVecEnv, BatchVecEnv, make_vec_env
from undrift.envs import Always, Payload, make_batch

EPISODE_STEPS = 25
RUN = Run.reference()


def drones(n: int = 4, seed: int | None = 0) -> BatchVecEnv:
    return make_vec_env("DroneTrack", n, seed, episode_s=EPISODE_STEPS * 0.02)


def gentle(n: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).normal(size=(2 * EPISODE_STEPS + 3, n, 4)).astype(np.float32)


def test_it_steps_the_batch_and_restarts_what_has_ended():
    env, batch = drones(), make_batch("DroneTrack", 4, seed=0, episode_s=EPISODE_STEPS * 0.02)
    np.testing.assert_array_equal(env.reset(), batch.reset())
    ends = 0
    for actions in gentle(4):
        obs, rewards, dones, infos = env.step(actions)
        expected, expected_rewards, terminated, truncated, _ = batch.step(actions)
        np.testing.assert_array_equal(rewards, expected_rewards.astype(np.float32))
        np.testing.assert_array_equal(dones, terminated | truncated)
        for i in range(4):
            assert ("terminal_observation" in infos[i]) == dones[i]
        for i in np.flatnonzero(dones):
            ends += 1
            np.testing.assert_array_equal(infos[i]["terminal_observation"], expected[i])
            assert infos[i]["TimeLimit.truncated"] == bool(truncated[i])
            assert infos[i]["crashed"] == terminated[i]
        if dones.any():
            ended = np.flatnonzero(dones)
            expected[ended] = batch.reset(ids=ended)
        np.testing.assert_array_equal(obs, expected)
    assert ends >= 8


def test_a_finished_episode_reports_its_return_and_length():
    env = drones(2)
    env.reset()
    rewards = np.zeros((EPISODE_STEPS, 2))
    for k in range(EPISODE_STEPS):
        _, rewards[k], dones, infos = env.step(np.zeros((2, 4)))
    assert dones.all()
    for i in range(2):
        assert infos[i]["TimeLimit.truncated"]
        assert infos[i]["episode"]["l"] == EPISODE_STEPS
        assert infos[i]["episode"]["r"] == pytest.approx(rewards[:, i].sum(), rel=1e-5)
    for k in range(EPISODE_STEPS):
        _, rewards[k], _, infos = env.step(np.zeros((2, 4)))
    assert infos[0]["episode"]["r"] == pytest.approx(rewards[:, 0].sum(), rel=1e-5)


def test_the_info_of_every_simulation_is_at_hand():
    env = drones(3)
    env.reset()
    _, _, _, infos = env.step(np.zeros((3, 4)))
    assert infos == [{}, {}, {}]
    assert env.info["position_error"].shape == (3,) and env.info["reference_position"].shape == (3, 3)


def test_seeding_decides_the_next_reset_and_only_that():
    env, other = drones(3, seed=None), drones(3, seed=None)
    assert list(env.seed(7)) == [7, 8, 9]
    other.seed(7)
    first = env.reset()
    np.testing.assert_array_equal(first, other.reset())
    np.testing.assert_array_equal(first[1], make_batch("DroneTrack", 1).reset(seeds=[8])[0])
    assert np.abs(env.reset() - first).max() > 1e-3


def test_attributes_and_methods_are_those_of_the_batch():
    env = drones(3)
    assert env.get_attr("dt") == [0.02] * 3 and env.get_attr("dt", indices=[1]) == [0.02]
    assert env.render_mode is None and env.env_is_wrapped(VecNormalize) == [False] * 3
    assert env.has_attr("observation_names") and not env.has_attr("nothing_of_the_kind")
    env.set_attr("max_episode_steps", 2)
    assert env.batch.max_episode_steps == 2
    env.env_method("reset", seeds=[1, 2, 3])
    assert not env.step(np.zeros((3, 4)))[2].any() and env.step(np.zeros((3, 4)))[2].all()


def test_a_single_simulation_cannot_be_changed():
    env = drones(3)
    with pytest.raises(ValueError, match="all 3 simulations"):
        env.set_attr("max_episode_steps", 2, indices=0)
    with pytest.raises(ValueError, match="all 3 simulations"):
        env.env_method("reset", indices=[0, 1])


def test_sb3s_own_algorithms_wrappers_and_evaluation_take_it():
    env = VecNormalize(drones(4))
    model = PlainPPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(256)
    assert {info["l"] for info in model.ep_info_buffer} == {EPISODE_STEPS}
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True, warn=False)
    assert len(rewards) == 6 and set(lengths) == {EPISODE_STEPS}


def test_an_unknown_environment_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="DroneTrack"):
        make_vec_env("DroneTrak", 2)


def adapting(adapter: str, n: int, stagger: bool = False) -> AdaptingVecEnv:
    batch = make_batch("DroneTrack", n, 0, (Payload(schedule=Always()),), episode_s=EPISODE_STEPS * 0.02)
    return AdaptingVecEnv(batch, Loop(RUN.controller(adapter).adapter), stagger)


def test_a_policy_under_an_adapter_in_training_is_shown_and_sends_what_a_controller_does():
    env, controller = adapting("auto", 3), RUN.controller("auto")
    batch = make_batch("DroneTrack", 3, 0, (Payload(schedule=Always()),), episode_s=EPISODE_STEPS * 0.02)
    shown, observation, hidden = env.reset(), batch.reset(), RUN.policy.initial_state(3)
    controller.reset(3)
    changed = 0.0
    for _ in range(2 * EPISODE_STEPS + 5):
        sent = controller.act(observation, batch.step_duration)
        np.testing.assert_array_equal(shown, controller.shown.astype(np.float32))
        changed = max(changed, np.abs(shown - observation).max())
        own, hidden = RUN.policy.step(controller.shown, hidden, batch.step_duration)
        observation, expected_rewards, terminated, truncated, _ = batch.step(sent)
        controller.learn(observation, expected_rewards, terminated, truncated)
        shown, rewards, dones, infos = env.step(own)
        np.testing.assert_array_equal(rewards, expected_rewards.astype(np.float32))
        assert dones.all() or not dones.any()
        if dones.all():
            last = controller.show(observation, batch.step_duration)
            np.testing.assert_array_equal([info["terminal_observation"] for info in infos], last.astype(np.float32))
            observation, hidden = batch.reset(ids=np.arange(3)), RUN.policy.initial_state(3)
            controller.reset(3)
    assert changed > 0.01


def test_under_the_frozen_adapter_training_is_what_it_is_without():
    env, plain = adapting("frozen", 4, stagger=True), BatchVecEnv(adapting("frozen", 4).batch, stagger=True)
    np.testing.assert_array_equal(env.reset(), plain.reset())
    ends = 0
    for actions in gentle(4):
        results, expected = env.step(actions), plain.step(actions)
        for got, wanted in zip(results[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(got, wanted)
        for i in np.flatnonzero(results[2]):
            ends += 1
            np.testing.assert_array_equal(results[3][i]["terminal_observation"], expected[3][i]["terminal_observation"])
    assert ends >= 8
