"""A plain SB3 policy is stored, read back and flown as the model it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from undrift.agents import algorithms
from undrift.agents import make_vec_env as make_batch_vec_env
from undrift.agents.evaluation.evaluate import fly
from undrift.agents.peers import Peer, feed_forward, import_sb3, load_peer, load_sb3, recurrent
from undrift.envs import Abrupt, Scenario, Wind

ENV_ID, ENV_KWARGS = "Pendulum-v1", {"g": 9.81}
POLICY = {"net_arch": [8, 8]}
FILES = {"config.json", "policy.json", "policy.safetensors"}


def trained(
    kind: type[BaseAlgorithm], normalised: bool, policy: dict[str, Any] = POLICY, **kwargs: Any
) -> BaseAlgorithm:
    env = make_vec_env(ENV_ID, 2, seed=0, env_kwargs=ENV_KWARGS)
    if normalised:
        env = VecNormalize(env, clip_obs=0.5)
    return kind("MlpPolicy", env, policy_kwargs=dict(policy), seed=0, device="cpu", **kwargs).learn(256)


@pytest.fixture(scope="module")
def model() -> BaseAlgorithm:
    return trained(PPO, normalised=True, n_steps=64, use_sde=True)


@pytest.fixture(scope="module")
def stored(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("peers") / "pendulum"
    Peer.of(model, ENV_ID, ENV_KWARGS).save(folder, {"seed": 0})
    return folder


@pytest.fixture
def folder(stored, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(stored, tmp_path / "pendulum"))


def observations() -> np.ndarray:
    space = gymnasium.make(ENV_ID).observation_space
    space.seed(0)
    return np.array([space.sample() for _ in range(64)])


def test_a_stored_policy_predicts_what_the_model_does_on_normalised_observations(model, stored):
    peer, raw = load_peer(stored), observations()
    shown = model.get_vec_normalize_env().normalize_obs(raw)
    assert (np.abs(shown) == 0.5).any() and (np.abs(shown) < 0.5).any()
    action, state = peer.predict(raw)
    np.testing.assert_allclose(action, model.predict(shown, deterministic=True)[0], atol=1e-5)
    assert state is None and np.ptp(action) > 0.01
    assert peer.predict(raw[0])[0].shape == (1,)
    assert {path.name for path in stored.iterdir()} == FILES


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (PPO, {"n_steps": 64, "policy": POLICY | {"activation_fn": nn.ELU}}),
        (PPO, {"n_steps": 64, "use_sde": True, "policy": POLICY | {"squash_output": True}}),
        (PPO, {"n_steps": 64, "policy": {"net_arch": []}}),
        (A2C, {"policy": POLICY | {"activation_fn": nn.LeakyReLU}}),
        (SAC, {"learning_starts": 200}),
        (TD3, {"learning_starts": 200}),
        (DDPG, {"learning_starts": 200}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_a_policy_trained_on_raw_observations_is_shown_them(kind, kwargs):
    model, raw = trained(kind, normalised=False, **kwargs), observations()
    peer = Peer.of(model, ENV_ID, ENV_KWARGS)
    np.testing.assert_allclose(peer.predict(raw)[0], model.predict(raw, deterministic=True)[0], atol=1e-5)
    assert json.loads(json.dumps(peer.config)) == peer.config


def test_the_config_says_what_was_flown_and_how_it_was_trained(stored):
    config = load_peer(stored).config
    assert (config["algorithm"], config["env_id"], config["env_kwargs"]) == ("PPO", ENV_ID, ENV_KWARGS)
    assert config["policy_kwargs"] == POLICY | {"use_sde": True}
    assert config["seed"] == 0


def untrained(kind, env_id: str = ENV_ID, policy: str = "MlpPolicy", **kwargs: Any) -> BaseAlgorithm:
    return kind(policy, gymnasium.make(env_id), device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: untrained(algorithms.PPO, policy="CfcPolicy"), "expected an MlpPolicy of SB3's PPO, A2C, SAC"),
        (lambda: untrained(DQN, "CartPole-v1"), "expected an MlpPolicy of SB3's PPO, A2C, SAC"),
        (lambda: untrained(PPO, "CartPole-v1"), r"actions must be a Box with one axis, got Discrete\(2\)"),
        (lambda: untrained(PPO, policy_kwargs={"activation_fn": nn.SiLU}), "one of Tanh, ReLU, ELU, LeakyReLU between"),
        (lambda: untrained(SAC, use_sde=True), "Hardtanh"),
    ],
    ids=["memory", "algorithm", "actions", "activation", "clipped mean"],
)
def test_what_is_no_plain_policy_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        feed_forward(make())


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_truncated_file_is_refused_by_name(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_peer(folder)


def test_a_missing_file_is_named(folder):
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_peer(folder)


@pytest.fixture(scope="module")
def drone(tmp_path_factory):
    """A model whose observations were normalised, and the run made of it; the nominal model is fitted in a hurry."""
    env = VecNormalize(make_batch_vec_env("DroneTrack", 4, seed=0))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, policy_kwargs=dict(POLICY), seed=0, device="cpu").learn(
        128
    )
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    return model, import_sb3(model, "DroneTrack", folder, seed=3, simulations=16, steps=40, iterations=50)


def test_an_imported_policy_is_a_run_that_adapts_and_is_evaluated(drone):
    _, run = drone
    scenario = Scenario("gale", run.env_id, {"episode_s": 0.4}, (Wind(speed=8.0, schedule=Abrupt(0.1)),))
    episodes = fly([run], ["frozen", "auto"], [scenario], [10_000, 10_001])
    assert [episode.meta["adapter"] for episode in episodes] == ["frozen", "frozen", "auto", "auto"]
    assert {episode.meta["policy_sha256"] for episode in episodes} == {run.policy.sha256}
    assert np.abs(episodes[0].observation[1:, 18:22] - episodes[0].policy_action[:-1]).max() < 1e-6
    assert (run.seed, run.kind, run.cells, run.curve["steps"]) == (3, "nominal", (), [])
    assert run.config["imported"] == {"algorithm": "PPO", "steps": 128}


def test_a_frozen_controller_of_an_imported_policy_sends_what_the_model_predicts(drone):
    model, run = drone
    env, controller = make_batch_vec_env("DroneTrack", 3, seed=0), run.controller("frozen")
    observation, state = env.reset(), None
    for _ in range(10):
        action, state = controller.predict(observation, state)
        shown = model.get_vec_normalize_env().normalize_obs(observation)
        np.testing.assert_allclose(action, model.predict(shown, deterministic=True)[0], atol=1e-5)
        observation = env.step(action)[0]


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("DroneTrack", {"env_kwargs": {"clock": {"jitter": 0.1}}}, "give the arguments that it was trained with"),
        ("DroneTrak", {}, "DroneTrack"),
        ("DroneTrack", {"seed": 100}, "0 to 99"),
    ],
    ids=["spaces", "environment", "seed"],
)
def test_what_does_not_fit_the_environment_is_refused_before_anything_is_written(
    drone, tmp_path, env_id, kwargs, message
):
    with pytest.raises(ValueError, match=message):
        import_sb3(drone[0], env_id, tmp_path / "run", **kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def remembering() -> RecurrentPPO:
    kwargs = {"lstm_hidden_size": 6, "net_arch": [8, 8]}
    env = make_batch_vec_env("DroneTrack", 4, seed=0)
    return RecurrentPPO(
        "MlpLstmPolicy", env, n_steps=16, batch_size=32, policy_kwargs=kwargs, seed=0, device="cpu"
    ).learn(64)


def test_the_lstm_of_recurrent_ppo_is_deployed_with_its_memory(remembering):
    env = make_batch_vec_env("DroneTrack", 4, seed=1)
    policy = recurrent(remembering, env.batch.observation_names, env.batch.dt)
    observation, state, h = env.reset(), None, policy.initial_state(4)
    acted = []
    for step in range(12):
        expected, state = remembering.predict(observation, state, np.full(4, step == 0), deterministic=True)
        action, h = policy.step(observation, h, np.full(4, 0.02))
        np.testing.assert_allclose(action, expected, atol=1e-5)
        acted.append(action)
        observation = env.step(action)[0]
    again, _ = policy.step(observation, policy.initial_state(4), np.full(4, 0.02))
    assert np.abs(again - policy.step(observation, h, np.full(4, 0.02))[0]).max() > 1e-4
    assert np.ptp(acted) > 0.01


def test_an_imported_lstm_is_a_run_too(remembering, tmp_path):
    run = import_sb3(remembering, "DroneTrack", tmp_path / "lstm", simulations=4, steps=20, iterations=5)
    assert run.cells == ("lstm",) and run.config["imported"]["algorithm"] == "RecurrentPPO"
    assert np.isfinite(run.controller("auto").act(np.zeros(34))).all()


@pytest.mark.parametrize(
    ("kwargs", "normalised", "message"),
    [
        ({"n_lstm_layers": 2}, False, "with one layer, got"),
        ({"activation_fn": nn.ReLU}, False, "tanh between its layers, and without VecNormalize"),
        ({}, True, "tanh between its layers, and without VecNormalize"),
    ],
    ids=["layers", "activation", "normalised"],
)
def test_what_is_no_lstm_that_can_be_deployed_is_refused(kwargs, normalised, message):
    env = make_batch_vec_env("DroneTrack", 2, seed=0)
    env = VecNormalize(env) if normalised else env
    model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs={"lstm_hidden_size": 4} | kwargs, device="cpu")
    with pytest.raises(ValueError, match=message):
        recurrent(model)


def test_a_zip_is_loaded_with_the_statistics_that_were_saved_beside_it(drone, tmp_path):
    model, run = drone
    model.save(tmp_path / "mlp.zip")
    model.get_vec_normalize_env().save(str(tmp_path / "mlp.pkl"))
    loaded = load_sb3(tmp_path / "mlp.zip", "DroneTrack", normaliser=tmp_path / "mlp.pkl")
    assert feed_forward(loaded, run.policy.observation_names).sha256 == run.policy.sha256


def test_what_is_no_zip_of_the_algorithm_is_refused(drone, tmp_path):
    path = tmp_path / "mlp.zip"
    with pytest.raises(FileNotFoundError, match=r"mlp\.zip; give the file that Stable-Baselines3 saved"):
        load_sb3(path, "DroneTrack")
    drone[0].save(path)
    with pytest.raises(ValueError, match="unknown algorithm 'PPOO'; they are: PPO, A2C"):
        load_sb3(path, "DroneTrack", "PPOO")
    with pytest.raises(ValueError, match="cannot be read as a model of SB3's SAC"):
        load_sb3(path, "DroneTrack", "SAC")
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a model of SB3's PPO"):
        load_sb3(path, "DroneTrack")
