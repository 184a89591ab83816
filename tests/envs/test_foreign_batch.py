"""Copies of an environment of Gymnasium, each as it is by itself."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from undrift.envs import Abrupt, ActuatorBias, BatchEnv, ForeignBatch, Scenario, make_any_batch, make_scenario

PENDULUM = Scenario("trim", "Pendulum-v1", {"max_episode_steps": 40}, (ActuatorBias(bias=0.3, schedule=Abrupt(0.5)),))


def test_each_copy_is_the_environment_by_itself_with_its_shifts_and_its_actions_rescaled():
    batch, alone = ForeignBatch(PENDULUM, 2), make_scenario(PENDULUM)
    seen = [batch.reset([3, 4])[1]]
    expected = [alone.reset(seed=4)[0]]
    rng, rewards = np.random.default_rng(0), np.zeros((2, 30))
    for k in range(30):
        actions = rng.uniform(-1.0, 1.0, (2, 1))
        observation, reward, *_ = batch.step(actions)
        own, rewards[1, k], *_ = alone.step((2.0 * actions[1]).astype(np.float32))
        rewards[0, k] = reward[1]
        seen.append(observation[1])
        expected.append(own)
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    np.testing.assert_allclose(*rewards, atol=1e-4)
    assert batch.dt == 0.05 and batch.observation_names == ("observation_0", "observation_1", "observation_2")


def test_a_copy_rests_from_the_end_of_its_episode_until_it_is_reset():
    batch = ForeignBatch(PENDULUM, 2, seed=0)
    batch.reset()
    ends = [batch.step(np.zeros((2, 1)))[3] for _ in range(40)]
    assert ends[-1].all() and not np.any(ends[:-1]) and batch.over.all()
    begun = batch.reset(ids=np.array([1]))
    observation, reward, _, truncated, info = batch.step(np.ones((2, 1)))
    assert batch.over.tolist() == [True, False] and not truncated.any()
    assert reward[0] == 0.0 > reward[1] and np.ptp(begun[0] - observation[1]) > 0.01
    np.testing.assert_array_equal(info["dt"], 0.05)


def test_episodes_without_a_seed_are_those_of_the_batchs_own():
    first, again, other = (ForeignBatch(PENDULUM, 2, seed=seed).reset() for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 1e-6 and np.abs(first[0] - first[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("CartPole-v1", {}, "adapters take a Box with one axis each"),
        ("Unbounded-v0", {}, "bound it"),
        ("Endless-v0", {}, "give env_kwargs max_episode_steps"),
    ],
)
def test_what_adapters_cannot_fly_is_refused(env_id, kwargs, message, monkeypatch):
    pendulum = gymnasium.spec("Pendulum-v1").entry_point

    class Unbounded(gymnasium.ActionWrapper):
        def __init__(self):
            super().__init__(gymnasium.make("Pendulum-v1"))
            self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))

    monkeypatch.setattr(gymnasium.envs.registration, "registry", gymnasium.registry.copy())
    gymnasium.register("Unbounded-v0", entry_point=Unbounded, max_episode_steps=10)
    gymnasium.register("Endless-v0", entry_point=pendulum)
    with pytest.raises(ValueError, match=message):
        ForeignBatch(Scenario("calm", env_id, kwargs), 1)


def test_any_environment_is_made_by_its_id_and_an_unknown_one_names_those_there_are():
    assert isinstance(make_any_batch("DroneHover", 2), BatchEnv)
    assert isinstance(make_any_batch("Pendulum-v1", 2, g=9.81), ForeignBatch)
    with pytest.raises(ValueError, match="unknown environment 'Pendulun-v1'; the environments are: undrift"):
        make_any_batch("Pendulun-v1")
