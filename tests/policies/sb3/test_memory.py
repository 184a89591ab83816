from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

from undrift.policies.cells import CELLS
from undrift.policies.sb3.memory import Features, Memory
from undrift.policies.wiring import Wiring

BOX = spaces.Box(-10.0, 10.0, (4,), np.float32)
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
DICT = spaces.Dict({"kind": spaces.Discrete(3), "vector": BOX, "wait": spaces.Box(0.0, 9.0, (1,), np.float32)})
STEPS, ROWS = 3, 2


def sampled(space: spaces.Space) -> torch.Tensor:
    """Observations [T, B, ...]."""
    space.seed(0)
    return torch.from_numpy(np.array([[space.sample() for _ in range(ROWS)] for _ in range(STEPS)]))


def sampled_dict() -> dict[str, torch.Tensor]:
    return {key: sampled(space) for key, space in DICT.spaces.items()}


def test_a_box_is_flattened_and_divided_by_its_scale():
    obs = sampled(spaces.Box(-1.0, 1.0, (2, 2), np.float64))
    features = Features(spaces.Box(-1.0, 1.0, (2, 2), np.float64), [1.0, 2.0, 4.0, 8.0])
    expected = obs.reshape(STEPS, ROWS, 4) / torch.tensor([1.0, 2.0, 4.0, 8.0])
    torch.testing.assert_close(features(obs), expected.float())


def test_channels_that_are_unseen_are_left_out_with_their_scales():
    obs = sampled(BOX)
    features = Features(BOX, [1.0, 2.0, 4.0, 8.0], unseen=[2, 0])
    assert features.size == 2 and features.scale == [2.0, 8.0]
    torch.testing.assert_close(features(obs), obs[..., [1, 3]] / torch.tensor([2.0, 8.0]))


def test_a_dict_is_read_key_by_key_with_discrete_numbers_one_hot():
    obs = sampled_dict()
    expected = torch.cat([torch.nn.functional.one_hot(obs["kind"], 3).float(), obs["vector"], obs["wait"]], -1)
    torch.testing.assert_close(Features(DICT, features_extractor_class=CombinedExtractor)(obs), expected)
    without = Features(DICT, unseen=["vector"], features_extractor_class=CombinedExtractor)
    torch.testing.assert_close(without({key: obs[key] for key in ("kind", "wait")}), expected[..., [0, 1, 2, 7]])


@pytest.mark.parametrize("normalised", [False, True])
def test_images_go_through_the_network_of_sb3(normalised):
    space = spaces.Box(0.0, 1.0, IMAGE.shape, np.float32) if normalised else IMAGE
    kwargs = {"features_dim": 5} | ({"normalized_image": True} if normalised else {})
    features = Features(
        space,
        features_extractor_class=NatureCNN,
        features_extractor_kwargs=kwargs,
        normalize_images=not normalised,
    )
    obs = sampled(space)
    scaled = obs if normalised else obs.float() / 255
    for t in range(STEPS):
        torch.testing.assert_close(features(obs)[t], features.extractor(scaled[t]))


def test_discrete_observations_are_read_too():
    for space, size in ((spaces.Discrete(4), 4), (spaces.MultiDiscrete([2, 3]), 5), (spaces.MultiBinary(6), 6)):
        x = Features(space)(sampled(space))
        assert x.shape == (STEPS, ROWS, size) and set(x.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("cell", CELLS)
def test_reading_is_the_cells_sequence_of_the_features(cell):
    torch.manual_seed(0)
    memory = Memory(BOX, cell, {"units": 6}, observation_scale=[1.0, 2.0, 4.0, 8.0], period=0.1)
    obs, state = sampled(BOX), torch.rand(ROWS, memory.state_size)
    starts = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    x, y, after = memory.read(obs, state, starts)
    expected_y, expected = memory.cell.sequence(obs / torch.tensor([1.0, 2.0, 4.0, 8.0]), state, None, starts)
    torch.testing.assert_close((y, after), (expected_y, expected))
    assert x.shape[-1] == memory.features_size and y.shape[-1] == memory.output_size
    assert memory.initial_state(3).shape == (3, memory.state_size)


@pytest.mark.parametrize("form", ["box", "dict"])
def test_the_elapsed_time_in_the_observation_is_the_cells(form):
    torch.manual_seed(0)
    if form == "box":
        memory, obs = Memory(BOX, "gru", elapsed=3), sampled(BOX).abs()
        dt = obs[..., 3]
    else:
        memory = Memory(DICT, "gru", elapsed="wait", features_extractor_class=CombinedExtractor)
        obs = sampled_dict()
        dt = obs["wait"][..., 0]
    state, starts = memory.initial_state(ROWS), torch.zeros(STEPS, ROWS)
    x, y, _ = memory.read(obs, state, starts)
    torch.testing.assert_close(y, memory.cell.sequence(x, state, dt, starts)[0])
    assert (y - memory.cell.sequence(x, state, None, starts)[0]).abs().max() > 1e-3


def test_units_and_backbone_follow_the_wiring():
    wired = Memory(BOX, "cfc", {"wiring": Wiring.auto_ncp(4, 12, 3)}).cell
    assert (wired.state_size, wired.output_size, wired.backbone_units) == (12, 3, None)
    dense = Memory(BOX, "cfc").cell
    assert (dense.state_size, dense.backbone_units) == (64, 96)
    assert Memory(BOX, "cfc", {"wiring": Wiring.auto_ncp(4, 12, 3).to_dict()}).cell.wiring == wired.wiring


@pytest.mark.parametrize(
    ("space", "kwargs", "message"),
    [
        (DICT, {}, "'MultiInputCfcPolicy'"),
        (DICT, {"features_extractor_class": NatureCNN}, "'MultiInputCfcPolicy'"),
        (BOX, {"features_extractor_class": CombinedExtractor}, "use 'CfcPolicy'"),
        (BOX, {"features_extractor_class": NatureCNN}, "reads images .* use 'CfcPolicy'"),
        (IMAGE, {"unseen": [0]}, "channels of a Box with one axis"),
        (BOX, {"unseen": range(4)}, "leave at least one"),
        (DICT, {"unseen": DICT.spaces, "features_extractor_class": CombinedExtractor}, "leave at least one"),
        (DICT, {"unseen": ["wind"], "features_extractor_class": CombinedExtractor}, "keys .*: kind, vector, wait"),
        (BOX, {"observation_scale": [1.0]}, "4 positive numbers"),
        (IMAGE, {"observation_scale": [1.0], "features_extractor_class": NatureCNN}, "VecNormalize"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(space, kwargs, message):
    with pytest.raises(ValueError, match=message):
        Features(space, **({"features_extractor_class": FlattenExtractor} | kwargs))


def test_elapsed_time_must_be_one_number():
    with pytest.raises(ValueError, match="must be one number, the time in s"):
        Memory(DICT, elapsed="vector", features_extractor_class=CombinedExtractor)


def test_a_space_sb3_does_not_know_is_refused():
    with pytest.raises(TypeError, match="Box, Discrete, MultiDiscrete, MultiBinary or a Dict"):
        Features(spaces.Tuple([BOX]))
