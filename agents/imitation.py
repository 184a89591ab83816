"""Imitation start: a policy with memory learns what an expert does, before reinforcement learning goes on with it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import update_learning_rate
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_normalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch.nn import functional as F

from ..policies.sb3 import LiquidPolicy
from .algorithms.on_policy import OnPolicyMemory
from .algorithms.sequences import SequenceSamples


class Expert(Protocol):
    """Whatever acts: a controller of :mod:`undrift.envs.drone.controllers`, a model of Stable-Baselines3, your own."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: np.ndarray | None = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions ``[N, ...]`` for observations ``[N, ...]``, and the state to pass with the next ones."""
        ...


class Round(NamedTuple):
    """How one round went; the learner is judged before it has learned from the round."""

    steps: int
    """Environment steps so far."""
    beta: float
    """Share of the steps in which the expert acted."""
    loss: float
    """Mean negative log-likelihood of the expert's actions under the policy that flew."""
    mean_reward: float
    """Mean reward of a step."""


def imitate(
    learner: OnPolicyMemory,
    expert: Expert,
    total_timesteps: int,
    *,
    beta: float = 0.5,
    replayed_rounds: int = 7,
    learning_rate: float = 1e-3,
    callback: MaybeCallback = None,
) -> list[Round]:
    """Teach the learner's policy to act as the expert does, on the states that the policy itself leads to (DAgger).

    Round ``i = 0, 1, ...`` is one rollout of the learner. In each of its steps the expert acts with probability
    ``beta ** i``, else the policy, and the expert says what it would have done. The policy then maximises the likelihood
    of the expert's actions by gradient descent on sequences of the rounds so far, each with the memory that the policy
    had at its beginning. The critic meanwhile learns the returns of the newest round, so that the advantages are sound
    when ``learner.learn`` goes on; the optimiser's averages are cleared for that. Each round a Gaussian's standard deviation
    is set to what the policy missed the expert's actions by, within the policy's ``log_std_bounds``, and learned from there.

    All steps are kept until the last round: for each its observation, its action and six numbers more, and one memory for
    each sequence.

    Reference: Ross, Gordon & Bagnell 2011, https://arxiv.org/abs/1011.0686

    Args:
        learner: PPO or A2C; it learns in its own environments, with its own rollout length, minibatches and clipping.
        expert: anything with ``predict``. It sees the environments' own observations, before ``VecNormalize``.
        total_timesteps: environment steps, rounded up to whole rollouts.
        beta: how fast the expert hands over; 0 lets it act in the first round alone.
        replayed_rounds: how many earlier rounds, drawn at random, are learned again beside the newest.
        learning_rate: step size of the imitation at its start, in place of the learner's; it falls linearly to zero.
        callback: as that of ``learn``; it can stop the imitation.

    Returns:
        the learning curve, one row a round.

    Raises:
        TypeError: the learner is neither PPO nor A2C, or the expert has no ``predict``.
        ValueError: an argument is out of range, or the expert's actions do not fit the environments.
    """
    if not isinstance(learner, OnPolicyMemory):
        raise TypeError(f"{type(learner).__name__} cannot imitate: give undrift.agents.PPO or A2C")
    if not hasattr(expert, "predict"):
        raise TypeError(f"{type(expert).__name__} has no predict(observation, state, episode_start, deterministic)")
    if not 0.0 <= beta <= 1.0:
        raise ValueError(f"beta is {beta}: give a probability, 0 to 1")
    total_timesteps, called = learner._setup_learn(total_timesteps, callback)
    assert learner.env is not None
    env = _Supervised(learner.env, expert, learner._last_obs, np.random.default_rng(learner.seed))
    curve: list[Round] = []
    rounds: list[SequenceSamples] = []
    called.on_training_start(locals(), globals())
    while learner.num_timesteps < total_timesteps:
        learner._update_current_progress_remaining(learner.num_timesteps, total_timesteps)
        env.begin_round(beta ** len(rounds))
        if not learner.collect_rollouts(env, called, learner.rollout_buffer, learner.n_steps):
            break
        learner.rollout_buffer.actions[:] = np.reshape(env.labels, learner.rollout_buffer.actions.shape)
        # The buffer is overwritten by the next rollout.
        rounds.append(deepcopy(learner.rollout_buffer.sequences()))
        loss = _fit_spread(learner.policy, rounds[-1])
        curve.append(Round(learner.num_timesteps, env.beta, loss, float(learner.rollout_buffer.rewards.mean())))
        update_learning_rate(learner.policy.optimizer, learning_rate * learner._current_progress_remaining)
        _train(learner, rounds, replayed_rounds)
    called.on_training_end()
    learner.policy.optimizer.state.clear()
    return curve


def learn_values(
    learner: OnPolicyMemory, total_timesteps: int, *, learning_rate: float = 1e-3, callback: MaybeCallback = None
) -> None:
    """Let the learner's critic learn the returns of its policy, which stays as it is.

    For a policy that was trained elsewhere: with a critic that knows nothing its first updates would undo what it learned. The
    critic makes the learner's number of passes over each rollout; the optimiser's averages are cleared at the end.

    Args:
        learner: PPO or A2C; the critic learns in its own environments, with its own rollout length, minibatches and clipping.
        total_timesteps: environment steps, rounded up to whole rollouts.
        learning_rate: step size, in place of the learner's.
        callback: as that of ``learn``; it can stop it.
    """
    total_timesteps, called = learner._setup_learn(total_timesteps, callback)
    assert learner.env is not None
    called.on_training_start(locals(), globals())
    while learner.num_timesteps < total_timesteps:
        if not learner.collect_rollouts(learner.env, called, learner.rollout_buffer, learner.n_steps):
            break
        update_learning_rate(learner.policy.optimizer, learning_rate)
        learner.policy.set_training_mode(True)
        rollout = learner.rollout_buffer.sequences()
        for _ in range(getattr(learner, "n_epochs", 1)):
            for batch in learner.rollout_buffer.minibatches(rollout, _batch_size(learner)):
                values, _ = learner.policy.outputs(batch.observations, batch.states, batch.episode_starts)
                learner._descend(learner.vf_coef * F.mse_loss(values, batch.returns))
    called.on_training_end()
    learner.policy.optimizer.state.clear()


class _Supervised(VecEnvWrapper):
    """Lets the expert act in some steps, and keeps what it would have done in each: `labels`, T arrays [N, ...]."""

    def __init__(self, venv: VecEnv, expert: Expert, obs: Any, rng: np.random.Generator) -> None:
        super().__init__(venv)
        self._expert, self._rng = expert, rng
        self._state: Any = None
        self._normalised = unwrap_vec_normalize(venv)
        self._see(obs, np.ones(self.num_envs, dtype=bool))
        self.begin_round(1.0)

    def begin_round(self, beta: float) -> None:
        self.beta, self.labels = beta, list[np.ndarray]()

    def _see(self, obs: Any, starts: np.ndarray) -> None:
        self._obs = obs if self._normalised is None else self._normalised.get_original_obs()
        self._starts = starts

    def reset(self) -> Any:
        obs = self.venv.reset()
        self._see(obs, np.ones(self.num_envs, dtype=bool))
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        label, self._state = self._expert.predict(
            self._obs, state=self._state, episode_start=self._starts, deterministic=True
        )
        if np.shape(label) != actions.shape:
            raise ValueError(
                f"the expert's actions have shape {np.shape(label)}, the environments take {actions.shape}"
            )
        self.labels.append(label)
        acts = self._rng.random(self.num_envs) < self.beta
        self.venv.step_async(np.where(acts.reshape(-1, *[1] * (actions.ndim - 1)), label, actions))

    def step_wait(self) -> VecEnvStepReturn:
        obs, rewards, dones, infos = self.venv.step_wait()
        self._see(obs, dones)
        return obs, rewards, dones, infos


def _fit_spread(policy: LiquidPolicy, newest: SequenceSamples) -> float:
    """Make the newest round most likely by its standard deviation alone; returns the loss before."""
    with torch.no_grad():
        _, log_prob, _, means = policy.evaluate_actions(
            newest.observations, newest.actions, newest.states, newest.episode_starts
        )
        if isinstance(policy.action_dist, DiagGaussianDistribution):
            missed_by = (means - newest.actions).square().mean((0, 1)).sqrt()
            policy.log_std.copy_(missed_by.clamp(min=1e-4).log())
            if policy.log_std_bounds is not None:
                policy.log_std.clamp_(*policy.log_std_bounds)
    return -log_prob.mean().item()


def _train(learner: OnPolicyMemory, rounds: list[SequenceSamples], replayed: int) -> None:
    """One pass over the newest round and some earlier ones; the newest teaches the critic too."""
    learner.policy.set_training_mode(True)
    newest = len(rounds) - 1
    for i in [*torch.randperm(newest)[:replayed].tolist(), newest]:
        for batch in learner.rollout_buffer.minibatches(rounds[i], _batch_size(learner)):
            values, log_prob, _, _ = learner.policy.evaluate_actions(
                batch.observations, batch.actions, batch.states, batch.episode_starts
            )
            loss = -log_prob.mean()
            if i == newest:
                loss = loss + learner.vf_coef * F.mse_loss(values, batch.returns)
            learner._descend(loss)


def _batch_size(learner: OnPolicyMemory) -> int:
    """Steps of a minibatch; A2C has none of its own, it learns from a whole rollout at once."""
    return getattr(learner, "batch_size", learner.n_steps * learner.n_envs)
