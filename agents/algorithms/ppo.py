"""Proximal policy optimisation with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import explained_variance
from torch import Tensor, nn

from ...policies.optim import Gradients
from ...policies.sb3 import LiquidPolicy
from .objective import LOSSES, Heads, Measured, Weights, approx_kl, gaussian_objective, objective
from .on_policy import OnPolicyMemory
from .sequences import SequenceSamples

Differentiation = Callable[[SequenceSamples], tuple[Gradients, Measured]]


class PPO(OnPolicyMemory, stable_baselines3.PPO):
    """PPO (clip) for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    Learns from sequences with stored states, see :class:`OnPolicyMemory`.

    Reference: Schulman et al. 2017, https://arxiv.org/abs/1707.06347

    Args:
        batch_size: steps in a minibatch, a multiple of ``seq_len``.
        bounds_coef: weight of the mean squared excess of the Gaussian's mean over the action bounds; it keeps the mean
            from drifting where clipping hides it.
        *args, **kwargs: as in :class:`OnPolicyMemory`.

    Raises:
        ValueError, TypeError: as :class:`OnPolicyMemory`; ValueError also if ``batch_size`` is not a multiple of
            ``seq_len``.
    """

    def __init__(
        self,
        policy: str | type[LiquidPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int = 128,
        *args: Any,
        seq_len: int = 32,
        bounds_coef: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.bounds_coef = bounds_coef
        super().__init__(policy, env, learning_rate, n_steps, batch_size, *args, seq_len=seq_len, **kwargs)

    def _setup_model(self) -> None:
        self._check_length("batch_size", self.batch_size)
        super()._setup_model()

    def train(self) -> None:
        """Improve the policy on the rollout just collected."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout, differentiate = self.rollout_buffer.sequences(), self._differentiation()
        measured: list[Measured] = []
        for epoch in range(self.n_epochs):
            self._n_updates += 1
            if not self._train_epoch(rollout, differentiate, measured):
                if self.verbose >= 1:
                    kl = approx_kl(measured[-1].log_ratio)
                    print(f"Early stopping at step {epoch} due to reaching max kl: {kl:.2f}")
                break
        self._record(measured)

    def _train_epoch(self, rollout: SequenceSamples, differentiate: Differentiation, measured: list[Measured]) -> bool:
        """One pass over the rollout; False if the policy has moved so far that it stopped (``target_kl``)."""
        for batch in self.rollout_buffer.minibatches(rollout, self.batch_size):
            gradients, figures = differentiate(batch)
            measured.append(figures)
            if self.target_kl is not None and approx_kl(figures.log_ratio) > 1.5 * self.target_kl:
                return False
            self._descend_along(gradients)
        return True

    def _differentiation(self) -> Differentiation:
        """How to find the gradient: of actor and critic in closed form where actions are Gaussian, on the CPU."""
        policy = self.policy
        if not isinstance(self.action_space, spaces.Box) or policy.device.type != "cpu":
            return self._differentiate
        heads = Heads(policy.actor_maps, policy.critic_maps, policy.value_scale, policy.log_std)
        known = set(heads.parameters)
        memory = [parameter for parameter in self._trained() if parameter not in known]
        return partial(self._differentiate_gaussian, heads, memory, self._bounds(), self._weights())

    def _differentiate(self, batch: SequenceSamples) -> tuple[Gradients, Measured]:
        """The gradient of PPO's objective on one minibatch, and what the log says about it."""
        loss, measured = self._loss(batch)
        return self._gradients_of(loss), measured

    def _differentiate_gaussian(
        self,
        heads: Heads,
        memory: list[nn.Parameter],
        bounds: tuple[np.ndarray, np.ndarray],
        weights: Weights,
        batch: SequenceSamples,
    ) -> tuple[Gradients, Measured]:
        """The same, with a graph of the memory alone, whose parameters are all but those of the heads."""
        seen = self.policy.remember(batch.observations, batch.states, batch.episode_starts)[:2]
        measured, of_seen, of_heads = gaussian_objective(*seen, heads, bounds, batch, weights)
        found = zip(heads.parameters, of_heads, strict=True)
        gradients: dict[Tensor, Tensor | None] = {parameter: own for parameter, own in found if parameter.requires_grad}
        shaped = [(x, own) for x, own in zip(seen, of_seen, strict=True) if own is not None]
        if shaped:
            outputs, given = zip(*shaped, strict=True)
            gradients |= zip(memory, torch.autograd.grad(outputs, memory, given, allow_unused=True), strict=True)
        return gradients, measured

    def _loss(self, batch: SequenceSamples) -> tuple[Tensor, Measured]:
        """PPO's objective on one minibatch, and what the log says about it."""
        values, log_prob, entropy, parameters = self.policy.evaluate_actions(
            batch.observations, batch.actions, batch.states, batch.episode_starts
        )
        excess = self._excess(parameters) if isinstance(self.action_space, spaces.Box) else None
        return objective(values, log_prob, entropy, excess, batch, self._weights())

    def _weights(self) -> Weights:
        """Of the objective, at this moment of the schedules."""
        left = self._current_progress_remaining
        return Weights(
            clip_range=self.clip_range(left),  # type: ignore[operator]
            clip_range_vf=math.inf if self.clip_range_vf is None else self.clip_range_vf(left),  # type: ignore[operator]
            normalize_advantage=self.normalize_advantage,
            vf_coef=self.vf_coef,
            ent_coef=self.ent_coef,
            bounds_coef=self.bounds_coef,
        )

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high of each action, float32 ``[A]`` each."""
        assert isinstance(self.action_space, spaces.Box)
        space = self.action_space
        return space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)

    def _excess(self, means: Tensor) -> Tensor:
        """How far each mean lies outside the action bounds, ``[L, B, A]``."""
        low, high = (self._tensor(bound) for bound in self._bounds())
        return means - means.clamp(low, high)

    def _record(self, measured: list[Measured]) -> None:
        buffer = self.rollout_buffer
        losses = torch.stack([minibatch.losses for minibatch in measured])
        for name, figures in zip(LOSSES, losses.T, strict=True):
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
