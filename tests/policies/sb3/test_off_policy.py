from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.torch_layers import CombinedExtractor

from undrift.policies.optim import FlatAdam
from undrift.policies.sb3 import LiquidSACPolicy, LiquidTD3Policy

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
ACTIONS = spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 10.0]))
SMALL = {"units": 5, "backbone_units": 6, "net_arch": {"pi": [7], "qf": [8, 9]}}
POLICIES = [LiquidSACPolicy, LiquidTD3Policy]
MEMORIES = [True, "separate", False]


def make(policy_class=LiquidSACPolicy, space=BOX, **kwargs):
    torch.manual_seed(0)
    return policy_class(space, ACTIONS, lambda _: 1e-3, **(SMALL | kwargs))


def sequence(policy, steps=6, rows=4):
    generator = torch.Generator().manual_seed(1)
    starts = (torch.rand(steps, rows, generator=generator) < 0.2).float()
    return torch.randn(steps, rows, 3, generator=generator), policy.initial_state(rows) + 0.5, starts


def reached(loss: torch.Tensor, module: torch.nn.Module) -> set[str]:
    """Which parts of a module the loss has a gradient in."""
    gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    names = [name.split(".")[0] for name, _ in module.named_parameters()]
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def test_the_log_probability_of_a_sample_is_that_of_a_gaussian_squashed_by_tanh():
    policy = make()
    seen = torch.randn(50, 3 + 5)
    actions, log_prob = policy.actor.sample(seen)
    mean, log_std = policy.actor.last(policy.actor.hidden[0](seen).tanh()).chunk(2, -1)
    reference = SquashedDiagGaussianDistribution(2).proba_distribution(mean, log_std)
    torch.testing.assert_close(log_prob, reference.log_prob(actions), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(policy.actor.act(seen, deterministic=True), mean.tanh())
    many = policy.actor.sample(seen[:1].expand(20_000, -1))[0].atanh()
    torch.testing.assert_close(many.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(many.std(0), log_std[0].exp(), atol=0.05, rtol=0)


def test_the_critics_are_networks_of_their_own():
    critic = make(n_critics=3).critic
    seen, actions = torch.randn(6, 4, 8), torch.randn(6, 4, 2)
    values = critic(seen, actions)
    assert values.shape == (3, 6, 4)
    for i in range(3):
        x = torch.cat([seen, actions], -1)
        for layer in range(3):
            x = x @ critic.weights[layer][i] + critic.biases[layer][i]
            x = x if layer == 2 else x.relu()
        torch.testing.assert_close(values[i], x[..., 0])
    assert not torch.allclose(values[0], values[1])


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("critic_memory", MEMORIES)
def test_each_loss_shapes_the_memory_that_is_its_own(policy_class, critic_memory):
    policy = make(policy_class, critic_memory=critic_memory)
    seen, judged, state = policy.remember(*sequence(policy))
    assert state.shape == (4, policy.state_size) == (4, 10 if critic_memory == "separate" else 5)
    own_actor, own_critics = critic_memory is not True, critic_memory is not False
    actions = policy.actor.act(seen, False)
    critic_loss, actor_loss = policy.critic(judged, actions.detach()).sum(), actions.sum()
    assert reached(critic_loss, policy.critic) == {"weights", "biases"} | ({"memory"} if own_critics else set())
    assert reached(critic_loss, policy.actor) == set()
    assert reached(actor_loss, policy.actor) == {"hidden", "last"} | ({"memory"} if own_actor else set())
    assert reached(actor_loss, policy.critic) == set()


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("critic_memory", MEMORIES)
def test_targets_start_as_copies_with_memory_and_are_not_trained(policy_class, critic_memory):
    policy = make(policy_class, critic_memory=critic_memory)
    arguments = sequence(policy)
    seen, judged, _ = policy.remember(*arguments)
    if policy_class is LiquidSACPolicy:
        target_judged = policy.judge(*arguments)
    else:
        target_seen, target_judged = policy.remember_as_target(*arguments)
        torch.testing.assert_close(target_seen, seen)
    torch.testing.assert_close(target_judged, judged)
    assert not target_judged.requires_grad
    trained = [p for network in (policy.actor, policy.critic) for p in network.parameters()]
    targets = [p for name, p in policy.named_parameters() if "target" in name]
    assert len(targets) > 0 and len(trained) + len(targets) == len(list(policy.parameters()))
    assert {p.data_ptr() for p in trained}.isdisjoint(p.data_ptr() for p in targets)
    assert isinstance(policy.actor.optimizer, FlatAdam)
    assert policy.critic.optimizer.vector.numel() == sum(p.numel() for p in policy.critic.parameters())


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("critic_memory", MEMORIES)
def test_predict_step_by_step_acts_as_on_the_whole_sequence(policy_class, critic_memory):
    policy = make(policy_class, critic_memory=critic_memory)
    obs, _, starts = sequence(policy)
    starts[0] = 1
    with torch.no_grad():
        seen, _, _ = policy.remember(obs, policy.initial_state(4), starts)
        expected = policy.actor.act(seen, True).numpy() * [2.0, 5.0] + [0.0, 5.0]
    state = None
    for t in range(6):
        actions, state = policy.predict(obs[t].numpy(), state, starts[t].numpy(), deterministic=True)
        np.testing.assert_allclose(actions, expected[t], atol=1e-5)
    assert len(state) == 1 and state[0].shape == (4, 5)


def test_samples_vary_and_stay_within_the_bounds():
    policy = make()
    actions, _ = policy.predict(np.zeros((500, 3), np.float32))
    assert (actions >= ACTIONS.low).all() and (actions <= ACTIONS.high).all()
    assert (actions.std(0) > [0.5, 1.0]).all()
    assert np.ptp(policy.predict(np.zeros((500, 3), np.float32), deterministic=True)[0], axis=0).max() == 0
    assert np.ptp(make(LiquidTD3Policy).predict(np.zeros((500, 3), np.float32))[0], axis=0).max() == 0


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("critic_memory", MEMORIES)
def test_what_is_privileged_reaches_the_critics_and_not_the_actor(policy_class, critic_memory):
    policy = make(policy_class, critic_memory=critic_memory, privileged=[1])
    obs, state, starts = sequence(policy)
    other = obs.clone()
    other[..., 1] += 1.0
    seen, judged, _ = policy.remember(obs, state, starts)
    other_seen, other_judged, _ = policy.remember(other, state, starts)
    assert torch.equal(seen, other_seen) and not torch.equal(judged, other_judged)
    space = spaces.Dict({"seen": BOX, "hidden": spaces.Box(-1.0, 1.0, (2,), np.float32)})
    policy = make(policy_class, space, privileged=["hidden"], features_extractor_class=CombinedExtractor)
    action, _ = policy.predict({"seen": np.zeros(3, np.float32)}, deterministic=True)
    assert action.shape == (2,)


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_saved_policy_predicts_the_same(policy_class, tmp_path):
    policy = make(policy_class, critic_memory="separate", period=0.05, observation_scale=[1.0, 2.0, 3.0], elapsed=2)
    policy.save(tmp_path / "policy")
    loaded = policy_class.load(tmp_path / "policy", device="cpu")
    obs = np.float32([[0.1, -0.2, 0.04]])
    one, other = (p.predict(obs, deterministic=True) for p in (policy, loaded))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1][0], other[1][0])
    assert loaded.memory.cell.period == 0.05 and loaded.critic_memory == "separate"
