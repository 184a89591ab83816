from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from undrift.agents.algorithms import A2C, PPO

SMALL = {"units": 8, "backbone_units": 12, "net_arch": [16]}


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
