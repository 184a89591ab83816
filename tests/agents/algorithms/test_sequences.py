from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from undrift.agents.algorithms.sequences import SequenceBuffer

STEPS, ENVS, LENGTH, UNITS = 12, 5, 4, 3


@pytest.fixture
def buffer() -> SequenceBuffer:
    """A rollout whose observation is (step, environment) and whose memory before a step is 100 * step + environment."""
    box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    buffer = SequenceBuffer(STEPS, box, box, "cpu", n_envs=ENVS, seq_len=LENGTH, state_size=UNITS)
    environments = np.arange(ENVS)
    for t in range(STEPS):
        obs = np.stack([np.full(ENVS, t), environments], 1).astype(np.float32)
        state = torch.tensor(100 * t + environments)[:, None].expand(-1, UNITS)
        buffer.append(obs, state, environments == t, -obs, 10.0 * obs[:, 0], torch.tensor(obs[:, 1]))
    return buffer


def test_an_epoch_hands_out_every_step_once_in_whole_sequences(buffer):
    torch.manual_seed(0)
    batches = list(buffer.minibatches(buffer.sequences(), batch_size=2 * LENGTH))
    assert [batch.observations.shape for batch in batches] == [(LENGTH, 2, 2)] * 7 + [(LENGTH, 1, 2)]
    steps = torch.cat([batch.observations.reshape(-1, 2) for batch in batches])
    assert sorted(map(tuple, steps.int().tolist())) == [(t, n) for t in range(STEPS) for n in range(ENVS)]
    for batch in batches:
        assert torch.all(batch.observations[1:] - batch.observations[:-1] == torch.tensor([1.0, 0.0]))


def test_each_sequence_comes_with_its_own_memory_marks_and_actions(buffer):
    for batch in buffer.minibatches(buffer.sequences(), batch_size=3 * LENGTH):
        step, environment = batch.observations.unbind(-1)
        assert torch.all(step[0] % LENGTH == 0)
        assert torch.all(batch.states == (100 * step[0] + environment[0])[:, None])
        assert torch.equal(batch.episode_starts.bool(), step == environment)
        assert torch.equal(batch.actions, -batch.observations)
        assert torch.equal(batch.old_log_prob, environment)


def test_minibatches_are_drawn_anew_from_torchs_seed(buffer):
    def order(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [s for batch in buffer.minibatches(buffer.sequences(), 2 * LENGTH) for s in batch.states[:, 0].tolist()]

    assert order(1) == order(1) != order(2)


def test_a_new_rollout_overwrites_the_old_one_in_place(buffer):
    array = buffer.observations
    buffer.reset()
    assert buffer.pos == 0 and not buffer.full and buffer.observations is array


def test_a_dictionary_of_observations_is_kept_key_by_key():
    space = spaces.Dict({"time": spaces.Box(0.0, 99.0, (1,), np.float64), "kind": spaces.Discrete(9)})
    buffer = SequenceBuffer(STEPS, space, spaces.Discrete(2), "cpu", n_envs=ENVS, seq_len=LENGTH, state_size=UNITS)
    kinds = np.arange(ENVS)
    for t in range(STEPS):
        obs = {"time": np.full((ENVS, 1), float(t)), "kind": kinds}
        buffer.append(obs, torch.zeros(ENVS, UNITS), kinds == t, kinds % 2, 0.0 * kinds, torch.zeros(ENVS))
    assert buffer.observations["time"].dtype == np.float32 and buffer.observations["kind"].dtype == np.int64
    for batch in buffer.minibatches(buffer.sequences(), 2 * LENGTH):
        step, kind = batch.observations["time"][..., 0], batch.observations["kind"][..., 0]
        assert torch.all(step[1:] - step[:-1] == 1.0) and torch.equal(batch.episode_starts.bool(), step == kind)
        assert torch.equal(batch.actions[..., 0], (kind % 2).float())
