from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from undrift.agents.peers import load_peer

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(path.parent for path in (ROOT / "runs" / "classic").glob("*/config.json"))


@pytest.fixture(scope="module")
def classic_policies(load):
    return load("classic_policies")


def test_a_training_ends_in_a_folder_that_flies_and_states_its_budget_and_return(
    classic_policies, tmp_path, monkeypatch
):
    monkeypatch.setattr(classic_policies, "EPISODES", 3)
    task = classic_policies.TASKS["Pendulum-v1"]
    small = dataclasses.replace(task, steps=64, hyper_parameters=task.hyper_parameters | {"n_steps": 16, "n_epochs": 1})
    classic_policies.train(small, 0, tmp_path / "peer")
    peer = load_peer(tmp_path / "peer")
    row = classic_policies.row(tmp_path / "peer")
    assert row["steps"] == 64 and row["algorithm"] == "PPO"
    assert row["return_low"] <= row["return"] <= row["return_high"] < 0
    assert row["return"] == pytest.approx(np.mean(alone(peer, episodes=3)), rel=1e-3)


def alone(peer, episodes: int) -> list[float]:
    """Returns of the first episodes from the report seeds, flown one by one."""
    env = gymnasium.make(peer.config["env_id"], **peer.config["env_kwargs"])
    returns = []
    for seed in range(10_000, 10_000 + episodes):
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(peer.predict(observation)[0])
            total, over = total + reward, terminated or truncated
        returns.append(total)
    return returns


def test_there_is_a_policy_for_each_environment_of_the_suite(classic_policies):
    assert {task.folder(0) for task in classic_policies.TASKS.values()} <= set(COMMITTED)


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_committed_policy_flies_and_was_trained_as_the_benchmark_states(classic_policies, folder):
    peer = load_peer(folder)
    config = peer.config
    task = classic_policies.TASKS[config["env_id"]]
    assert config["hyper_parameters"] == json.loads(json.dumps(task.hyper_parameters))
    assert (config["algorithm"], config["n_envs"]) == ("PPO", task.n_envs)
    assert config["policy_kwargs"] == task.policy_kwargs | {"use_sde": task.hyper_parameters.get("use_sde", False)}
    assert 0 <= config["steps"] - task.steps < task.n_envs * task.hyper_parameters["n_steps"]
    assert folder == task.folder(config["seed"])
    env = gymnasium.make(config["env_id"], **config["env_kwargs"])
    observation, _ = env.reset(seed=10_000)
    for _ in range(50):
        action, _ = peer.predict(observation)
        assert env.action_space.contains(action)
        observation, _, terminated, _, _ = env.step(action)
        assert not terminated
