from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from undrift.policies import CELLS, Cell, CfC, DeployedPolicy, Wiring, make_cell
from undrift.policies.kernels.backend import helper
from undrift.policies.kernels.by_address import call

INPUTS, ACTIONS = 5, 2
CONFIG = CfC(INPUTS, 9, backbone_units=11).config
MAKERS: dict[str, Callable[[], Cell]] = {
    name: partial(make_cell, {"cell": name}, input_size=INPUTS, units=9) for name in CELLS
} | {"cfc-ncp": partial(CfC, INPUTS, 13, Wiring.auto_ncp(INPUTS, 13, 3))}


def dense() -> Cell:
    return CfC(INPUTS, 9, backbone_units=11)


def build(
    make: Callable[[], Cell] = dense, squash: bool = False, gain: float = 1.0
) -> tuple[DeployedPolicy, Cell, nn.Sequential]:
    """A deployed policy beside the torch modules that its weights come from."""
    torch.manual_seed(0)
    cell = make()
    actor = nn.Sequential(
        nn.Linear(INPUTS + cell.output_size, 17), nn.Tanh(), nn.Linear(17, 6), nn.Tanh(), nn.Linear(6, ACTIONS)
    )
    actor[-1].weight.data *= gain
    config = {
        "format": 2,
        "cell": cell.config,
        "observation_scale": [0.5, 1.0, 2.0, 4.0, 0.1],
        "actor_layers": 3,
        "action_size": ACTIONS,
        "squash": squash,
        "observation_names": [f"channel_{i}" for i in range(INPUTS)],
    }
    tensors = {f"cell.{name}": value.numpy() for name, value in cell.state_dict().items()}
    for i, layer in enumerate(actor[::2]):
        tensors |= {f"actor.{i}.weight": layer.weight.detach().numpy(), f"actor.{i}.bias": layer.bias.detach().numpy()}
    return DeployedPolicy(config, tensors), cell, actor


def sample(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, INPUTS)), rng.uniform(0.005, 0.05, rows)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    "squash, gain", [(False, 1.0), (False, 30.0), (True, 30.0)], ids=["linear", "clipped", "squashed"]
)
def test_steps_are_those_of_the_torch_modules(make: Callable[[], Cell], squash: bool, gain: float) -> None:
    policy, cell, actor = build(make, squash, gain)
    scale = torch.tensor(policy.config["observation_scale"])
    h, expected_h, largest = policy.initial_state(4), cell.initial_state(4), 0.0
    for seed in range(12):
        obs, dt = sample(4, seed)
        action, h = policy.step(obs, h, dt)
        x = torch.tensor(obs, dtype=torch.float32) / scale
        with torch.no_grad():
            expected_h = cell.step(x, expected_h, torch.tensor(dt, dtype=torch.float32))
            mean = actor(torch.cat([x, cell.output(expected_h)], 1))
        expected = torch.tanh(mean) if squash else mean.clip(-1, 1)
        np.testing.assert_allclose(h, expected_h, atol=5e-6)
        np.testing.assert_allclose(action, expected, atol=5e-6 * gain)
        largest = max(largest, np.abs(mean.numpy()).max())
    assert (largest > 1.0) == (gain > 1.0), "the test must see both sides of the bound"
    assert action.dtype == np.float64 and h.dtype == np.float32


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_batch_gives_the_bits_of_single_rows(make: Callable[[], Cell]) -> None:
    policy, _, _ = build(make)
    obs, dt = sample(37)
    h = np.random.default_rng(1).uniform(-1, 1, (37, policy.state_size)).astype(np.float32)
    action, after = policy.step(obs, h, dt)
    rows = [policy.step(obs[b : b + 1], h[b : b + 1], dt[b : b + 1]) for b in range(37)]
    np.testing.assert_array_equal(action, np.concatenate([row[0] for row in rows]))
    np.testing.assert_array_equal(after, np.concatenate([row[1] for row in rows]))


@helper
def called(address: int, packed: Any, obs: Any, dt: Any, h: Any, action: Any) -> None:
    call(address, packed.ctypes.data, obs.ctypes.data, dt.ctypes.data, h.ctypes.data, action.ctypes.data)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_step_that_a_kernel_calls_by_its_address_gives_the_same_bits(make: Callable[[], Cell], squash: bool) -> None:
    policy, cell, _ = build(make, squash)
    if cell.config["cell"] not in ("cfc", "ltc"):
        assert policy.single_step is None
        return
    h, own_h, action = policy.initial_state(1), policy.initial_state(1), np.empty((1, ACTIONS))
    for seed in range(4):
        obs, dt = sample(1, seed)
        called(*policy.single_step, obs, dt, own_h, action)
        expected, h = policy.step(obs, h, dt)
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_array_equal(own_h, h)


def test_a_step_leaves_its_arguments_unchanged_and_takes_read_only_arrays() -> None:
    policy, _, _ = build()
    obs, dt = sample(2)
    h = policy.initial_state(2)
    for array in (obs, dt, h):
        array.setflags(write=False)
    action, after = policy.step(obs, h, dt)
    assert not h.any() and after.any()
    np.testing.assert_array_equal(action, policy.step(obs.tolist(), h, dt)[0])


def test_a_row_that_is_not_finite_spoils_no_other_row() -> None:
    policy, _, _ = build()
    obs, dt = sample(3)
    expected, _ = policy.step(obs, policy.initial_state(3), dt)
    obs[1, 2] = np.nan
    action, h = policy.step(obs, policy.initial_state(3), dt)
    assert np.isnan(action[1]).all() and np.isnan(h[1]).any()
    np.testing.assert_array_equal(action[[0, 2]], expected[[0, 2]])


def test_a_wrong_shape_is_refused_with_the_right_one() -> None:
    policy, _, _ = build()
    obs, dt = sample(2)
    h = policy.initial_state(2)
    for wrong in ((obs[:, :4], h, dt), (obs, h[:1], dt), (obs, h, dt[:1]), (obs[0], h[0], 0.02), (obs, h, 0.02)):
        with pytest.raises(ValueError, match=r"obs \[B, 5\], h \[B, 9\] and dt \[B\]"):
            policy.step(*wrong)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_saved_policy_loads_to_the_same_bits(tmp_path: Path, make: Callable[[], Cell]) -> None:
    policy, _, _ = build(make)
    policy.save(tmp_path / "run")
    again = DeployedPolicy.load(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["policy.json", "policy.safetensors"]
    assert again.sha256 == policy.sha256 and again.config == policy.config
    obs, dt = sample(3)
    np.testing.assert_array_equal(
        again.step(obs, again.initial_state(3), dt)[0], policy.step(obs, policy.initial_state(3), dt)[0]
    )


def test_a_pickled_policy_steps_to_the_same_bits_and_brings_no_compiled_code() -> None:
    policy, _, _ = build()
    content = pickle.dumps(policy)
    again, (obs, dt) = pickle.loads(content), sample(3)
    assert b"numba" not in content and again.sha256 == policy.sha256
    np.testing.assert_array_equal(
        again.step(obs, again.initial_state(3), dt)[0], policy.step(obs, policy.initial_state(3), dt)[0]
    )


def test_the_hash_changes_with_any_weight_and_any_key() -> None:
    policy, _, _ = build()
    tensors = {name: value.copy() for name, value in policy.tensors.items()}
    tensors["actor.2.bias"][0] += 1e-6
    hashes = {policy.sha256, DeployedPolicy(policy.config, tensors).sha256}
    hashes.add(DeployedPolicy({**policy.config, "cell": {**CONFIG, "period": 0.021}}, policy.tensors).sha256)
    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_missing_or_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    policy, _, _ = build()
    policy.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 8):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            DeployedPolicy.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        DeployedPolicy.load(tmp_path)


def test_weights_of_another_policy_are_refused(tmp_path: Path) -> None:
    policy, _, _ = build()
    other = {name: value * 2 for name, value in policy.tensors.items()}
    DeployedPolicy(policy.config, other).save(tmp_path / "other")
    policy.save(tmp_path)
    (tmp_path / "other" / "policy.safetensors").replace(tmp_path / "policy.safetensors")
    with pytest.raises(ValueError, match="does not belong to"):
        DeployedPolicy.load(tmp_path)


def test_a_json_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    policy, _, _ = build()
    policy.save(tmp_path)
    for content in (
        [1, 2],
        {"sha256": "x"},
        {**policy.config, "cell": {**CONFIG, "wiring": {"roles": 3}}, "sha256": "x"},
        "text",
    ):
        (tmp_path / "policy.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="policy.json"):
            DeployedPolicy.load(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 1}, "this version reads format 2"),
        ({"cell": "cfc"}, "cell must be a cell's configuration"),
        ({"cell": {"cell": "rnn"}}, "the cells are cfc"),
        ({"cell": {**CONFIG, "units": 8}}, r"must be \[11, 13\], got \[11, 14\]"),
        ({"squash": "no"}, "squash must be true or false"),
        ({"action_size": 0}, "action_size must be a positive whole number"),
        ({"observation_scale": [1.0] * 4}, "observation_scale needs one entry for each of the 5 inputs"),
        ({"observation_scale": [1.0, 0.0, 1.0, 1.0, 1.0]}, "observation_scale must hold positive numbers"),
        ({"observation_names": 3}, "observation_names needs one entry"),
        ({"actor_layers": 2}, "tensor 'actor.2.bias' is unknown"),
        ({"actor_layers": 4}, "tensor 'actor.3.bias' is missing"),
        ({"dropout": 0.1}, "configuration key 'dropout' is unknown"),
        ({"observation_names": [{1, 2}] * 5}, "JSON-able"),
    ],
)
def test_a_wrong_configuration_is_refused(change: dict[str, Any], message: str) -> None:
    policy, _, _ = build()
    with pytest.raises(ValueError, match=message):
        DeployedPolicy({**policy.config, **change}, policy.tensors)


def test_a_missing_key_and_weights_that_are_not_finite_are_refused() -> None:
    policy, _, _ = build()
    config = {key: value for key, value in policy.config.items() if key != "squash"}
    with pytest.raises(ValueError, match="'squash' is missing"):
        DeployedPolicy(config, policy.tensors)
    policy.tensors["actor.0.bias"][0] = np.nan
    with pytest.raises(ValueError, match="'actor.0.bias' holds values that are not finite"):
        DeployedPolicy(policy.config, policy.tensors)


def test_a_deployed_policy_runs_without_torch(tmp_path: Path) -> None:
    policy, _, _ = build()
    policy.save(tmp_path)
    program = f"""
import sys
import numpy as np
from undrift.policies import DeployedPolicy
policy = DeployedPolicy.load({str(tmp_path)!r})
action, h = policy.step(np.ones((1, 5)), policy.initial_state(1), np.full(1, 0.02))
assert action.shape == (1, 2)
assert not {{"torch", "stable_baselines3"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
