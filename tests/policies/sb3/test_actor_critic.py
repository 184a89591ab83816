from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor

from undrift.policies.cells import CELLS
from undrift.policies.sb3.actor_critic import LiquidPolicy
from undrift.policies.wiring import Wiring

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (5,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
SCALE = [0.5, 1.0, 2.0, 4.0, 8.0]


def make_policy(action_space: spaces.Space = ACTIONS, seed: int = 0, **kwargs) -> LiquidPolicy:
    torch.manual_seed(seed)
    kwargs = {"units": 12, "net_arch": {"pi": [20], "vf": [24]}, "observation_scale": SCALE} | kwargs
    if kwargs.get("cell", "cfc") == "cfc" and kwargs.get("wiring") is None:
        kwargs = {"backbone_units": 16} | kwargs
    return LiquidPolicy(OBSERVATIONS, action_space, lambda _: 1e-3, **kwargs)


def observations(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, 5)).astype(np.float32) * np.float32(SCALE)


def by_hand(policy: LiquidPolicy, obs: np.ndarray) -> np.ndarray:
    """Mean actions [T, A] of one episode, from the cell's single step and plain matrix products."""
    cell, h, means = policy.cell, policy.cell.initial_state(1), []
    layers = [layer for layer in policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for row in obs:
            x = torch.tensor(row / np.float32(SCALE))[None]
            h = cell.step(x, h, torch.full((1,), cell.period))
            features = torch.cat([x, cell.output(h)], 1)
            for layer in layers:
                features = torch.tanh(features @ layer.weight.T + layer.bias)
            means.append((features @ policy.action_net.weight.T + policy.action_net.bias)[0].numpy())
    return np.array(means)


def predict_episode(policy: LiquidPolicy, obs: np.ndarray) -> np.ndarray:
    state, actions = None, []
    for row in obs:
        action, state = policy.predict(row, state, deterministic=True)
        actions.append(action)
    return np.array(actions)


@pytest.mark.parametrize("wiring", [None, Wiring.auto_ncp(5, 12, 3)], ids=["dense", "ncp"])
def test_predict_carries_the_memory_of_the_cell_from_call_to_call(wiring):
    policy = make_policy(wiring=wiring)
    obs = observations(6)
    np.testing.assert_allclose(predict_episode(policy, obs), by_hand(policy, obs), atol=1e-5)


def test_predicted_actions_stay_within_the_action_space():
    policy = make_policy(log_std_init=0.0)
    with torch.no_grad():
        policy.action_net.bias += torch.tensor([5.0, -5.0])
    actions, _ = policy.predict(observations(64))
    np.testing.assert_array_equal(actions, np.tile(np.float32([1.0, -1.0]), (64, 1)))


def acted_and_judged(policy: LiquidPolicy) -> None:
    """Assert that a sequence is judged as a whole as it was acted step by step."""
    steps, rows = 7, 4
    obs = torch.from_numpy(observations(steps, rows))
    starts = torch.zeros(steps, rows)
    starts[0, 1] = starts[3, 0] = starts[3, 2] = starts[6, 3] = 1.0
    state = first = torch.randn(rows, policy.state_size).tanh()
    acted = []
    with torch.no_grad():
        for t in range(steps):
            actions, values, log_prob, state = policy(obs[t], state, starts[t])
            acted.append((actions.reshape(rows, -1).float(), values, log_prob))
        actions, values, log_prob = map(torch.stack, zip(*acted, strict=True))
        judged_values, judged_log_prob, entropy, _ = policy.evaluate_actions(obs, actions, first, starts)
    torch.testing.assert_close(judged_values, values, atol=1e-5, rtol=0)
    torch.testing.assert_close(judged_log_prob, log_prob, atol=1e-5, rtol=0)
    assert entropy.shape == (steps, rows)


@pytest.mark.parametrize(
    "action_space",
    [ACTIONS, spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(4)],
    ids=["box", "discrete", "multi-discrete", "multi-binary"],
)
def test_a_whole_sequence_is_judged_as_it_was_acted_step_by_step(action_space):
    acted_and_judged(make_policy(action_space))


@pytest.mark.parametrize("cell", CELLS)
def test_so_it_is_with_every_cell_and_a_critic_that_has_its_own(cell):
    policy = make_policy(cell=cell, critic_memory="separate")
    assert policy.state_size == 2 * policy.cell.state_size
    acted_and_judged(policy)


@pytest.mark.parametrize("critic_memory", [True, False, "separate"])
def test_so_it_is_where_only_the_critic_sees_some_channels(critic_memory):
    acted_and_judged(make_policy(critic_memory=critic_memory, privileged=[1, 3], elapsed=None))


def test_the_log_probability_is_that_of_independent_normals():
    policy = make_policy(log_std_init=-1.3)
    obs = observations(5)
    actions = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    sd = np.exp(-1.3)
    expected = (-0.5 * ((actions - by_hand(policy, obs)) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))).sum(1)
    _, log_prob, entropy, _ = policy.evaluate_actions(
        torch.from_numpy(obs)[:, None], torch.from_numpy(actions)[:, None], policy.initial_state(1), torch.zeros(5, 1)
    )
    np.testing.assert_allclose(log_prob[:, 0].detach(), expected, rtol=1e-4)
    np.testing.assert_allclose(entropy.detach(), 2 * (0.5 + np.log(sd * np.sqrt(2 * np.pi))), rtol=1e-5)


@pytest.mark.parametrize("kwargs", [{}, {"critic_memory": False}, {"privileged": [1]}], ids=str)
def test_the_critic_does_not_shape_the_memory_it_reads(kwargs):
    policy = make_policy(**kwargs)
    obs = torch.from_numpy(observations(4, 3))
    values, log_prob, _, _ = policy.evaluate_actions(
        obs, torch.zeros(4, 3, 2), policy.initial_state(3), torch.zeros(4, 3)
    )
    values.sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in policy.cell.parameters())
    assert all(parameter.grad is not None for parameter in policy.mlp_extractor.value_net.parameters())
    log_prob.sum().backward()
    assert any(parameter.grad.abs().max() > 0 for parameter in policy.cell.parameters())


def test_a_separate_critic_shapes_its_own_memory_and_not_the_actors():
    policy = make_policy(critic_memory="separate")
    obs = torch.from_numpy(observations(4, 3))
    values, log_prob, _, _ = policy.evaluate_actions(
        obs, torch.zeros(4, 3, 2), policy.initial_state(3), torch.zeros(4, 3)
    )
    values.sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in policy.memory.parameters())
    assert any(parameter.grad.abs().max() > 0 for parameter in policy.critic.parameters())
    before = torch.cat([parameter.grad.flatten() for parameter in policy.critic.parameters()])
    log_prob.sum().backward()
    assert any(parameter.grad.abs().max() > 0 for parameter in policy.memory.parameters())
    assert torch.equal(torch.cat([parameter.grad.flatten() for parameter in policy.critic.parameters()]), before)


@pytest.mark.parametrize("critic_memory", [True, False, "separate"])
def test_what_is_privileged_reaches_the_critic_and_never_the_actor(critic_memory):
    policy = make_policy(critic_memory=critic_memory, privileged=[1, 3])
    obs = torch.from_numpy(observations(6))
    other = obs.clone()
    other[:, [1, 3]] += 1.0
    state, starts = policy.initial_state(6), torch.zeros(6)
    actions, state_after = (policy.predict(seen.numpy(), deterministic=True) for seen in (obs, other))
    np.testing.assert_array_equal(actions[0], state_after[0])
    np.testing.assert_array_equal(actions[1][0], state_after[1][0])
    with torch.no_grad():
        values = [policy.predict_values(seen, state, starts) for seen in (obs, other)]
    assert (values[0] - values[1]).abs().min() > 0


def test_privileged_keys_of_a_dict_may_be_missing_when_it_acts():
    space = spaces.Dict({"seen": OBSERVATIONS, "wind": spaces.Box(-1.0, 1.0, (2,), np.float32)})
    policy = LiquidPolicy(
        space, ACTIONS, lambda _: 1e-3, privileged=["wind"], features_extractor_class=CombinedExtractor, units=4
    )
    seen = observations(3)
    full, _ = policy.predict({"seen": seen, "wind": np.ones((3, 2), np.float32)}, deterministic=True)
    np.testing.assert_array_equal(policy.predict({"seen": seen}, deterministic=True)[0], full)


def test_the_value_is_the_critics_output_times_its_scale():
    plain, scaled = make_policy(), make_policy(value_scale=20.0)
    arguments = torch.from_numpy(observations(3)), plain.initial_state(3), torch.ones(3)
    torch.testing.assert_close(scaled.predict_values(*arguments), 20 * plain.predict_values(*arguments))


@pytest.mark.parametrize(("gradient", "bound"), [(1e6, -0.75), (-1e6, -0.5)])
def test_log_std_stays_within_its_bounds_after_any_step(gradient, bound):
    policy = make_policy(log_std_init=-0.7, log_std_bounds=(-0.75, -0.5))
    for _ in range(300):
        policy.log_std.grad = torch.full_like(policy.log_std, gradient)
        policy.optimizer.step()
    assert torch.all(policy.log_std == bound)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"wiring": Wiring.auto_ncp(5, 12, 3), "units": None, "period": 0.1, "critic_memory": "separate"},
        {"value_scale": 3.0, "privileged": [2]},
        {"cell": "ltc", "unfolds": 2, "critic_memory": "separate", "elapsed": 3, "privileged": [0]},
        {"cell": "mixed_memory", "inner": {"cell": "cfc", "mode": "no_gate"}, "critic_memory": False},
    ],
    ids=["wired", "cfc", "ltc", "mixed_memory"],
)
def test_a_policy_saved_through_sb3_loads_equal(kwargs, tmp_path):
    policy = make_policy(**kwargs)
    policy.save(tmp_path / "policy.pt")
    loaded = LiquidPolicy.load(tmp_path / "policy.pt", device="cpu")
    obs = np.abs(observations(5))
    np.testing.assert_array_equal(predict_episode(loaded, obs), predict_episode(policy, obs))
    arguments = torch.from_numpy(obs), policy.initial_state(5), torch.zeros(5)
    torch.testing.assert_close(loaded.predict_values(*arguments), policy.predict_values(*arguments), rtol=0, atol=0)
    assert loaded.cell.config == policy.cell.config
