"""Learning runs: minutes each, so ``make test-long`` runs them and ``make test`` does not.

Velocities are hidden: no policy without memory solves these tasks from one observation at a time.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformObservation
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from undrift.agents import A2C, PPO, SAC, TD3

pytestmark = pytest.mark.long


def showing(env_id: str, channels: list[int], n_envs: int, seed: int) -> VecEnv:
    """Environments that show some channels of the observation only."""

    def make() -> gymnasium.Env:
        env = gymnasium.make(env_id)
        space = env.observation_space
        assert isinstance(space, Box)
        shown = Box(space.low[channels], space.high[channels])
        return TransformObservation(env, lambda obs: obs[channels], shown)

    return make_vec_env(make, n_envs, seed)


def cartpole(n_envs: int, seed: int) -> VecEnv:
    """CartPole that shows the position of the cart and the angle of the pole."""
    return showing("CartPole-v1", [0, 2], n_envs, seed)


def mean_return(model, env: VecEnv) -> float:
    """Mean return of twenty episodes of the deterministic policy.

    CartPole: 500 at most, about 10 for a constant action. Pendulum: about -150 where velocities are seen and SB3's SAC or TD3
    has solved it, below -1000 where the pendulum hangs.
    """
    return evaluate_policy(model, env, 20)[0]


CARTPOLE = {
    "gamma": 0.98,
    "gae_lambda": 0.95,
    "learning_rate": LinearSchedule(1e-3, 0.0, 1.0),
    "seed": 0,
    "device": "cpu",
}
CARTPOLE["policy_kwargs"] = {"critic_memory": "separate", "observation_scale": [2.4, 0.2]}


def scaled(env: VecEnv) -> VecEnv:
    """The environments with rewards over the running deviation of the return."""
    return VecNormalize(env, norm_obs=False, gamma=CARTPOLE["gamma"])


def test_ppo_solves_cartpole_without_velocities():
    model = PPO("CfcPolicy", scaled(cartpole(16, seed=0)), n_steps=64, batch_size=256, **CARTPOLE).learn(100_000)
    assert mean_return(model, cartpole(10, seed=100)) >= 450


def test_a2c_solves_cartpole_without_velocities():
    arguments = CARTPOLE | {"n_steps": 16, "normalize_advantage": True, "use_rms_prop": False}
    model = A2C("CfcPolicy", scaled(cartpole(16, seed=0)), **arguments).learn(200_000)
    assert mean_return(model, cartpole(10, seed=100)) >= 450


def pendulum(n_envs: int, seed: int) -> VecEnv:
    """Pendulum that shows the cosine and the sine of its angle."""
    return showing("Pendulum-v1", [0, 1], n_envs, seed)


PENDULUM = {
    "gamma": 0.98,
    "learning_rate": LinearSchedule(1e-3, 1e-4, 1.0),
    "learning_starts": 1000,
    "gradient_steps": 4,
    "buffer_size": 16_000,
    "seed": 0,
    "device": "cpu",
}
# What tells the velocity is how much the angle's cosine and sine change from one step to the next: 0.2 at 4 rad/s.
PENDULUM["policy_kwargs"] = {
    "units": 32,
    "net_arch": [64, 64],
    "critic_memory": "separate",
    "observation_scale": [0.2, 0.2],
}


def test_sac_solves_pendulum_without_velocities():
    model = SAC("CfcPolicy", pendulum(4, seed=0), **PENDULUM).learn(12_000)
    assert mean_return(model, pendulum(10, seed=100)) >= -200


def test_td3_solves_pendulum_without_velocities():
    noise = NormalActionNoise(np.zeros(1), np.full(1, 0.4))
    model = TD3("CfcPolicy", pendulum(4, seed=0), action_noise=noise, **PENDULUM).learn(16_000)
    assert mean_return(model, pendulum(10, seed=100)) >= -200
