from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN

from undrift.policies.cells import CELLS
from undrift.policies.sb3.actor_critic import LiquidPolicy, _TanhNetwork
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


@pytest.mark.parametrize("wiring", [None, Wiring.auto_ncp(5, 12, 3)], ids=["dense", "ncp"])
def test_the_deployed_policy_acts_like_predict(wiring):
    policy = make_policy(wiring=wiring, period=0.05)
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


def test_the_deployed_policy_neither_needs_what_is_privileged_nor_any_other_clock():
    policy = make_policy(privileged=[0, 2], elapsed=4, period=0.5)
    with torch.no_grad():
        policy.action_net.weight.mul_(20.0)
    deployed = policy.deployed(["a", "b", "c", "d", "step_duration"])
    assert deployed.observation_names == ("b", "d", "step_duration")
    obs = np.abs(observations(6, 3))
    state, h = None, deployed.initial_state(3)
    for row in obs:
        expected, state = policy.predict(row, state, deterministic=True)
        action, h = deployed.step(row[:, [1, 3, 4]], h, row[:, 4])
        np.testing.assert_allclose(action, expected, atol=2e-6)
    other, _ = deployed.step(row[:, [1, 3, 4]], deployed.initial_state(3), 0.1 * row[:, 4])
    assert np.abs(other - deployed.step(row[:, [1, 3, 4]], deployed.initial_state(3), row[:, 4])[0]).max() > 1e-3


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


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cell": "lstn"}, "unknown cell 'lstn'; the cells are .*cfc"),
        ({"observation_scale": [1.0, 2.0]}, "5 positive numbers"),
        ({"observation_scale": [1.0, 1.0, 0.0, 1.0, 1.0]}, "5 positive numbers"),
        ({"use_sde": True}, "use_sde=False"),
        ({"cell": "gru", "backbone_units": 8}, "cell 'gru' takes 'backbone_units'; the cell takes units, backend"),
        ({"cell": "ltc", "solver": "magic"}, "unknown solver 'magic'"),
        ({"net_arc": [8]}, "neither the policy nor its cell 'cfc' takes 'net_arc'"),
        ({"critic_memory": "shared"}, 'critic_memory is True, "separate" or False'),
        ({"privileged": [5]}, "unseen part 5 is not among the channels of the observation: 0 to 4"),
        ({"elapsed": "time"}, "elapsed 'time' is not among the channels"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_do(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_policy(**kwargs)


def test_only_actions_between_minus_one_and_one_can_be_deployed():
    for space in (spaces.Box(-2.0, 2.0, (2,), np.float32), spaces.Discrete(3)):
        with pytest.raises(ValueError, match=r"Box\(-1, 1\)"):
            make_policy(space).deployed()


def test_only_a_flat_box_of_observations_can_be_deployed():
    for space, extractor in (
        (spaces.Dict({"a": OBSERVATIONS}), CombinedExtractor),
        (spaces.Box(0, 255, (1, 36, 36), np.uint8), NatureCNN),
    ):
        policy = LiquidPolicy(space, ACTIONS, lambda _: 1e-3, features_extractor_class=extractor, units=4)
        with pytest.raises(ValueError, match="only a policy that reads a flat Box"):
            policy.deployed()
    with pytest.raises(ValueError, match="one name for each channel"):
        make_policy().deployed(["a", "b"])


def test_the_fused_network_has_the_gradient_of_its_formula():
    torch.manual_seed(0)
    double = {"dtype": torch.float64, "requires_grad": True}
    x, shapes = torch.randn(4, 5, **double), ((6, 5), (6,), (7, 6), (7,), (2, 7), (2,))
    layers = [torch.randn(*shape, **double) for shape in shapes]
    torch.autograd.gradcheck(_TanhNetwork.apply, (x, *layers))
    hidden = torch.tanh(torch.tanh(x @ layers[0].T + layers[1]) @ layers[2].T + layers[3])
    torch.testing.assert_close(_TanhNetwork.apply(x, *layers), hidden @ layers[4].T + layers[5])
