"""PPO's objective: in torch for every distribution, and compiled, with its gradient, for Gaussian actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional as F

from ...policies.sb3.networks import LinearMap, tanh_activations, tanh_gradients
from .sequences import SequenceSamples

LOSSES = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss")
"""What the log tells of a minibatch; the last is minimised."""

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class Weights(NamedTuple):
    """What the terms of the objective count, and how far they may reach."""

    clip_range: float
    clip_range_vf: float
    """infinite where the value is not clipped"""
    normalize_advantage: bool
    vf_coef: float
    ent_coef: float
    bounds_coef: float


class Measured(NamedTuple):
    """One minibatch as the log tells of it: its ``LOSSES``, and ``log(new probability / old)`` of its actions, ``[L, B]``."""

    losses: Tensor
    log_ratio: Tensor


def objective(
    values: Tensor, log_prob: Tensor, entropy: Tensor, excess: Tensor | None, rollout: SequenceSamples, weights: Weights
) -> tuple[Tensor, Measured]:
    """What PPO minimises, for any distribution of the actions.

    ``-mean(min(a r, a clip(r, 1 - c, 1 + c))) + vf_coef mean((v - R)²) - ent_coef mean(S) + bounds_coef mean(e²)`` with the
    ratio ``r`` of new to old probability, the advantage ``a``, the value ``v``, the return ``R``, the entropy ``S`` and the
    excess ``e`` of a Gaussian's mean over the action bounds.

    Args:
        values, log_prob, entropy: of the present policy, ``[L, B]`` each; entropy may be an estimate.
        excess: ``[L, B, A]``; None where the actions know no bounds.
        rollout: what the policy of the rollout did, expected and earned.
        weights: of the terms.

    Returns:
        the loss, and what the log says about it.

    Reference: Schulman et al. 2017, https://arxiv.org/abs/1707.06347
    """
    advantages = rollout.advantages
    if weights.normalize_advantage and advantages.numel() > 1:
        std, mean = torch.std_mean(advantages)
        advantages = (advantages - mean) / (std + 1e-8)
    log_ratio = log_prob - rollout.old_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - weights.clip_range, 1 + weights.clip_range)
    policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
    change = (values - rollout.old_values).clamp(-weights.clip_range_vf, weights.clip_range_vf)
    value_loss = F.mse_loss(rollout.old_values + change, rollout.returns)
    entropy_loss = -entropy.mean()
    loss = policy_loss + weights.vf_coef * value_loss + weights.ent_coef * entropy_loss
    if excess is not None:
        loss = loss + weights.bounds_coef * excess.square().mean()
    figures = torch.stack([policy_loss, value_loss, entropy_loss, loss]).detach()
    return loss, Measured(figures, log_ratio.detach())


class Heads(NamedTuple):
    """The networks of an actor and a critic, and the spread of the actions."""

    actor: Sequence[LinearMap]
    """to the means ``[A]``"""
    critic: Sequence[LinearMap]
    """to the value in units of ``value_scale``"""
    value_scale: float
    log_std: Tensor
    """``[A]``"""

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each layer, the actor's first, and ``log_std``."""
        return [*chain.from_iterable((*self.actor, *self.critic)), self.log_std]


@torch.no_grad()
def gaussian_objective(
    seen: Tensor,
    critic_seen: Tensor,
    heads: Heads,
    bounds: tuple[np.ndarray, np.ndarray],
    rollout: SequenceSamples,
    weights: Weights,
) -> tuple[Measured, tuple[Tensor | None, Tensor | None], list[Tensor]]:
    """:func:`objective` of float32 actions drawn from a Gaussian, on the CPU, and its gradient.

    Without a graph: at small minibatches its dozens of nodes would cost as much as their arithmetic.

    Args:
        seen, critic_seen: what actor and critic see, ``[L, B, ...]``.
        heads: what they make of it.
        bounds: low and high of each action, ``[A]`` each, infinite where there are none.

    Returns:
        what the log says about the loss; its gradients with respect to ``seen`` and ``critic_seen``, None where they need
        none; and those of ``heads.parameters``.
    """
    *actor_read, means = tanh_activations(seen.flatten(0, -2), heads.actor)
    *critic_read, values = tanh_activations(critic_seen.flatten(0, -2), heads.critic)
    values.mul_(heads.value_scale)
    d_means, d_values, d_log_std = (torch.empty_like(head) for head in (means, values, heads.log_std))
    log_ratio, figures = torch.empty_like(rollout.old_log_prob), torch.empty(len(LOSSES))
    of_steps = rollout.old_log_prob, values, rollout.old_values, rollout.advantages, rollout.returns
    _evaluate(
        means.numpy(),
        rollout.actions.numpy().reshape(means.shape),
        *(array.numpy().reshape(-1) for array in of_steps),
        heads.log_std.numpy(),
        bounds,
        *weights,
        d_values.numpy().reshape(-1),
        d_means.numpy(),
        d_log_std.numpy(),
        log_ratio.numpy().reshape(-1),
        figures.numpy(),
    )
    d_seen, of_actor = tanh_gradients(d_means, actor_read, heads.actor, seen.requires_grad)
    d_critic_seen, of_critic = tanh_gradients(
        d_values.mul_(heads.value_scale), critic_read, heads.critic, critic_seen.requires_grad
    )
    inputs = (
        None if d_seen is None else d_seen.view_as(seen),
        None if d_critic_seen is None else d_critic_seen.view_as(critic_seen),
    )
    return Measured(figures, log_ratio), inputs, [*of_actor, *of_critic, d_log_std]


@njit(cache=True, nogil=True)
def _moments(advantages: np.ndarray, normalize: bool) -> tuple[float, float]:
    """What to subtract from the advantages [N], and what to divide by."""
    n = advantages.size
    if not normalize or n < 2:
        return 0.0, 1.0
    mean = 0.0
    for i in range(n):
        mean += advantages[i] / n
    variance = 0.0
    for i in range(n):
        variance += (advantages[i] - mean) ** 2 / (n - 1)
    return mean, math.sqrt(variance) + 1e-8


@njit(cache=True, nogil=True)
def _evaluate(
    means,
    actions,
    old_log_prob,
    values,
    old_values,
    advantages,
    returns,
    log_std,
    bounds,
    clip_range,
    clip_range_vf,
    normalize_advantage,
    vf_coef,
    ent_coef,
    bounds_coef,
    d_values,
    d_means,
    d_log_std,
    log_ratio,
    figures,
):
    """The losses (`figures`, as in LOSSES) and the gradient of the last; means [N, A], values [N]; sums in float64."""
    n, k = means.shape
    precision = np.exp(-log_std)
    shift, scale = _moments(advantages, normalize_advantage)
    normaliser, entropy, policy_loss, value_loss, excess_loss = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(k):
        normaliser += log_std[j] + _LOG_ROOT_TAU
        entropy += log_std[j] + _LOG_ROOT_TAU + 0.5
        d_log_std[j] = -ent_coef
    for i in range(n):
        log_prob = -normaliser
        for j in range(k):
            z = (actions[i, j] - means[i, j]) * precision[j]
            log_prob -= 0.5 * z * z
        log_ratio[i] = log_prob - old_log_prob[i]
        ratio = math.exp(log_prob - old_log_prob[i])
        advantage = (advantages[i] - shift) / scale
        gain = advantage * ratio
        bound = advantage * min(max(ratio, 1.0 - clip_range), 1.0 + clip_range)
        policy_loss -= min(gain, bound) / n
        slope = -gain / n if gain <= bound else 0.0
        for j in range(k):
            z = (actions[i, j] - means[i, j]) * precision[j]
            excess = means[i, j] - min(max(means[i, j], bounds[0][j]), bounds[1][j])
            excess_loss += excess * excess / (n * k)
            d_means[i, j] = slope * z * precision[j] + bounds_coef * 2.0 * excess / (n * k)
            d_log_std[j] += slope * (z * z - 1.0)
        change = values[i] - old_values[i]
        error = old_values[i] + min(max(change, -clip_range_vf), clip_range_vf) - returns[i]
        value_loss += error * error / n
        d_values[i] = vf_coef * 2.0 * error / n if abs(change) <= clip_range_vf else 0.0
    figures[0], figures[1], figures[2] = policy_loss, value_loss, -entropy
    figures[3] = policy_loss + vf_coef * value_loss - ent_coef * entropy + bounds_coef * excess_loss


def approx_kl(log_ratio: Tensor) -> Tensor:
    """Low-variance estimate of the KL divergence from the old policy, http://joschu.net/blog/kl-approx.html."""
    return (log_ratio.exp() - 1 - log_ratio).mean()
