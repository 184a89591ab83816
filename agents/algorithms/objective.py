"""PPO's objective: in torch for every distribution, and compiled, with its gradient, for Gaussian actions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

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


def gaussian_objective(
    values: Tensor,
    means: Tensor,
    log_std: Tensor,
    bounds: tuple[np.ndarray, np.ndarray],
    rollout: SequenceSamples,
    weights: Weights,
) -> tuple[Tensor, Measured]:
    """:func:`objective` of float32 actions drawn from a Gaussian with ``means`` ``[L, B, A]`` and ``log_std`` ``[A]``, on the CPU.

    One node of the graph: at small minibatches its three dozen operations would cost as much as the networks.

    Args:
        bounds: low and high of each action, ``[A]`` each, infinite where there are none.
    """
    loss, figures, log_ratio = _GaussianObjective.apply(values, means, log_std, bounds, rollout, weights)
    return loss, Measured(figures, log_ratio)


class _GaussianObjective(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        means: Tensor,
        log_std: Tensor,
        bounds: tuple[np.ndarray, np.ndarray],
        rollout: SequenceSamples,
        weights: Weights,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = torch.empty_like(values), torch.empty_like(means), torch.empty_like(log_std)
        log_ratio, figures = torch.empty_like(values), torch.empty(len(LOSSES))
        actions = means.shape[-1]
        of_actions = means, rollout.actions
        of_steps = rollout.old_log_prob, values, rollout.old_values, rollout.advantages, rollout.returns
        _evaluate(
            *(array.detach().numpy().reshape(-1, actions) for array in of_actions),
            *(array.detach().numpy().reshape(-1) for array in of_steps),
            log_std.detach().numpy(),
            bounds,
            *weights,
            gradients[0].numpy().reshape(-1),
            gradients[1].numpy().reshape(-1, actions),
            gradients[2].numpy(),
            log_ratio.numpy().reshape(-1),
            figures.numpy(),
        )
        ctx.gradients = gradients
        ctx.mark_non_differentiable(figures, log_ratio)
        return figures[-1].clone(), figures, log_ratio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return *(own * gradient for own in ctx.gradients), None, None, None


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
