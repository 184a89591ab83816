"""Advantage actor-critic with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import stable_baselines3
import torch
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from torch import Tensor
from torch.nn import functional as F

from ...policies.sb3 import LiquidPolicy
from .on_policy import OnPolicyMemory
from .sequences import SequenceSamples


class A2C(OnPolicyMemory, stable_baselines3.A2C):
    """A2C for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    One gradient step on each rollout of ``n_steps``, which is cut into sequences of ``seq_len`` steps as in
    :class:`~undrift.agents.algorithms.ppo.PPO`.

    Reference: Mnih et al. 2016, https://arxiv.org/abs/1602.01783

    Args:
        policy: one of :data:`~undrift.policies.sb3.POLICY_ALIASES`, for example ``"CfcPolicy"``, or a subclass of
            :class:`LiquidPolicy`.
        n_steps: steps of a rollout in each environment, a multiple of ``seq_len``.
        seq_len: steps of one sequence, the horizon of the gradient through time; None for all ``n_steps``.
        env, learning_rate, gamma, gae_lambda, ent_coef, vf_coef, max_grad_norm, rms_prop_eps, use_rms_prop,
            normalize_advantage, stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device: as in
            Stable-Baselines3.

    Raises:
        ValueError: if ``n_steps`` is not a multiple of ``seq_len``, or the policy's name is unknown; and as
            :class:`LiquidPolicy`.
        TypeError: if the policy is not a :class:`LiquidPolicy`.
    """

    def __init__(
        self,
        policy: str | type[LiquidPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Callable[[float], float] = 7e-4,
        n_steps: int = 5,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        rms_prop_eps: float = 1e-5,
        use_rms_prop: bool = True,
        normalize_advantage: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        seq_len: int | None = None,
    ) -> None:
        self.seq_len = n_steps if seq_len is None else seq_len
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            rms_prop_eps=rms_prop_eps,
            use_rms_prop=use_rms_prop,
            normalize_advantage=normalize_advantage,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=dict(policy_kwargs or {}),
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def train(self) -> None:
        """Improve the policy by one step on the rollout just collected."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        loss, losses = self._loss(self.rollout_buffer.sequences())
        self._descend(loss)
        self._n_updates += 1
        buffer = self.rollout_buffer
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.ravel(), buffer.returns.ravel())
        )
        for name, figure in losses.items():
            self.logger.record(f"train/{name}", figure.item())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())

    def _loss(self, rollout: SequenceSamples) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective on a whole rollout, and its parts by the names of the log."""
        values, log_prob, entropy, _ = self.policy.evaluate_actions(
            rollout.observations, rollout.actions, rollout.states, rollout.episode_starts
        )
        advantages = rollout.advantages
        if self.normalize_advantage:
            std, mean = torch.std_mean(advantages)
            advantages = (advantages - mean) / (std + 1e-8)
        policy_loss = -(advantages * log_prob).mean()
        value_loss = F.mse_loss(values, rollout.returns)
        entropy_loss = -entropy.mean()
        losses = {"entropy_loss": entropy_loss, "policy_loss": policy_loss, "value_loss": value_loss}
        return policy_loss + self.vf_coef * value_loss + self.ent_coef * entropy_loss, losses
