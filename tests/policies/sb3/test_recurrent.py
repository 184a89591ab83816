from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.env_util import make_vec_env

from undrift.policies import CELLS, RecurrentLiquidPolicy
from undrift.policies.wiring import Wiring

SMALL = {"units": 6, "net_arch": [8]}
OBSERVATIONS = spaces.Box(-1.0, 1.0, (3,), np.float32)
ACTIONS = spaces.Box(-2.0, 2.0, (2,), np.float32)


def pendulum():
    return make_vec_env(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=11), 2, seed=0)


def make(env=None, **policy_kwargs) -> RecurrentPPO:
    env = env or pendulum()
    return RecurrentPPO(
        RecurrentLiquidPolicy, env, n_steps=32, batch_size=16, n_epochs=2, seed=0, policy_kwargs=SMALL | policy_kwargs
    )


def parameters(model) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_recurrent_ppo_trains_saves_and_loads_any_cell(cell, tmp_path):
    model = make(cell=cell)
    before = parameters(model)
    model.learn(128)
    assert torch.isfinite(parameters(model)).all() and not torch.equal(parameters(model), before)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    loaded = RecurrentPPO.load(tmp_path / "model", device="cpu"), RecurrentLiquidPolicy.load(tmp_path / "policy")
    obs, states = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32), [None] * 3
    for seen in obs:
        actions, states = zip(
            *(
                actor.predict(seen, state, deterministic=True)
                for actor, state in zip((model, *loaded), states, strict=True)
            ),
            strict=True,
        )
        np.testing.assert_array_equal(actions[1], actions[0])
        np.testing.assert_array_equal(actions[2], actions[0])
    assert states[0][0].shape == (1, 5, model.policy.lstm_actor.hidden_size) and states[0][0].any()


def test_the_update_sees_the_log_probabilities_and_values_of_the_rollout():
    model = make()
    _, callback = model._setup_learn(1000)
    for _ in range(2):
        assert model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    assert model.rollout_buffer.episode_starts.sum() > 2
    for batch in model.rollout_buffer.get(16):
        values, log_prob, _ = model.policy.evaluate_actions(
            batch.observations, batch.actions, batch.lstm_states, batch.episode_starts
        )
        there = batch.mask > 0
        torch.testing.assert_close(log_prob[there], batch.old_log_prob[there], atol=1e-5, rtol=0)
        torch.testing.assert_close(values.flatten()[there], batch.old_values[there], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "critic", [{"shared_lstm": True, "enable_critic_lstm": False}, {"enable_critic_lstm": False}, {}]
)
def test_an_lstm_of_ours_computes_what_sb3_contribs_does(critic):
    theirs = RecurrentActorCriticPolicy(
        OBSERVATIONS, ACTIONS, lambda _: 1e-3, net_arch=[8], lstm_hidden_size=6, **critic
    )
    ours = RecurrentLiquidPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, cell="lstm", **SMALL, **critic)
    weights = theirs.state_dict()
    own = {name: tensor for name, tensor in weights.items() if not name.startswith("lstm")}
    for memory in {name.split(".")[0] for name in weights if name.startswith("lstm")}:
        from_input, from_state, *biases = (
            weights[f"{memory}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        cell = f"{memory}.cell"
        own[f"{cell}.input.weight"] = torch.cat([from_input, torch.zeros(24, 1)], 1)  # nothing reads the elapsed time
        own |= {f"{cell}.input.bias": sum(biases), f"{cell}.recurrent.weight": from_state}
    ours.load_state_dict(own)
    torch.manual_seed(0)
    obs, actions, state = torch.randn(10, 3), torch.randn(10, 2), torch.randn(4, 1, 2, 6)
    starts = torch.zeros(10)
    starts[[2, 5, 9]] = 1
    h, c, critic_h, critic_c = state
    joined = [torch.cat(pair, -1) for pair in ((h, c), (critic_h, critic_c))]
    expected = theirs.evaluate_actions(obs, actions, RNNStates((h, c), (critic_h, critic_c)), starts)
    got = ours.evaluate_actions(obs, actions, RNNStates(*((pair, torch.zeros_like(pair)) for pair in joined)), starts)
    for ours_said, theirs_said in zip(got, expected, strict=True):
        torch.testing.assert_close(ours_said, theirs_said)


class Noise(gymnasium.Env):
    """Shows noise and pays for nothing."""

    action_space = spaces.Discrete(2)

    def __init__(self, observation_space: spaces.Space) -> None:
        self.observation_space = observation_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize(
    "space",
    [spaces.Dict({"a": OBSERVATIONS, "b": spaces.Discrete(3)}), spaces.Box(0, 255, (1, 36, 36), np.uint8)],
    ids=["dict", "image"],
)
def test_it_chooses_the_features_extractor_by_the_observation(space):
    extractor = {} if isinstance(space, spaces.Dict) else {"features_extractor_kwargs": {"features_dim": 8}}
    model = make(make_vec_env(lambda: Noise(space), 2, seed=0), **extractor)
    assert torch.isfinite(parameters(model.learn(64))).all()


def test_a_wiring_tells_the_size_and_is_saved(tmp_path):
    wiring = Wiring.auto_ncp(inputs=3, units=9, outputs=2)
    policy = RecurrentLiquidPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, cell="ltc", wiring=wiring)
    assert (policy.lstm_actor.hidden_size, policy.lstm_output_dim) == (9, 2)
    policy.save(tmp_path / "policy")
    assert RecurrentLiquidPolicy.load(tmp_path / "policy").lstm_actor.cell.wiring == wiring


def test_a_feature_can_be_the_elapsed_time():
    policy = RecurrentLiquidPolicy(OBSERVATIONS, ACTIONS, lambda _: 1e-3, elapsed=2, **SMALL)
    cell = policy.lstm_actor.cell
    x = torch.rand(4, 3)
    state = torch.randn(1, 4, 6)
    _, (after, _) = policy.get_distribution(x, (state, state), torch.zeros(4))
    torch.testing.assert_close(after[0], cell.step(x, state[0], x[:, 2]))
    assert not torch.allclose(after[0], cell.step(x, state[0]))


def test_arguments_of_an_lstm_are_refused():
    with pytest.raises(ValueError, match="takes 'lstm_hidden_size'; the cell takes .*units"):
        make(lstm_hidden_size=64)
    with pytest.raises(ValueError, match="unknown cell 'rnn'"):
        make(cell="rnn")
