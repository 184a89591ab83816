"""Twin delayed deep deterministic policy gradient with memory, on Stable-Baselines3's classes."""

from __future__ import annotations

from typing import ClassVar

import stable_baselines3
import torch
from stable_baselines3.common.policies import BasePolicy

from ...policies.sb3 import TD3_POLICY_ALIASES
from ...policies.sb3.off_policy import LiquidTD3Policy
from .off_policy import OffPolicyMemory, step
from .replay import ReplayedSequences


class TD3(OffPolicyMemory, stable_baselines3.TD3):
    """TD3 for policies with memory: ``learn``, ``predict``, ``save``, ``load`` and callbacks as in SB3's own.

    Learns from sequences with stored states and burn-in; arguments and errors are those of :class:`OffPolicyMemory`.
    Without ``action_noise`` it explores in the warm-up alone.

    Reference: Fujimoto et al. 2018, https://arxiv.org/abs/1802.09477
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = TD3_POLICY_ALIASES  # type: ignore[assignment]
    policy: LiquidTD3Policy  # type: ignore[assignment]

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.actor.optimizer, self.critic.optimizer]

    def _update(self, batch: ReplayedSequences) -> dict[str, float]:
        policy, learnt = self.policy, slice(self.seq_len)
        seen, judged = self._remember(batch)
        with torch.no_grad():
            target_seen, target_judged = (
                features[self.burn_in :]
                for features in policy.remember_as_target(batch.observations, batch.states, batch.episode_starts)
            )
            actions = policy.actor_target.act(target_seen)
            noise = (self.target_policy_noise * torch.randn_like(actions)).clamp_(
                -self.target_noise_clip, self.target_noise_clip
            )
            next_values = policy.critic_target(target_judged, (actions + noise).clamp_(-1.0, 1.0)).amin(0)
        critic_loss = self._critic_loss(judged, batch, next_values)
        figures = {"critic_loss": step(policy.critic.optimizer, critic_loss, policy.critic.parameters())}

        if self._n_updates % self.policy_delay == 0:
            values = policy.critic(judged[learnt].detach(), policy.actor.act(seen[learnt]))[0]
            actor_loss = -(values * batch.weights).sum()
            figures["actor_loss"] = step(policy.actor.optimizer, actor_loss, policy.actor.parameters())
            self._follow(policy.critic_target, policy.critic)
            self._follow(policy.actor_target, policy.actor)
        return figures
