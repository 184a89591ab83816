"""A plain SB3 policy is stored, read back and flown as the model it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from undrift.agents import algorithms
from undrift.agents.peers import Peer, load_peer

ENV_ID, ENV_KWARGS = "Pendulum-v1", {"g": 9.81}
POLICY = {"net_arch": [8, 8]}
FILES = {"config.json", "policy.safetensors", "normalise.json"}


def trained(kind: type[BaseAlgorithm], normalised: bool, **kwargs: Any) -> BaseAlgorithm:
    env = make_vec_env(ENV_ID, 2, seed=0, env_kwargs=ENV_KWARGS)
    if normalised:
        env = VecNormalize(env, clip_obs=0.5)
    return kind("MlpPolicy", env, policy_kwargs=dict(POLICY), seed=0, device="cpu", **kwargs).learn(256)


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
    np.testing.assert_array_equal(action, model.predict(shown, deterministic=True)[0])
    assert state is None and np.ptp(action) > 0.01
    assert peer.predict(raw[0])[0].shape == (1,)
    assert {path.name for path in stored.iterdir()} == FILES


@pytest.mark.parametrize(
    ("kind", "kwargs"), [(PPO, {"n_steps": 64}), (SAC, {"learning_starts": 200})], ids=lambda value: str(value)
)
def test_a_policy_trained_on_raw_observations_is_shown_them(kind, kwargs, tmp_path):
    model, raw = trained(kind, normalised=False, **kwargs), observations()
    Peer.of(model, ENV_ID, ENV_KWARGS).save(tmp_path / "peer", {})
    peer = load_peer(tmp_path / "peer")
    np.testing.assert_array_equal(peer.predict(raw)[0], model.predict(raw, deterministic=True)[0])
    assert {path.name for path in (tmp_path / "peer").iterdir()} == FILES - {"normalise.json"}


def test_the_config_says_what_was_flown_and_how_it_was_trained(stored):
    config = load_peer(stored).config
    assert (config["algorithm"], config["env_id"], config["env_kwargs"]) == ("PPO", ENV_ID, ENV_KWARGS)
    assert config["policy_kwargs"] == POLICY | {"use_sde": True}
    assert config["seed"] == 0


def test_what_is_no_plain_policy_is_refused_before_it_is_stored():
    env = gymnasium.make(ENV_ID)
    for other in (A2C("MlpPolicy", env, device="cpu"), algorithms.PPO("CfcPolicy", env, device="cpu")):
        with pytest.raises(ValueError, match="MlpPolicy of SB3's PPO or SAC"):
            Peer.of(other, ENV_ID, {})


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_truncated_file_is_refused_by_name(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_peer(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_peer(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "DQN"}, "config.json .*'DQN', known are PPO, SAC"),
        ({"env_id": "Pendulum-v99"}, "config.json .*version `v99`"),
        ({"env_kwargs": {"gravity": 9.81}}, "config.json .*gravity"),
        ({"policy_kwargs": {"net_arch": [8, 9]}}, "policy.safetensors .*size mismatch"),
        ({"env_id": "MountainCarContinuous-v0", "env_kwargs": {}}, "policy.safetensors .*size mismatch"),
    ],
    ids=lambda value: str(value),
)
def test_a_config_that_does_not_fit_is_refused(folder, change, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_peer(folder)


def test_statistics_of_other_observations_are_refused(folder):
    path = folder / "normalise.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mean": [0.0]}))
    with pytest.raises(ValueError, match=r"normalise.json .*shape, \(3,\)"):
        load_peer(folder)
