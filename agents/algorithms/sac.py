"""Soft actor-critic with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
import torch
from stable_baselines3.common.policies import BasePolicy

from ...policies.sb3 import SAC_POLICY_ALIASES
from ...policies.sb3.off_policy import LiquidSACPolicy
from .off_policy import OffPolicyMemory, step
from .replay import ReplayedSequences


class SAC(OffPolicyMemory, stable_baselines3.SAC):
    """SAC for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    Learns from sequences with stored states and burn-in; arguments and errors are those of :class:`OffPolicyMemory`.

    Reference: Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = SAC_POLICY_ALIASES  # type: ignore[assignment]
    policy: LiquidSACPolicy  # type: ignore[assignment]

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers = self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer
        return [optimizer for optimizer in optimizers if optimizer is not None]

    def _update(self, batch: ReplayedSequences) -> dict[str, float]:
        policy, learnt = self.policy, slice(self.seq_len)
        seen, judged = self._remember(batch)
        actions, log_prob = policy.actor.sample(seen)
        figures = self._tune_entropy((log_prob[learnt] * batch.weights).sum().item())
        ent_coef = figures["ent_coef"]

        with torch.no_grad():
            target_judged = policy.judge(batch.observations, batch.states, batch.episode_starts)[self.burn_in :]
            next_values = policy.critic_target(target_judged, actions).amin(0) - ent_coef * log_prob
        critic_loss = 0.5 * self._critic_loss(judged, batch, next_values)
        figures["critic_loss"] = step(policy.critic.optimizer, critic_loss, policy.critic.parameters())

        values = policy.critic(judged[learnt].detach(), actions[learnt]).amin(0)
        actor_loss = ((ent_coef * log_prob[learnt] - values) * batch.weights).sum()
        figures["actor_loss"] = step(policy.actor.optimizer, actor_loss, policy.actor.parameters())
        if self._n_updates % self.target_update_interval == 0:
            self._follow(policy.critic_target, policy.critic)
        return figures

    def _tune_entropy(self, log_prob: float) -> dict[str, float]:
        """The entropy coefficient for this update, after which it moves towards the target entropy where it is learned."""
        if self.ent_coef_optimizer is None:
            return {"ent_coef": self.ent_coef_tensor.item()}
        assert self.log_ent_coef is not None and isinstance(self.target_entropy, float)
        ent_coef = self.log_ent_coef.exp().item()
        loss = -(self.log_ent_coef * (log_prob + self.target_entropy)).sum()
        return {"ent_coef": ent_coef, "ent_coef_loss": step(self.ent_coef_optimizer, loss, [self.log_ent_coef])}
