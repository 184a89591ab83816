from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from undrift.agents.algorithms import A2C
from undrift.policies.optim import FlatAdam

SMALL = {"units": 8, "backbone_units": 12, "net_arch": [16]}


def pendulum(n_envs: int = 4) -> DummyVecEnv:
    return make_vec_env(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=11), n_envs, seed=0)


def make_a2c(**kwargs) -> A2C:
    return A2C("CfcPolicy", pendulum(), **({"policy_kwargs": SMALL, "seed": 0, "device": "cpu"} | kwargs))


def test_the_loss_is_the_policy_gradient_with_generalised_advantages():
    model = make_a2c(ent_coef=0.01, normalize_advantage=True, n_steps=8, seq_len=4)
    model.learn(32)
    rollout = model.rollout_buffer.sequences()
    with torch.no_grad():
        loss, losses = model._loss(rollout)
        values, log_prob, entropy, _ = model.policy.evaluate_actions(
            rollout.observations, rollout.actions, rollout.states, rollout.episode_starts
        )
    advantages = rollout.advantages.double().numpy()
    advantages = (advantages - advantages.mean()) / advantages.std(ddof=1)
    policy_loss = -(advantages * log_prob.double().numpy()).mean()
    value_loss = ((values - rollout.returns) ** 2).mean().item()
    expected = policy_loss + 0.5 * value_loss - 0.01 * entropy.mean().item()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert losses["policy_loss"].item() == pytest.approx(policy_loss, abs=1e-5)


def test_each_rollout_is_one_step_down_the_gradient():
    model = make_a2c(learning_rate=1e-3, max_grad_norm=1e9)
    before = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()
    model._setup_learn(20)
    model.collect_rollouts(model.env, model._init_callback(None), model.rollout_buffer, model.n_steps)
    loss, _ = model._loss(model.rollout_buffer.sequences())
    gradients = torch.autograd.grad(loss, list(model.policy.parameters()))
    gradient = torch.nn.utils.parameters_to_vector(gradients)
    model._logger = configure(None, [])
    model.train()
    # RMSprop's first step, with the smoothing 0.99 and epsilon 1e-5 of Mnih et al. as in Stable-Baselines3.
    expected = before - 1e-3 * gradient / (torch.sqrt(0.01 * gradient**2) + 1e-5)
    got = torch.nn.utils.parameters_to_vector(model.policy.parameters())
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-4)


def test_it_logs_what_sb3_logs():
    ours, theirs = make_a2c(), stable_baselines3.A2C("MlpPolicy", pendulum(), seed=0, device="cpu")
    logged = []
    for model in (ours, theirs):
        model.set_logger(configure(None, []))
        model.learn(20, log_interval=None)
        logged.append(set(model.logger.name_to_value))
    assert logged[0] == logged[1] != set()


def test_sequences_are_whole_rollouts_unless_told_otherwise():
    assert make_a2c().rollout_buffer.sequences().actions.shape == (5, 4, 1)
    assert make_a2c(n_steps=8, seq_len=2).rollout_buffer.sequences().actions.shape == (2, 16, 1)
    with pytest.raises(ValueError, match="n_steps=8 must be a multiple of seq_len=3"):
        make_a2c(n_steps=8, seq_len=3)


def test_the_optimiser_is_rmsprop_unless_told_otherwise():
    assert isinstance(make_a2c().policy.optimizer, torch.optim.RMSprop)
    assert isinstance(make_a2c(use_rms_prop=False).policy.optimizer, FlatAdam)
    given = SMALL | {"optimizer_class": torch.optim.SGD}
    assert isinstance(make_a2c(policy_kwargs=given).policy.optimizer, torch.optim.SGD)
    assert "optimizer_kwargs" not in SMALL and np.isfinite(make_a2c().learn(40).rollout_buffer.returns).all()
