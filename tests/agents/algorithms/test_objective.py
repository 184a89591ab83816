from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undrift.agents.algorithms.objective import LOSSES, Heads, Weights, gaussian_objective, objective
from undrift.agents.algorithms.sequences import SequenceSamples

STEPS, ROWS, ACTIONS, SEEN, CRITIC_SEEN, SCALE = 8, 3, 2, 5, 4, 3.0
BOUNDS = np.array([-1.0, -math.inf], dtype=np.float32), np.array([1.0, math.inf], dtype=np.float32)

WEIGHTS = [
    Weights(0.2, math.inf, True, vf_coef=0.5, ent_coef=0.01, bounds_coef=0.3),
    Weights(0.1, 0.15, False, vf_coef=0.25, ent_coef=0.0, bounds_coef=0.0),
]


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape)


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, outputs))


class Present(NamedTuple):
    """The policy that is judged, and what it sees."""

    actor: nn.Sequential
    critic: nn.Sequential
    log_std: Tensor
    seen: Tensor
    critic_seen: Tensor

    @property
    def heads(self) -> Heads:
        maps = ([(own.weight, own.bias) for own in net[::2]] for net in (self.actor, self.critic))
        return Heads(*maps, SCALE, self.log_std)

    @property
    def leaves(self) -> list[Tensor]:
        return [self.seen, self.critic_seen, *self.heads.parameters]

    def outputs(self) -> tuple[Tensor, Tensor]:
        """Values and means."""
        return SCALE * self.critic(self.critic_seen)[..., 0], self.actor(self.seen)


@pytest.fixture
def present() -> Present:
    torch.manual_seed(0)
    log_std = normal(ACTIONS, scale=0.3) - 0.7
    seen = normal(STEPS, ROWS, SEEN, scale=3.0), normal(STEPS, ROWS, CRITIC_SEEN)
    tensors = [tensor.requires_grad_() for tensor in (log_std, *seen)]
    return Present(network(SEEN, ACTIONS), network(CRITIC_SEEN, 1), *tensors)


@pytest.fixture
def rollout(present: Present) -> SequenceSamples:
    """Actions near the means, so that some ratios are clipped and some are not; values likewise."""
    with torch.no_grad():
        values, means = present.outputs()
        std = present.log_std.exp()
        actions = means + std * normal(STEPS, ROWS, ACTIONS)
        log_prob = torch.distributions.Normal(means, std).log_prob(actions).sum(-1)
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


def written_out(present: Present, rollout: SequenceSamples, weights: Weights) -> tuple[Tensor, ...]:
    """The formulas in double precision: policy loss, value loss, negative entropy, their weighted sum."""
    values, means = (tensor.double() for tensor in present.outputs())
    gaussian = torch.distributions.Normal(means, present.log_std.double().exp())
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


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_objective_of_networks_and_its_gradient_are_those_of_the_formulas(present, rollout, weights):
    expected = written_out(present, rollout, weights)
    measured, inputs, of_heads = gaussian_objective(
        present.seen, present.critic_seen, present.heads, BOUNDS, rollout, weights
    )
    for name, own, figure in zip(LOSSES, measured.losses, expected, strict=True):
        assert own.item() == pytest.approx(figure.item(), rel=1e-5), name
    gradients = torch.autograd.grad(expected[-1], present.leaves)
    for own, reference in zip((*inputs, *of_heads), gradients, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_objective_in_torch_is_that_of_the_formulas(present, rollout, weights):
    expected = written_out(present, rollout, weights)
    values, means = present.outputs()
    gaussian = torch.distributions.Normal(means, present.log_std.exp())
    log_prob, entropy = gaussian.log_prob(rollout.actions).sum(-1), gaussian.entropy().sum(-1)
    excess = means - means.clamp(*map(torch.from_numpy, BOUNDS))
    loss, measured = objective(values, log_prob, entropy, excess, rollout, weights)
    assert loss.item() == pytest.approx(expected[-1].item(), rel=1e-5)
    for name, own, figure in zip(LOSSES, measured.losses, expected, strict=True):
        assert own.item() == pytest.approx(figure.item(), rel=1e-5), name
    gradients = torch.autograd.grad(expected[-1], present.leaves)
    for own, reference in zip(torch.autograd.grad(loss, present.leaves), gradients, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-5)


def test_what_needs_no_gradient_gets_none(present, rollout):
    fixed = present.seen.detach(), present.critic_seen.detach()
    assert gaussian_objective(*fixed, present.heads, BOUNDS, rollout, WEIGHTS[0])[1] == (None, None)


def test_ratios_beyond_the_clip_push_no_further(present, rollout):
    weights = Weights(0.2, math.inf, False, vf_coef=0.0, ent_coef=0.0, bounds_coef=0.0)
    far = rollout._replace(old_log_prob=rollout.old_log_prob - 5.0, advantages=rollout.advantages.abs())
    measured, inputs, of_heads = gaussian_objective(
        present.seen, present.critic_seen, present.heads, BOUNDS, far, weights
    )
    assert (measured.log_ratio > math.log(1.2)).all()
    assert not any(gradient.any() for gradient in (*inputs, *of_heads))
