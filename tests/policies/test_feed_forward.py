from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from undrift.policies import FeedForwardPolicy
from undrift.policies.feed_forward import ACTIVATIONS

INPUTS, LOW, HIGH = 5, np.array([-1.0, 0.0]), np.array([1.0, 4.0])
TORCH = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU}


def build(activation: str = "tanh", squash: bool = False, clip: float | None = 1.5, gain: float = 1.0):
    """A policy beside the torch modules that its weights come from."""
    torch.manual_seed(0)
    actor = nn.Sequential(
        nn.Linear(INPUTS, 17), TORCH[activation](), nn.Linear(17, 6), TORCH[activation](), nn.Linear(6, 2)
    )
    actor[-1].weight.data *= gain
    config = {
        "observation_names": [f"channel_{i}" for i in range(INPUTS)],
        "observation_mean": [0.0, 1.0, -2.0, 0.5, 3.0],
        "observation_scale": [0.5, 1.0, 2.0, 4.0, 0.1],
        "observation_clip": clip,
        "activation": activation,
        "squash": squash,
        "low": LOW.tolist(),
        "high": HIGH.tolist(),
    }
    tensors = {
        f"{i}.{kind}": value.numpy() for i, layer in enumerate(actor[::2]) for kind, value in layer.state_dict().items()
    }
    return FeedForwardPolicy(config, tensors), actor


def sample(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=2.0, size=(rows, INPUTS))


def acted(policy: FeedForwardPolicy, obs: np.ndarray) -> np.ndarray:
    return policy.step(obs, policy.initial_state(len(obs)), np.full(len(obs), 0.02))[0]


@pytest.mark.parametrize("squash", [False, True])
def test_in_shares_the_bounds_are_minus_one_and_one(squash):
    policy, obs = build(squash=squash, gain=8.0)[0], sample(64)
    own, shares = acted(policy, obs), acted(policy.in_shares(), obs)
    np.testing.assert_allclose(LOW + 0.5 * (shares + 1.0) * (HIGH - LOW), own, atol=1e-5)
    assert np.abs(shares).max() <= 1.0 and np.ptp(own, axis=0)[0] > 0.5


def test_every_activation_has_its_reference():
    assert set(TORCH) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("clip", [None, 1.5])
def test_steps_are_those_of_the_torch_modules(activation, squash, clip):
    policy, actor = build(activation, squash, clip, gain=8.0)
    obs = sample(64)
    x = (obs - policy.config["observation_mean"]) / policy.config["observation_scale"]
    shown = torch.tensor(x if clip is None else np.clip(x, -clip, clip), dtype=torch.float32)
    with torch.no_grad():
        mean = actor(shown).double().numpy()
    expected = LOW + 0.5 * (np.tanh(mean) + 1.0) * (HIGH - LOW) if squash else np.clip(mean, LOW, HIGH)
    assert ((mean < LOW) | (mean > HIGH)).any() and ((mean > LOW) & (mean < HIGH)).any()
    np.testing.assert_allclose(acted(policy, obs), expected, atol=2e-4 if clip is None else 2e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_batch_gives_the_bits_of_its_rows_alone(activation):
    policy, _ = build(activation, squash=True)
    obs = sample(33)
    np.testing.assert_array_equal(acted(policy, obs), np.concatenate([acted(policy, row[None]) for row in obs]))


def test_there_is_no_memory_to_hand_on():
    policy, _ = build()
    h = policy.initial_state(3)
    assert h.shape == (3, 0) and policy.step(sample(3), h, np.ones(3))[1] is h


def test_an_observation_that_is_not_finite_gives_its_row_alone_no_finite_action():
    policy, _ = build()
    obs = sample(3)
    obs[1, 2] = np.nan
    assert np.isfinite(acted(policy, obs)).all(1).tolist() == [True, False, True]


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    policy, _ = build("relu")
    policy.save(tmp_path)
    loaded = FeedForwardPolicy.load(tmp_path)
    assert loaded.sha256 == policy.sha256 and loaded.observation_names == policy.observation_names
    np.testing.assert_array_equal(acted(loaded, sample(8)), acted(policy, sample(8)))


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_damaged_or_missing_file_is_named(tmp_path, name):
    policy, _ = build()
    policy.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        FeedForwardPolicy.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        FeedForwardPolicy.load(tmp_path)


def test_weights_of_another_policy_are_refused(tmp_path):
    build()[0].save(tmp_path)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"observation_clip": 3.0}))
    with pytest.raises(ValueError, match="sha256 differs"):
        FeedForwardPolicy.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "gelu"}, "'gelu' is unknown; they are tanh, relu, elu, leaky_relu"),
        ({"activations": "tanh"}, "'activations' is unknown; the keys are observation_names"),
        ({"squash": "yes"}, "squash must be true or false"),
        ({"observation_scale": [1.0] * 4}, "one number for each of 5 channels"),
        ({"observation_scale": [0.0] * 5}, "positive"),
        ({"observation_clip": 0.0}, "observation_clip must be positive or None"),
        ({"low": [-1.0]}, "low and high must be bounds"),
        ({"high": [1.0, float("inf")]}, "low and high must be bounds"),
        ({"low": [-1.0] * 3, "high": [1.0] * 3}, r"expected \[3, 6\] and \[3\]"),
    ],
    ids=lambda value: str(value),
)
def test_a_configuration_that_does_not_fit_is_refused(change, message):
    policy, _ = build()
    with pytest.raises(ValueError, match=message):
        FeedForwardPolicy(policy.config | change, policy.tensors)


def test_weights_that_do_not_fit_are_refused():
    policy, _ = build()
    without = {name: tensor for name, tensor in policy.tensors.items() if name != "1.bias"}
    with pytest.raises(ValueError, match=r"each layer i has <i>.weight and <i>.bias"):
        FeedForwardPolicy(policy.config, without)
    with pytest.raises(ValueError, match=r"0\.weight or 0\.bias is not finite"):
        FeedForwardPolicy(policy.config, policy.tensors | {"0.bias": np.full(17, np.nan)})


def test_observations_of_the_wrong_shape_are_named():
    policy, _ = build()
    with pytest.raises(ValueError, match=r"step takes obs \[B, 5\], got \[5\]"):
        policy.step(np.zeros(5), policy.initial_state(1), np.ones(1))
