"""What holds for the policies of every algorithm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN

from undrift.policies.kernels.backend import KERNELS
from undrift.policies.sb3 import LiquidPolicy, LiquidSACPolicy, LiquidTD3Policy
from undrift.policies.sb3.base import MemoryPolicy
from undrift.policies.wiring import Wiring

POLICIES = [LiquidPolicy, LiquidSACPolicy, LiquidTD3Policy]
OBSERVATIONS = spaces.Box(-np.inf, np.inf, (5,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
SCALE = [0.5, 1.0, 2.0, 4.0, 0.1]
NAMES = ["a", "b", "c", "d", "step_duration"]


def make(policy_class, space=OBSERVATIONS, actions=ACTIONS, **kwargs) -> MemoryPolicy:
    torch.manual_seed(0)
    policy = policy_class(space, actions, lambda _: 1e-3, **({"units": 12, "net_arch": [20, 16]} | kwargs))
    if isinstance(policy, LiquidPolicy):
        with torch.no_grad():
            policy.action_net.weight.mul_(20.0)  # its actions start near zero
    return policy


def observations(*shape: int) -> np.ndarray:
    """Channels about as large as their scales; the last, a time, is positive."""
    obs = np.random.default_rng(0).normal(size=(*shape, 5)) * SCALE
    obs[..., 4] = np.abs(obs[..., 4])
    return obs.astype(np.float32)


def assert_deployed_acts_like_predict(policy: MemoryPolicy, seen: slice | list[int]) -> None:
    """Over episodes of uneven steps, some of which end on the way; `seen` are the channels that the actor reads."""
    deployed, obs = policy.deployed(NAMES), observations(8, 3)
    starts = np.zeros((8, 3), dtype=bool)
    starts[3, 1] = starts[5, 0] = starts[5, 1] = True
    state, h, acted = None, deployed.initial_state(3), []
    for t in range(8):
        expected, state = policy.predict(obs[t], state, starts[t], deterministic=True)
        h[starts[t]] = 0.0
        action, h = deployed.step(obs[t][:, seen], h, obs[t][:, 4])
        np.testing.assert_allclose(action, expected, atol=3e-6)
        np.testing.assert_allclose(h, state[0], atol=3e-6)
        acted.append(action)
    assert np.ptp(acted) > 0.1 and (np.abs(acted) < 0.999).mean() > 0.5


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("cell", KERNELS)
def test_the_deployed_policy_acts_like_predict(policy_class, cell):
    policy = make(policy_class, cell=cell, observation_scale=SCALE, elapsed=4, period=0.08)
    assert_deployed_acts_like_predict(policy, slice(None))
    assert policy.deployed(NAMES).observation_names == tuple(NAMES)


@pytest.mark.parametrize("policy_class", POLICIES)
@pytest.mark.parametrize("critic_memory", [True, "separate", False])
def test_the_deployed_policy_does_not_need_what_is_privileged(policy_class, critic_memory):
    policy = make(
        policy_class, privileged=[0, 2], critic_memory=critic_memory, observation_scale=SCALE, elapsed=4, period=0.08
    )
    assert_deployed_acts_like_predict(policy, [1, 3, 4])
    assert policy.deployed(NAMES).observation_names == ("b", "d", "step_duration")


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_wired_policy_is_deployed_too(policy_class):
    policy = make(policy_class, wiring=Wiring.auto_ncp(5, 12, 3), units=None, elapsed=4, period=0.08)
    assert_deployed_acts_like_predict(policy, slice(None))


@pytest.mark.parametrize("policy_class", POLICIES)
def test_a_wiring_is_for_what_the_actor_reads_and_not_for_a_critic_that_sees_more(policy_class):
    wiring = Wiring.auto_ncp(4, 12, 3)
    policy = make(policy_class, wiring=wiring, units=None, privileged=[0], critic_memory="separate", elapsed=4)
    critic_memory = policy.critic if policy_class is LiquidPolicy else policy.critic.memory
    assert policy.cell.wiring == wiring and critic_memory.cell.config["wiring"] is None
    assert policy.state_size == 24


@pytest.mark.parametrize("policy_class", POLICIES)
def test_only_actions_between_minus_one_and_one_can_be_deployed(policy_class):
    with pytest.raises(ValueError, match=r"Box\(-1, 1\)"):
        make(policy_class, actions=spaces.Box(-2.0, 2.0, (2,), np.float32)).deployed()
    with pytest.raises(ValueError, match=r"Box\(-1, 1\)"):
        make(policy_class, actions=spaces.Box(-1.0, 1.0, (2, 1), np.float32)).deployed()


def test_discrete_actions_cannot_be_deployed():
    with pytest.raises(ValueError, match=r"Box\(-1, 1\)"):
        LiquidPolicy(OBSERVATIONS, spaces.Discrete(3), lambda _: 1e-3).deployed()


@pytest.mark.parametrize("policy_class", POLICIES)
def test_only_a_flat_box_of_observations_can_be_deployed(policy_class):
    for space, extractor in (
        (spaces.Dict({"a": OBSERVATIONS}), CombinedExtractor),
        (spaces.Box(0, 255, (1, 36, 36), np.uint8), NatureCNN),
    ):
        with pytest.raises(ValueError, match="only a policy that reads a flat Box"):
            make(policy_class, space, features_extractor_class=extractor).deployed()
    with pytest.raises(ValueError, match="one name for each channel"):
        make(policy_class).deployed(["a", "b"])


@pytest.mark.parametrize("policy_class", POLICIES)
def test_predict_takes_one_observation_or_a_batch(policy_class):
    policy, obs = make(policy_class), observations(4)
    batch, (state,) = policy.predict(obs, deterministic=True)
    single, (own_state,) = policy.predict(obs[2], deterministic=True)
    assert batch.shape == (4, 2) and single.shape == (2,) and state.shape == (4, 12) and own_state.shape == (1, 12)
    np.testing.assert_allclose(single, batch[2], atol=1e-6)
    np.testing.assert_allclose(own_state[0], state[2], atol=1e-6)


@pytest.mark.parametrize("policy_class", POLICIES)
def test_an_episode_start_empties_only_that_row_of_the_memory(policy_class):
    policy, obs = make(policy_class), observations(2, 3)
    _, state = policy.predict(obs[0], deterministic=True)
    actions, _ = policy.predict(obs[1], state, np.array([False, True, False]), deterministic=True)
    fresh, _ = policy.predict(obs[1], deterministic=True)
    carried, _ = policy.predict(obs[1], state, deterministic=True)
    np.testing.assert_allclose(actions[1], fresh[1], atol=1e-6)
    np.testing.assert_allclose(actions[[0, 2]], carried[[0, 2]], atol=1e-6)
    assert np.abs(carried - fresh).max() > 1e-4


@pytest.mark.parametrize("policy_class", POLICIES)
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
        ({"critic_memory": "shared"}, "critic_memory is True, \"separate\" or False, not 'shared'"),
        ({"privileged": [5]}, "unseen part 5 is not among the channels of the observation: 0 to 4"),
        ({"elapsed": "time"}, "elapsed 'time' is not among the channels"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_do(policy_class, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(policy_class, **kwargs)
