"""Rollouts cut into sequences of fixed length, each with the memory the policy had when it began."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.preprocessing import get_obs_shape
from torch import Tensor

from ...policies.sb3.memory import Observation, map_observation


class SequenceSamples(NamedTuple):
    """A minibatch of ``B`` sequences of ``L`` steps, time-major."""

    observations: Observation
    """``[L, B, ...]``, or a dictionary of them"""
    actions: Tensor
    """``[L, B, A]``"""
    states: Tensor
    """``[B, H]``, memory before the first step of each sequence"""
    episode_starts: Tensor
    """``[L, B]``, 1 where a step is the first of its episode"""
    old_values: Tensor
    """``[L, B]``, as those below: what the rollout's own policy expected, and the log-probability of what it did"""
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor


class SequenceBuffer(RolloutBuffer):
    """Rollout of ``T`` steps in ``N`` environments, handed out as whole sequences of ``L`` steps.

    An episode may end anywhere: what follows is marked in ``episode_starts`` and the cell empties its memory there, so
    no sequence is cut short or padded. Arrays are allocated once and overwritten by every rollout.

    Args:
        buffer_size: steps ``T`` of a rollout in each environment, a multiple of ``seq_len``.
        seq_len: steps ``L`` of one sequence.
        state_size: units ``H`` of the memory.
        observation_space, action_space, device, gae_lambda, gamma, n_envs: as in Stable-Baselines3.
    """

    observations: np.ndarray | dict[str, np.ndarray]  # type: ignore[assignment]

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        device: torch.device | str = "auto",
        gae_lambda: float = 1.0,
        gamma: float = 0.99,
        n_envs: int = 1,
        *,
        seq_len: int,
        state_size: int,
    ) -> None:
        self.seq_len = seq_len
        self.states = np.zeros((buffer_size // seq_len, n_envs, state_size), dtype=np.float32)
        self.allocated = False
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)

    def reset(self) -> None:
        """Begin a new rollout."""
        if not self.allocated:
            self._allocate()
            self.allocated = True
        self.pos, self.full = 0, False

    def _allocate(self) -> None:
        rows, space = (self.buffer_size, self.n_envs), self.observation_space
        if isinstance(space, spaces.Dict):
            self.observations = {key: _zeros(rows, part) for key, part in space.spaces.items()}
        else:
            self.observations = _zeros(rows, space)
        self.actions = np.zeros((*rows, self.action_dim), dtype=self.action_space.dtype)
        self.rewards, self.returns, self.advantages = np.zeros((3, *rows), dtype=np.float32)
        self.episode_starts, self.values, self.log_probs = np.zeros((3, *rows), dtype=np.float32)

    def append(
        self,
        obs: np.ndarray | dict[str, np.ndarray],
        state: Tensor,
        episode_start: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        log_prob: Tensor,
    ) -> None:
        """Store one step of every environment: what was seen and remembered, then what was done and earned.

        ``state`` ``[N, H]`` is the memory before the step; it is kept at the first step of each sequence.
        """
        t = self.pos
        if t % self.seq_len == 0:
            self.states[t // self.seq_len] = state.cpu().numpy()
        if isinstance(self.observations, dict):
            for key, stored in self.observations.items():
                stored[t] = obs[key].reshape(stored.shape[1:])  # type: ignore[index]
        else:
            self.observations[t] = obs.reshape(self.observations.shape[1:])  # type: ignore[union-attr]
        self.episode_starts[t] = episode_start
        self.actions[t] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[t] = reward
        self.log_probs[t] = log_prob.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _by_sequence(self, array: np.ndarray) -> Tensor:
        """``[T, N, ...]`` as ``[L, T / L * N, ...]``: one column a sequence."""
        columns = array.reshape(-1, self.seq_len, self.n_envs, *array.shape[2:]).swapaxes(0, 1)
        return torch.from_numpy(columns.reshape(self.seq_len, -1, *array.shape[2:])).to(self.device)

    def sequences(self) -> SequenceSamples:
        """The whole rollout as one batch; column ``c * N + n`` is the ``c``-th sequence of environment ``n``."""
        return SequenceSamples(
            observations=map_observation(self._by_sequence, self.observations),
            actions=self._by_sequence(self.actions).float(),
            states=torch.from_numpy(self.states).flatten(0, 1).to(self.device),
            episode_starts=self._by_sequence(self.episode_starts),
            old_values=self._by_sequence(self.values),
            old_log_prob=self._by_sequence(self.log_probs),
            advantages=self._by_sequence(self.advantages),
            returns=self._by_sequence(self.returns),
        )

    def minibatches(self, rollout: SequenceSamples, batch_size: int) -> Iterator[SequenceSamples]:
        """One pass over ``rollout`` in random minibatches of whole sequences, ``batch_size`` steps each."""
        per_step = torch.stack(rollout[3:])  # one selection instead of five
        order = torch.randperm(len(rollout.states), device=self.device)
        for chosen in order.split(batch_size // self.seq_len):
            pick = partial(torch.index_select, dim=1, index=chosen)
            yield SequenceSamples(
                map_observation(pick, rollout.observations),
                pick(rollout.actions),
                rollout.states.index_select(0, chosen),
                *per_step.index_select(2, chosen),
            )


def _zeros(rows: tuple[int, int], space: spaces.Space) -> np.ndarray:
    """Room for observations of a space, in single precision where they are real numbers."""
    dtype = np.float32 if space.dtype == np.float64 else space.dtype
    return np.zeros((*rows, *get_obs_shape(space)), dtype=dtype)
