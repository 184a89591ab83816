from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from undrift.agents.algorithms import PPO
from undrift.agents.algorithms.base import channel_names

SMALL = {"units": 4, "net_arch": [8]}
SHORT = {"n_steps": 8, "seq_len": 8, "batch_size": 16, "seed": 0, "device": "cpu"}


class Still(gymnasium.Env):
    """Nothing happens; its three numbers are named, or are the keys of a dictionary."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, names=("position", "wind", "step_duration"), form="box") -> None:
        one = spaces.Box(0.0, 1.0, (1,), np.float32)
        if names is not None:
            self.observation_names = names
        three = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.observation_space = three if form == "box" else spaces.Dict(dict.fromkeys(names, one))

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def make_env(**kwargs) -> VecEnv:
    return make_vec_env(Still, 2, env_kwargs=kwargs)


def test_a_name_stands_for_a_cell_and_arguments_prevail_over_it():
    env = make_env()
    assert type(PPO("LtcPolicy", env, policy_kwargs=SMALL, **SHORT).policy.cell).__name__ == "LTC"
    given = SMALL | {"cell": "mixed_memory", "inner": "gru"}
    assert PPO("LtcPolicy", env, policy_kwargs=given, **SHORT).policy.cell.config["inner"]["cell"] == "gru"
    assert given == SMALL | {"cell": "mixed_memory", "inner": "gru"}


@pytest.mark.parametrize(
    ("kwargs", "elapsed"),
    [
        ({}, 2),
        ({"form": "dict"}, "step_duration"),
        ({"names": None}, None),
        ({"names": ("position", "wind", "battery")}, None),
    ],
)
def test_the_elapsed_time_is_found_by_its_name(kwargs, elapsed):
    policy = "MultiInputGruPolicy" if "form" in kwargs else "GruPolicy"
    model = PPO(policy, make_env(**kwargs), policy_kwargs=SMALL, **SHORT)
    assert model.policy.memory.elapsed == elapsed
    told = PPO(policy, make_env(**kwargs), policy_kwargs=SMALL | {"elapsed": None}, **SHORT)
    assert told.policy.memory.elapsed is None


def test_names_are_read_in_other_processes_and_not_where_channels_are_stacked():
    for names in (("position", "wind", "step_duration"), None):
        env = SubprocVecEnv([lambda names=names: Still(names)], start_method="fork")
        try:
            assert channel_names(env) == list(names or ())
        finally:
            env.close()
    assert channel_names(VecFrameStack(make_env(), 2)) == []


def test_a_normalised_clock_is_refused():
    with pytest.raises(ValueError, match="norm_obs=False"):
        PPO("GruPolicy", VecNormalize(make_env()), policy_kwargs=SMALL, **SHORT)
    with pytest.raises(ValueError, match="leave it out of norm_obs_keys"):
        PPO("MultiInputGruPolicy", VecNormalize(make_env(form="dict")), policy_kwargs=SMALL, **SHORT)
    env = VecNormalize(make_env(form="dict"), norm_obs_keys=["position", "wind"])
    model = PPO("MultiInputGruPolicy", env, policy_kwargs=SMALL, **SHORT).learn(16)
    assert model.rollout_buffer.observations["step_duration"].min() >= 0.0
    assert model.rollout_buffer.observations["wind"].min() < 0.0
    assert PPO("GruPolicy", VecNormalize(make_env(), norm_obs=False), **SHORT).policy.memory.elapsed == 2


def test_privileged_channels_are_named_and_stay_so_after_loading(tmp_path):
    model = PPO("GruPolicy", make_env(), policy_kwargs=SMALL | {"privileged": ["wind"]}, **SHORT).learn(16)
    assert model.policy.memory.features.seen == [0, 2]
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert loaded.policy.memory.features.seen == [0, 2]
    obs = torch.rand(3, 3)
    arguments = obs, loaded.policy.initial_state(3), torch.zeros(3)
    torch.testing.assert_close(loaded.policy.predict_values(*arguments), model.policy.predict_values(*arguments))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({}, "no channel 'rain'; its channels are position, wind"), ({"names": None}, "has no observation_names")],
)
def test_an_unknown_channel_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PPO("GruPolicy", make_env(**kwargs), policy_kwargs=SMALL | {"privileged": ["rain"]}, **SHORT)


def test_a_policy_class_is_taken_with_its_arguments():
    policy = PPO("MultiInputGruPolicy", make_env(form="dict"), **SHORT).policy_class
    arguments = {"cell": "lstm", "features_extractor_class": CombinedExtractor}
    model = PPO(policy, make_env(form="dict"), policy_kwargs=arguments, **SHORT)
    assert model.policy.state_size == 128
