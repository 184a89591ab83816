"""Proximal policy optimisation with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ...policies.optim import FlatAdam
from ...policies.sb3 import POLICY_ALIASES, LiquidPolicy
from .sequences import SequenceBuffer, SequenceSamples

Schedule = Callable[[float], float]


class PPO(stable_baselines3.PPO):
    """PPO (clip) for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    A rollout of ``n_steps`` is cut into sequences of ``seq_len`` steps. Each keeps the memory the policy had when it
    began, and gradients run back to its beginning through the cell's whole-sequence path. A truncated episode is
    bootstrapped with the value of its last observation, read with that episode's own memory.

    Reference: Schulman et al. 2017, https://arxiv.org/abs/1707.06347

    Args:
        policy: ``"CfcPolicy"`` or a subclass of :class:`LiquidPolicy`.
        n_steps: steps of a rollout in each environment, a multiple of ``seq_len``.
        batch_size: steps in a minibatch, a multiple of ``seq_len``.
        seq_len: steps of one sequence, the horizon of the gradient through time.
        bounds_coef: weight of the mean squared excess of the Gaussian's mean over the action bounds; it keeps the mean
            from drifting where clipping hides it.
        env, learning_rate, n_epochs, gamma, gae_lambda, clip_range, clip_range_vf, normalize_advantage, ent_coef,
            vf_coef, max_grad_norm, target_kl, stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device:
            as in Stable-Baselines3.

    Raises:
        ValueError: if ``n_steps`` or ``batch_size`` is not a multiple of ``seq_len``, or the policy's name is unknown.
        TypeError: if the policy is not a :class:`LiquidPolicy`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = POLICY_ALIASES  # type: ignore[assignment]
    policy: LiquidPolicy  # type: ignore[assignment]
    rollout_buffer: SequenceBuffer
    _last_obs: np.ndarray  # type: ignore[assignment]
    _last_episode_starts: np.ndarray  # type: ignore[assignment]
    _last_state: Tensor

    def __init__(
        self,
        policy: str | type[LiquidPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int = 128,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        seq_len: int = 32,
        bounds_coef: float = 0.0,
    ) -> None:
        self.seq_len = seq_len
        self.bounds_coef = bounds_coef
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=batch_size,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            clip_range_vf=clip_range_vf,
            normalize_advantage=normalize_advantage,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            target_kl=target_kl,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            raise ValueError(
                f"unknown policy {policy_name!r}; the policies are {', '.join(sorted(self.policy_aliases))}"
            )
        return self.policy_aliases[policy_name]

    def _setup_model(self) -> None:
        for name, steps in (("n_steps", self.n_steps), ("batch_size", self.batch_size)):
            if steps % self.seq_len:
                raise ValueError(f"{name}={steps} must be a multiple of seq_len={self.seq_len}")
        if not issubclass(self.policy_class, LiquidPolicy):
            raise TypeError(
                f"{self.policy_class.__name__} has no memory; use 'CfcPolicy' or a subclass of LiquidPolicy"
            )
        super()._setup_model()
        self.rollout_buffer = SequenceBuffer(
            self.n_steps,
            self.observation_space,
            self.action_space,
            device=self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
            seq_len=self.seq_len,
            state_size=self.policy.cell.state_size,
        )
        self._last_state = self.policy.initial_state(self.n_envs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every environment; False if the callback stopped it."""
        assert isinstance(rollout_buffer, SequenceBuffer)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        features: list[Tensor] = []
        with torch.no_grad():
            for _ in range(n_rollout_steps):
                seen = self._collect_step(env, callback, rollout_buffer)
                if seen is None:
                    return False
                features.append(seen)
            # The critic does not act, so it reads the whole rollout at once.
            rollout_buffer.values[:] = self.policy.values(torch.stack(features)).cpu().numpy()
            last_values = self.policy.predict_values(
                self._tensor(self._last_obs), self._last_state, self._tensor(self._last_episode_starts)
            )
        rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=self._last_episode_starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _collect_step(self, env: VecEnv, callback: BaseCallback, rollout_buffer: SequenceBuffer) -> Tensor | None:
        """Step every environment once; returns the features the policy acted on, or None if the callback says stop."""
        obs, starts, state = self._last_obs, self._last_episode_starts, self._last_state
        seen, new_state = self.policy.remember(self._tensor(obs)[None], state, self._tensor(starts)[None])
        distribution, _ = self.policy.action_distribution(seen[0])
        sampled = distribution.sample()
        actions = sampled.cpu().numpy().reshape(-1, *self.action_space.shape)  # type: ignore[misc]
        clipped_actions = actions
        if isinstance(self.action_space, spaces.Box):
            clipped_actions = np.clip(actions, self.action_space.low, self.action_space.high)
        new_obs, rewards, dones, infos = env.step(clipped_actions)
        self.num_timesteps += env.num_envs
        callback.update_locals(locals())
        if not callback.on_step():
            return None

        if dones.any():
            ended = np.flatnonzero(dones)
            self._update_info_buffer([infos[i] for i in ended], dones[ended])
            rewards = self._bootstrap_truncated(rewards, infos, ended, new_state)
        rollout_buffer.append(obs, state, starts, actions, rewards, distribution.log_prob(sampled))
        self._last_obs, self._last_episode_starts, self._last_state = new_obs, dones, new_state  # type: ignore[assignment]
        return seen[0]

    def _bootstrap_truncated(
        self, rewards: np.ndarray, infos: list[dict[str, Any]], ended: np.ndarray, state: Tensor
    ) -> np.ndarray:
        """Rewards ``[N]`` plus, where an episode was cut short, the discounted value of the observation it stopped at."""
        cut = [i for i in ended if infos[i].get("TimeLimit.truncated") and "terminal_observation" in infos[i]]
        if not cut:
            return rewards
        last_obs = self._tensor(np.stack([infos[i]["terminal_observation"] for i in cut]))
        values = self.policy.predict_values(last_obs, state[cut], torch.zeros(len(cut), device=self.device))
        rewards = rewards.copy()
        rewards[cut] += self.gamma * values.cpu().numpy()
        return rewards

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(self.device)

    def train(self) -> None:
        """Improve the policy on the rollout just collected."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout = self.rollout_buffer.sequences()
        measured: list[Measured] = []
        for epoch in range(self.n_epochs):
            self._n_updates += 1
            if not self._train_epoch(rollout, measured):
                if self.verbose >= 1:
                    kl = approx_kl(measured[-1].log_ratio)
                    print(f"Early stopping at step {epoch} due to reaching max kl: {kl:.2f}")
                break
        self._record(measured)

    def _train_epoch(self, rollout: SequenceSamples, measured: list[Measured]) -> bool:
        """One pass over the rollout; False if the policy has moved so far that it stopped (``target_kl``)."""
        for batch in self.rollout_buffer.minibatches(rollout, self.batch_size):
            loss, figures = self._loss(batch)
            measured.append(figures)
            if self.target_kl is not None and approx_kl(figures.log_ratio) > 1.5 * self.target_kl:
                return False
            self.policy.optimizer.zero_grad()
            loss.backward()
            self._clip_gradient()
            self.policy.optimizer.step()
        return True

    def _clip_gradient(self) -> None:
        optimizer = self.policy.optimizer
        if isinstance(optimizer, FlatAdam):
            optimizer.clip_gradient(self.max_grad_norm)
        else:
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)

    def _loss(self, batch: SequenceSamples) -> tuple[Tensor, Measured]:
        """PPO's objective on one minibatch, and what the log says about it."""
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        values, log_prob, entropy, parameters = self.policy.evaluate_actions(
            batch.observations, batch.actions, batch.states, batch.episode_starts
        )
        advantages = batch.advantages
        if self.normalize_advantage:
            std, mean = torch.std_mean(advantages)
            advantages = (advantages - mean).div_(std + 1e-8)
        log_ratio = log_prob - batch.old_log_prob
        ratio = log_ratio.detach().exp()
        policy_loss = _ClippedSurrogate.apply(log_ratio, ratio, advantages, clip_range)
        if self.clip_range_vf is not None:
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
            values = batch.old_values + (values - batch.old_values).clamp(-clip_range_vf, clip_range_vf)
        value_loss = F.mse_loss(values, batch.returns)
        entropy_loss = -entropy.mean()
        loss = policy_loss + self.vf_coef * value_loss
        if self.ent_coef:
            loss = loss + self.ent_coef * entropy_loss
        if self.bounds_coef and isinstance(self.action_space, spaces.Box):
            loss = loss + self.bounds_coef * self._excess(parameters).square().mean()
        losses = {
            "entropy_loss": entropy_loss.detach(),
            "policy_gradient_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "loss": loss.detach(),
        }
        return loss, Measured(losses, log_ratio.detach())

    def _excess(self, means: Tensor) -> Tensor:
        """How far each mean lies outside the action bounds, ``[L, B, A]``."""
        assert isinstance(self.action_space, spaces.Box)
        low, high = (self._tensor(bound.ravel()) for bound in (self.action_space.low, self.action_space.high))
        return means - means.clamp(low, high)

    def _record(self, measured: list[Measured]) -> None:
        buffer = self.rollout_buffer
        for name in measured[0].losses:
            figures = torch.stack([minibatch.losses[name] for minibatch in measured])
            self.logger.record(f"train/{name}", (figures[-1] if name == "loss" else figures.mean()).item())
        log_ratio = torch.cat([minibatch.log_ratio.flatten() for minibatch in measured])
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        self.logger.record("train/approx_kl", approx_kl(log_ratio).item())
        self.logger.record("train/clip_fraction", ((log_ratio.exp() - 1).abs() > clip_range).float().mean().item())
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.ravel(), buffer.returns.ravel())
        )
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", self.clip_range(self._current_progress_remaining))  # type: ignore[operator]
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self.clip_range_vf(self._current_progress_remaining))  # type: ignore[operator]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_last_state"]


class Measured(NamedTuple):
    """One minibatch as the log tells of it: its losses, and ``log(new probability / old)`` of its actions, ``[L, B]``."""

    losses: dict[str, Tensor]
    log_ratio: Tensor


def approx_kl(log_ratio: Tensor) -> Tensor:
    """Low-variance estimate of the KL divergence from the old policy, http://joschu.net/blog/kl-approx.html."""
    return (log_ratio.exp() - 1 - log_ratio).mean()


class _ClippedSurrogate(torch.autograd.Function):
    """PPO's policy loss, ``-mean(min(advantage ratio, advantage clip(ratio)))``, as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, log_ratio: Tensor, ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
        """``ratio = exp(log_ratio)`` and ``advantages``, all of one shape; the gradient is that of ``log_ratio``."""
        gain = advantages * ratio
        bound = ratio.clamp(1 - clip_range, 1 + clip_range).mul_(advantages)
        ctx.save_for_backward(gain, gain <= bound)
        return torch.minimum(gain, bound).mean().neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gain, unclipped = ctx.saved_tensors
        return (gain * unclipped).mul_(gradient / -gain.numel()), None, None, None
