from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from undrift.policies.sb3 import LiquidPolicy, _GaussianLogProb, _TanhNetwork
from undrift.policies.wiring import Wiring

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (5,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
SCALE = [0.5, 1.0, 2.0, 4.0, 8.0]


def make_policy(action_space: spaces.Space = ACTIONS, seed: int = 0, **kwargs) -> LiquidPolicy:
    torch.manual_seed(seed)
    kwargs = {
        "units": 12,
        "backbone_units": 16,
        "net_arch": {"pi": [20], "vf": [24]},
        "observation_scale": SCALE,
    } | kwargs
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
    policy = make_policy(wiring=wiring, backbone_units=16 if wiring is None else None)
    obs = observations(6)
    np.testing.assert_allclose(predict_episode(policy, obs), by_hand(policy, obs), atol=1e-5)


def test_predict_takes_one_observation_or_a_batch():
    policy = make_policy()
    obs = observations(4)
    batch, (state,) = policy.predict(obs, deterministic=True)
    single, (own_state,) = policy.predict(obs[2], deterministic=True)
    assert batch.shape == (4, 2) and single.shape == (2,) and state.shape == (4, 12)
    np.testing.assert_allclose(single, batch[2], atol=1e-6)
    np.testing.assert_allclose(own_state[0], state[2], atol=1e-6)


def test_an_episode_start_empties_only_that_row_of_the_memory():
    policy = make_policy()
    obs = observations(2, 3)
    _, state = policy.predict(obs[0], deterministic=True)
    actions, _ = policy.predict(obs[1], state, np.array([False, True, False]), deterministic=True)
    fresh, _ = policy.predict(obs[1], deterministic=True)
    carried, _ = policy.predict(obs[1], state, deterministic=True)
    np.testing.assert_allclose(actions[1], fresh[1], atol=1e-6)
    np.testing.assert_allclose(actions[[0, 2]], carried[[0, 2]], atol=1e-6)
    assert np.abs(carried - fresh).max() > 1e-4


def test_predicted_actions_stay_within_the_action_space():
    policy = make_policy(log_std_init=0.0)
    with torch.no_grad():
        policy.action_net.bias += torch.tensor([5.0, -5.0])
    actions, _ = policy.predict(observations(64))
    np.testing.assert_array_equal(actions, np.tile(np.float32([1.0, -1.0]), (64, 1)))


@pytest.mark.parametrize(
    "action_space",
    [ACTIONS, spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(4)],
    ids=["box", "discrete", "multi-discrete", "multi-binary"],
)
def test_a_whole_sequence_is_judged_as_it_was_acted_step_by_step(action_space):
    policy = make_policy(action_space)
    steps, rows = 7, 4
    obs = torch.from_numpy(observations(steps, rows))
    starts = torch.zeros(steps, rows)
    starts[0, 1] = starts[3, 0] = starts[3, 2] = starts[6, 3] = 1.0
    state = first = torch.randn(rows, 12).tanh()
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


def test_the_critic_reads_the_memory_but_does_not_shape_it():
    policy = make_policy()
    obs = torch.from_numpy(observations(4, 3))
    values, log_prob, _, _ = policy.evaluate_actions(
        obs, torch.zeros(4, 3, 2), policy.initial_state(3), torch.zeros(4, 3)
    )
    values.sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in policy.cell.parameters())
    assert all(parameter.grad is not None for parameter in policy.mlp_extractor.value_net.parameters())
    log_prob.sum().backward()
    assert any(parameter.grad.abs().max() > 0 for parameter in policy.cell.parameters())


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


@pytest.mark.parametrize("wiring", [None, Wiring.auto_ncp(5, 12, 3)], ids=["dense", "ncp"])
def test_the_deployed_policy_acts_like_predict(wiring):
    policy = make_policy(wiring=wiring, backbone_units=16 if wiring is None else None, period=0.05)
    with torch.no_grad():
        policy.action_net.weight.mul_(20.0)
    deployed = policy.deployed(["a", "b", "c", "d", "e"])
    obs = observations(6, 3)
    state, h = None, deployed.initial_state(3)
    for row in obs:
        expected, state = policy.predict(row, state, deterministic=True)
        action, h = deployed.step(row, h, np.full(3, 0.05))
        np.testing.assert_allclose(action, expected, atol=2e-6)
    np.testing.assert_allclose(h, state[0], atol=2e-6)
    assert deployed.observation_names == ("a", "b", "c", "d", "e")


def test_a_policy_saved_through_sb3_loads_equal(tmp_path):
    policy = make_policy(wiring=Wiring.auto_ncp(5, 12, 3), backbone_units=None, period=0.1, value_scale=3.0)
    policy.save(tmp_path / "policy.pt")
    loaded = LiquidPolicy.load(tmp_path / "policy.pt", device="cpu")
    obs = observations(5)
    np.testing.assert_array_equal(predict_episode(loaded, obs), predict_episode(policy, obs))
    assert loaded.cell.period == 0.1 and loaded.value_scale == 3.0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cell": "lstn"}, "unknown cell 'lstn'; the cells are .*cfc"),
        ({"observation_scale": [1.0, 2.0]}, "5 positive numbers"),
        ({"observation_scale": [1.0, 1.0, 0.0, 1.0, 1.0]}, "5 positive numbers"),
        ({"use_sde": True}, "use_sde=False"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_do(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_policy(**kwargs)


def test_observations_that_are_no_box_are_refused():
    with pytest.raises(TypeError, match="FlattenObservation"):
        LiquidPolicy(spaces.Dict({"a": OBSERVATIONS}), ACTIONS, lambda _: 1e-3)


def test_only_actions_between_minus_one_and_one_can_be_deployed():
    for space in (spaces.Box(-2.0, 2.0, (2,), np.float32), spaces.Discrete(3)):
        with pytest.raises(ValueError, match=r"Box\(-1, 1\)"):
            make_policy(space).deployed()


def test_the_fused_network_and_log_probability_have_the_gradients_of_their_formulas():
    torch.manual_seed(0)
    double = {"dtype": torch.float64, "requires_grad": True}
    means, log_std, actions = torch.randn(5, 3, 4, **double), torch.randn(4, **double), torch.randn(5, 3, 4).double()
    torch.autograd.gradcheck(_GaussianLogProb.apply, (means, log_std, actions))
    expected = torch.distributions.Normal(means, log_std.exp()).log_prob(actions).sum(-1)
    torch.testing.assert_close(_GaussianLogProb.apply(means, log_std, actions), expected)
    x, shapes = torch.randn(4, 5, **double), ((6, 5), (6,), (7, 6), (7,), (2, 7), (2,))
    layers = [torch.randn(*shape, **double) for shape in shapes]
    torch.autograd.gradcheck(_TanhNetwork.apply, (x, *layers))
    hidden = torch.tanh(torch.tanh(x @ layers[0].T + layers[1]) @ layers[2].T + layers[3])
    torch.testing.assert_close(_TanhNetwork.apply(x, *layers), hidden @ layers[4].T + layers[5])
