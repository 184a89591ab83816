from __future__ import annotations

import inspect

import numpy as np
import pytest
import stable_baselines3
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from undrift.agents.algorithms import A2C, PPO

SMALL = {"units": 8, "net_arch": [16]}


class Evaluating(BaseCallback):
    """Asks the policy for other actions in the middle of a rollout, as an evaluation does."""

    def _on_step(self) -> bool:
        self.model.predict(-self.locals["new_obs"], deterministic=True)
        return True


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_an_evaluation_in_the_middle_of_a_rollout_leaves_it_as_it_is(algorithm, env_id):
    rollouts = []
    for callback in (None, Evaluating()):
        model = algorithm("CfcPolicy", make_vec_env(env_id, 2, seed=0), n_steps=64, policy_kwargs=SMALL, seed=0)
        _, callback = model._setup_learn(128, callback)
        assert model.collect_rollouts(model.env, callback, model.rollout_buffer, 64)
        rollouts.append(model.rollout_buffer)
    for name in ("observations", "actions", "log_probs", "values", "returns"):
        np.testing.assert_array_equal(*(getattr(rollout, name) for rollout in rollouts), err_msg=name)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_arguments_are_those_of_sb3_in_its_order(algorithm):
    theirs = inspect.signature(getattr(stable_baselines3, algorithm.__name__)).parameters
    given = {name: parameter.default for name, parameter in theirs.items() if name not in ("policy", "env")}
    names = list(given)
    given |= {"n_steps": 32, "batch_size": 32, "gamma": 0.9, "max_grad_norm": 0.3}
    by_position = [given[name] for name in names[: names.index("policy_kwargs")]]
    policy_kwargs = dict(SMALL)
    model = algorithm("GruPolicy", make_vec_env("CartPole-v1", 2), *by_position, policy_kwargs=policy_kwargs)
    assert (model.n_steps, model.gamma, model.max_grad_norm) == (32, 0.9, 0.3)
    assert policy_kwargs == SMALL


class Transitions(RolloutBuffer):
    """Another rollout buffer than Stable-Baselines3 would choose."""


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"use_sde": True}, "leave use_sde=False"),
        ({"rollout_buffer_class": Transitions}, "leave rollout_buffer_class=None"),
    ],
)
def test_what_does_not_go_with_memory_is_refused(algorithm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        algorithm("GruPolicy", "Pendulum-v1", **kwargs)
