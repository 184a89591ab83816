"""Replay of sequences, each with the memory the policy had when it began."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer, psutil  # None where it is not installed
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from ...policies.sb3.memory import map_observation

Observations = np.ndarray | dict[str, np.ndarray]


class ReplayedSequences(NamedTuple):
    """``B`` sequences, time-major: ``K`` steps of burn-in, ``L`` to learn from, ``n`` more to bootstrap from."""

    observations: Tensor | dict[str, Tensor]
    """``[K + L + n, B, ...]``"""
    episode_starts: Tensor
    """``[K + L + n, B]``, 1 where an observation is the first of its episode"""
    states: Tensor
    """``[B, H]``, memory before the first observation, as it was when the step was taken"""
    actions: Tensor
    """``[L, B, A]``, scaled to [-1, 1]"""
    rewards: Tensor
    """``[L, B]``, discounted sums of the rewards of up to ``n`` steps within the episode"""
    discounts: Tensor
    """``[L, B]``, what the value after those steps counts: ``gamma`` to their number, 0 where the episode terminated"""
    successors: Tensor
    """``[L, B]``, where the observation after those steps is, counted from the first step after the burn-in"""
    weights: Tensor
    """``[L, B]``, 1 where a step was taken, 0 at the last observation of an episode, which none follows; sum 1"""


class SequenceReplayBuffer(ReplayBuffer):
    """Replay of the last steps of ``N`` environments, handed out as sequences with a stored state and burn-in.

    Each environment has a row a time step: an observation, then what was done and earned; the last observation of an
    episode takes a row of its own, so every observation is stored once and a truncated episode can be bootstrapped from
    it. A sequence may run over the end of an episode: ``episode_starts`` marks where memory is emptied. The state is
    kept at every ``state_every``-th row, and there sequences begin.

    With observations, actions and states of ``D``, ``A`` and ``H`` float32 numbers it takes
    ``4 buffer_size (D + A + 1.5 + H / state_every)`` bytes, given exactly by :attr:`nbytes`.

    Reference: Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning" (R2D2),
    https://openreview.net/forum?id=r1lyTjAqYX

    Args:
        buffer_size: rows of all environments together, rounded up to fit ``state_every``.
        observation_space, action_space, device, n_envs: as in Stable-Baselines3.
        optimize_memory_usage: refused; observations are stored once in any case.
        seq_len: steps ``L`` of a sequence to learn from.
        burn_in: steps ``K`` before them, which bring the stored state up to date with the present parameters.
        n_steps: steps ``n`` until the return is bootstrapped.
        gamma: discount factor.
        state_every: rows from one stored state to the next.

    Raises:
        ValueError: for a length out of range, or ``optimize_memory_usage``.
    """

    handle_timeout_termination = True
    """A truncated episode is bootstrapped in any case; Stable-Baselines3 looks for this when it loads a buffer."""
    observations: Observations  # type: ignore[assignment]

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        seq_len: int = 16,
        burn_in: int = 4,
        n_steps: int = 1,
        gamma: float = 0.99,
        state_every: int = 8,
    ) -> None:
        if optimize_memory_usage:
            raise ValueError("sequences store every observation once already; leave optimize_memory_usage=False")
        for name, value, least in (
            ("seq_len", seq_len, 1),
            ("burn_in", burn_in, 0),
            ("n_steps", n_steps, 1),
            ("state_every", state_every, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        super(ReplayBuffer, self).__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.seq_len, self.burn_in, self.n_steps = seq_len, burn_in, n_steps
        self.gamma, self.state_every = gamma, state_every
        self.buffer_size = -(-buffer_size // (n_envs * state_every)) * state_every
        if self.buffer_size < self.length + state_every:
            raise ValueError(
                f"a buffer of {buffer_size} steps of {n_envs} environments is too small for sequences of {self.length} "
                f"steps; it needs at least {(self.length + state_every) * n_envs}"
            )
        rows = self.buffer_size, n_envs
        parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else observation_space
        self.observations = map_observation(lambda space: np.zeros((*rows, *space.shape), space.dtype), parts)
        self.actions = np.zeros((*rows, self.action_dim), np.float32)
        self.rewards = np.zeros(rows, np.float32)
        self.terminated = np.zeros(rows, np.bool_)
        self.episode_starts = np.zeros(rows, np.bool_)
        self.states = np.zeros((0, n_envs, 0), np.float32)
        self.reset()

    def allocate_states(self, state_size: int) -> None:
        """Make room for states of ``state_size`` numbers; warns if the buffer exceeds the memory of the machine.

        Raises:
            ValueError: if the buffer holds states of another size.
        """
        if self.states.size and self.states.shape[2] != state_size:
            raise ValueError(f"the buffer holds states of {self.states.shape[2]} numbers, the policy has {state_size}")
        if not self.states.size:
            self.states = np.zeros((self.buffer_size // self.state_every, self.n_envs, state_size), np.float32)
        available = psutil.virtual_memory().available if psutil else np.inf
        if self.nbytes > available:
            warnings.warn(
                f"the replay buffer needs {self.nbytes / 1e9:.2f} GB, {available / 1e9:.2f} GB are free; "
                "take a smaller buffer_size",
                stacklevel=2,
            )

    @property
    def length(self) -> int:
        """Steps of a sequence with its burn-in and what it is bootstrapped from, ``K + L + n``."""
        return self.burn_in + self.seq_len + self.n_steps

    @property
    def nbytes(self) -> int:
        """Bytes of the whole buffer once it is full."""
        others = self.actions, self.rewards, self.terminated, self.episode_starts, self.states
        return sum(array.nbytes for array in (*_named(self.observations).values(), *others))

    def reset(self) -> None:
        """Forget everything."""
        self.written = np.zeros(self.n_envs, np.int64)

    def size(self) -> int:
        """Rows stored in each environment, the fewest of all."""
        return int(min(self.written.min(), self.buffer_size))

    def begin_step(self, states: Tensor, episode_starts: NDArray[np.bool_]) -> None:
        """Take note of what :meth:`add` will store besides: memory ``[N, H]`` before the step, and where episodes begin."""
        self._states, self._starts = states.cpu().numpy(), episode_starts

    def add(
        self,
        obs: Observations,  # type: ignore[override]
        next_obs: Observations,  # type: ignore[override]
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one step of every environment, as in Stable-Baselines3; call :meth:`begin_step` first."""
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        everywhere, ended = np.arange(self.n_envs), np.flatnonzero(done)
        self._write(everywhere, obs, self._starts, action.reshape(self.n_envs, -1), reward, done & ~truncated)
        # The state that belongs to a last observation is not kept: in a sequence from there on, nothing depends on it.
        self._write(ended, map_observation(lambda array: array[ended], next_obs), False, 0.0, 0.0, False)

    def _write(
        self, envs: NDArray, obs: Observations, starts: Any, actions: Any, rewards: Any, terminated: Any
    ) -> None:
        at = self.written[envs] % self.buffer_size, envs
        for name, array in _named(self.observations).items():
            array[at] = _named(obs)[name]
        self.episode_starts[at] = starts
        self.actions[at] = actions
        self.rewards[at] = rewards
        self.terminated[at] = terminated
        keep = at[0] % self.state_every == 0
        self.states[at[0][keep] // self.state_every, envs[keep]] = self._states[envs[keep]]
        self.written[envs] += 1

    def _beginnings(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first row, in units of ``state_every``, at which a stored sequence begins, and how many begin, ``[N]`` each."""
        oldest = np.maximum(self.written - self.buffer_size, 0)
        first = -(-oldest // self.state_every)
        return first, np.maximum((self.written - self.length) // self.state_every - first + 1, 0)

    @property
    def ready(self) -> bool:
        """Whether there is a whole sequence to learn from."""
        return bool(self._beginnings()[1].any())

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayedSequences:  # type: ignore[override]
        """Draw sequences at random, with replacement.

        Args:
            batch_size: steps to learn from, a multiple of ``seq_len``.
            env: normalises observations and rewards, as in Stable-Baselines3.

        Raises:
            ValueError: if no whole sequence is stored yet.
        """
        first, counts = self._beginnings()
        if not counts.any():
            raise ValueError(f"no sequence of {self.length} steps is stored yet; collect more before learning")
        drawn = np.random.randint(counts.sum(), size=batch_size // self.seq_len)
        ends = counts.cumsum()
        envs = np.searchsorted(ends, drawn, side="right")
        begin = first[envs] + drawn - (ends - counts)[envs]
        return self._gather(begin, envs, env)

    def _gather(self, begin: NDArray, envs: NDArray, env: VecNormalize | None) -> ReplayedSequences:
        """The sequences that begin at the rows ``state_every * begin`` of ``envs``, ``[B]`` each."""
        rows = (self.state_every * begin + np.arange(self.length)[:, None]) % self.buffer_size, envs
        observations = self._normalize_obs(map_observation(lambda array: array[rows], self.observations), env)
        starts = self.episode_starts[rows]
        learn, later = slice(self.burn_in, self.burn_in + self.seq_len), slice(self.burn_in, None)
        returns = self._returns(
            self._normalize_reward(self.rewards[rows][later], env), self.terminated[rows][later], starts[later]
        )
        return ReplayedSequences(
            map_observation(self._tensor, observations),
            self._tensor(starts.astype(np.float32)),
            self._tensor(self.states[begin % len(self.states), envs]),
            self._tensor(self.actions[rows][learn]),
            *map(self._tensor, returns),
        )

    def _returns(self, rewards: NDArray, terminated: NDArray, starts: NDArray) -> tuple[NDArray, ...]:
        """Rewards, discounts, successors and weights of ``ReplayedSequences``; the arguments are ``[L + n, B]``."""
        shape = self.seq_len, rewards.shape[1]
        total, discounts = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        steps, going = np.zeros(shape, np.int64), np.ones(shape, np.bool_)
        for k in range(self.n_steps):
            there = slice(k, k + self.seq_len)
            # A row that an episode's first does not follow is a step taken, not its last observation.
            going &= ~starts[1:][there]
            total += discounts * rewards[there] * going
            discounts *= np.where(going, self.gamma * ~terminated[there], 1.0)
            steps += going
        taken = (steps > 0).astype(np.float32)
        return total, discounts, np.arange(self.seq_len)[:, None] + steps, taken / max(taken.sum(), 1.0)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _named(values: Any) -> dict[str, Any]:
    """Arrays by name: a dict of observations as it is, a single array under no name."""
    return values if isinstance(values, dict) else {"": values}
