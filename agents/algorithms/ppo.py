"""Proximal policy optimisation with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from ...policies.sb3 import LiquidPolicy
from .objective import LOSSES, Measured, Weights, approx_kl, gaussian_objective, objective
from .on_policy import OnPolicyMemory
from .sequences import SequenceSamples

Schedule = Callable[[float], float]


class PPO(OnPolicyMemory, stable_baselines3.PPO):
    """PPO (clip) for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    A rollout of ``n_steps`` is cut into sequences of ``seq_len`` steps. Each keeps the memory the policy had when it
    began, and gradients run back to its beginning through the cell's whole-sequence path. A truncated episode is
    bootstrapped with the value of its last observation, read with that episode's own memory.

    Reference: Schulman et al. 2017, https://arxiv.org/abs/1707.06347

    Args:
        policy: one of :data:`~undrift.policies.sb3.POLICY_ALIASES`, for example ``"CfcPolicy"``, or a subclass of
            :class:`LiquidPolicy`.
        n_steps: steps of a rollout in each environment, a multiple of ``seq_len``.
        batch_size: steps in a minibatch, a multiple of ``seq_len``.
        seq_len: steps of one sequence, the horizon of the gradient through time.
        bounds_coef: weight of the mean squared excess of the Gaussian's mean over the action bounds; it keeps the mean
            from drifting where clipping hides it.
        env, learning_rate, n_epochs, gamma, gae_lambda, clip_range, clip_range_vf, normalize_advantage, ent_coef,
            vf_coef, max_grad_norm, target_kl, stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device:
            as in Stable-Baselines3.

    Raises:
        ValueError: if ``n_steps`` or ``batch_size`` is not a multiple of ``seq_len``, or the policy's name is unknown; and
            as :class:`LiquidPolicy`.
        TypeError: if the policy is not a :class:`LiquidPolicy`.
    """

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

    def _setup_model(self) -> None:
        self._check_length("batch_size", self.batch_size)
        super()._setup_model()

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
            self._descend(loss)
        return True

    def _loss(self, batch: SequenceSamples) -> tuple[Tensor, Measured]:
        """PPO's objective on one minibatch, and what the log says about it."""
        policy, weights = self.policy, self._weights()
        values, parameters = policy.outputs(batch.observations, batch.states, batch.episode_starts)
        bounded = isinstance(self.action_space, spaces.Box)
        if bounded and parameters.device.type == "cpu":
            return gaussian_objective(values, parameters, policy.log_std, self._bounds(), batch, weights)
        log_prob, entropy = policy.judge(parameters, batch.actions)
        return objective(values, log_prob, entropy, self._excess(parameters) if bounded else None, batch, weights)

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
