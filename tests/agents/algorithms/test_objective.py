from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from undrift.agents.algorithms.objective import LOSSES, Weights, gaussian_objective, objective
from undrift.agents.algorithms.sequences import SequenceSamples

STEPS, ROWS, ACTIONS = 8, 3, 2
BOUNDS = np.array([-1.0, -math.inf], dtype=np.float32), np.array([1.0, math.inf], dtype=np.float32)


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape)


@pytest.fixture
def present() -> tuple[Tensor, Tensor, Tensor]:
    """Values, means and log_std of the policy that is judged."""
    torch.manual_seed(0)
    tensors = normal(STEPS, ROWS), normal(STEPS, ROWS, ACTIONS), normal(ACTIONS, scale=0.3) - 0.7
    return tuple(tensor.requires_grad_() for tensor in tensors)


@pytest.fixture
def rollout(present: tuple[Tensor, Tensor, Tensor]) -> SequenceSamples:
    """Actions near the means, so that some ratios are clipped and some are not; values likewise."""
    values, means, log_std = (tensor.detach() for tensor in present)
    actions = means + log_std.exp() * normal(STEPS, ROWS, ACTIONS)
    log_prob = torch.distributions.Normal(means, log_std.exp()).log_prob(actions).sum(-1)
    return SequenceSamples(
        observations=torch.empty(0),
        actions=actions,
        states=torch.empty(0),
        episode_starts=torch.empty(0),
        old_values=values + normal(STEPS, ROWS, scale=0.2),
        old_log_prob=log_prob + normal(STEPS, ROWS, scale=0.3),
        advantages=2.0 + normal(STEPS, ROWS, scale=3.0),
        returns=normal(STEPS, ROWS),
    )


def written_out(present: tuple[Tensor, ...], rollout: SequenceSamples, weights: Weights) -> tuple[Tensor, ...]:
    """The formulas in double precision: policy loss, value loss, negative entropy, their weighted sum."""
    values, means, log_std = (tensor.double() for tensor in present)
    gaussian = torch.distributions.Normal(means, log_std.exp())
    ratio = (gaussian.log_prob(rollout.actions.double()).sum(-1) - rollout.old_log_prob.double()).exp()
    advantages = rollout.advantages.double()
    if weights.normalize_advantage:
        advantages = (advantages - advantages.mean()) / advantages.std()
    low, high = 1 - weights.clip_range, 1 + weights.clip_range
    policy = -torch.minimum(ratio * advantages, ratio.clip(low, high) * advantages).mean()
    old = rollout.old_values.double()
    near = torch.maximum(torch.minimum(values, old + weights.clip_range_vf), old - weights.clip_range_vf)
    value = (near - rollout.returns.double()).pow(2).mean()
    entropy = -gaussian.entropy().sum(-1).mean()
    excess = (means[..., 0].abs() - 1).clip(min=0).pow(2).sum() / means.numel()
    total = policy + weights.vf_coef * value + weights.ent_coef * entropy + weights.bounds_coef * excess
    return policy, value, entropy, total


@pytest.mark.parametrize(
    "weights",
    [
        Weights(0.2, math.inf, True, vf_coef=0.5, ent_coef=0.01, bounds_coef=0.3),
        Weights(0.1, 0.15, False, vf_coef=0.25, ent_coef=0.0, bounds_coef=0.0),
    ],
)
@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_the_objective_and_its_gradient_are_those_of_the_formulas(present, rollout, weights, form):
    values, means, log_std = present
    expected = written_out(present, rollout, weights)
    gradients = torch.autograd.grad(expected[-1], present)
    if form == "compiled":
        loss, measured = gaussian_objective(values, means, log_std, BOUNDS, rollout, weights)
    else:
        gaussian = torch.distributions.Normal(means, log_std.exp())
        log_prob, entropy = gaussian.log_prob(rollout.actions).sum(-1), gaussian.entropy().sum(-1)
        excess = means - means.clamp(*map(torch.from_numpy, BOUNDS))
        loss, measured = objective(values, log_prob, entropy, excess, rollout, weights)
    assert loss.item() == pytest.approx(expected[-1].item(), rel=1e-5)
    for name, own, figure in zip(LOSSES, measured.losses, expected, strict=True):
        assert own.item() == pytest.approx(figure.item(), rel=1e-5), name
    for own, reference in zip(torch.autograd.grad(loss, present), gradients, strict=True):
        torch.testing.assert_close(own, reference.float(), rtol=1e-4, atol=1e-6)


def test_ratios_beyond_the_clip_push_no_further(present, rollout):
    values, means, log_std = present
    weights = Weights(0.2, math.inf, False, vf_coef=0.0, ent_coef=0.0, bounds_coef=0.0)
    far = rollout._replace(old_log_prob=rollout.old_log_prob - 5.0, advantages=rollout.advantages.abs())
    loss, measured = gaussian_objective(values, means, log_std, BOUNDS, far, weights)
    assert (measured.log_ratio > math.log(1.2)).all()
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, present))
