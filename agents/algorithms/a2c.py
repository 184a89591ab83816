"""Advantage actor-critic with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

from typing import Any

import stable_baselines3
import torch
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import explained_variance
from torch import Tensor
from torch.nn import functional as F

from ...policies.sb3 import LiquidPolicy
from .on_policy import OnPolicyMemory
from .sequences import SequenceSamples


class A2C(OnPolicyMemory, stable_baselines3.A2C):
    """A2C for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    One gradient step on each rollout, whose sequences are described by :class:`OnPolicyMemory`.

    Reference: Mnih et al. 2016, https://arxiv.org/abs/1602.01783

    Args:
        seq_len: as in :class:`OnPolicyMemory`; None for all ``n_steps``.
        *args, **kwargs: as in :class:`OnPolicyMemory`.

    Raises:
        ValueError, TypeError: as :class:`OnPolicyMemory`.
    """

    def __init__(
        self,
        policy: str | type[LiquidPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 7e-4,
        n_steps: int = 5,
        *args: Any,
        seq_len: int | None = None,
        **kwargs: Any,
    ) -> None:
        seq_len = n_steps if seq_len is None else seq_len
        super().__init__(policy, env, learning_rate, n_steps, *args, seq_len=seq_len, **kwargs)

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
