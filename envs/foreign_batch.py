"""ForeignBatch: copies of any Gymnasium environment, stepped together as adapters fly them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction

from .elapsed import own_period
from .foreign import measured_names
from .registry import make_batch, make_scenario, own_id
from .scenario import Scenario
from .simulation import BatchEnv


class ForeignBatch:
    """N copies of an environment that is none of undrift's, each with the shifts of a scenario and a random stream of its own.

    Actions are what a controller sends, in [-1, 1]: -1 and 1 stand for the bounds of the environment's own. A copy whose
    episode is over rests, with its last observation and no reward, until it is reset.

    Args:
        scenario: what is flown. Observations and actions are Boxes with one axis, that of actions bounded, and episodes have
            a time limit.
        num_envs: N.
        seed: of the episodes that are begun without a seed.

    Raises:
        ValueError: the environment is another; or as `make_scenario`.
    """

    def __init__(self, scenario: Scenario, num_envs: int, seed: int | None = None) -> None:
        first = make_scenario(scenario)
        acted, observed = first.action_space, first.observation_space
        if not all(isinstance(space, spaces.Box) and len(space.shape) == 1 for space in (acted, observed)):
            raise ValueError(
                f"{scenario.env_id} has the observations {observed} and the actions {acted}: adapters take a Box with one "
                "axis each (gymnasium.wrappers.FlattenObservation makes one of many)."
            )
        assert isinstance(acted, spaces.Box)
        if not acted.is_bounded():
            raise ValueError(f"{scenario.env_id} acts in {acted}: bound it, so that a controller knows its limits.")
        if first.spec is None or first.spec.max_episode_steps is None:
            raise ValueError(f"an episode of {scenario.env_id} may never end: give env_kwargs max_episode_steps.")
        whole = [first, *(make_scenario(scenario) for _ in range(num_envs - 1))]
        self._envs = [RescaleAction(env, np.float32(-1.0), np.float32(1.0)) for env in whole]
        self.id, self.kwargs, self.num_envs = scenario.env_id, dict(scenario.env_kwargs), num_envs
        self.dt = own_period(first)
        self.observation_names, self.observation_space = measured_names(first), observed
        self.own_action_space, self.action_space = acted, self._envs[0].action_space
        self.step_duration = np.full(num_envs, self.dt)
        """[N] s that the last control step took."""
        self._observation = np.zeros((num_envs, len(self.observation_names)), dtype=np.float32)
        self._over = np.ones(num_envs, dtype=bool)
        self._rng = np.random.default_rng(seed)

    def reset(self, seeds: Sequence[int] | None = None, ids: np.ndarray | None = None) -> np.ndarray:
        """Begin the episodes of the copies `ids` (None: all) from `seeds`, one each; returns their observations [n, O]."""
        ids = np.arange(self.num_envs) if ids is None else ids
        seeds = self._rng.integers(2**31, size=len(ids)).tolist() if seeds is None else seeds
        for i, seed in zip(ids, seeds, strict=True):
            self._observation[i], _ = self._envs[i].reset(seed=int(seed))
        self.step_duration[ids], self._over[ids] = self.dt, False
        return self._observation[ids]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One control step of every copy whose episode goes on.

        Args:
            actions: [N, A] in [-1, 1].

        Returns:
            observation float32 [N, O], reward [N], terminated [N] and truncated [N], each true only in the step that ends an
            episode, and info: the duration "dt" [N] of the step, s.
        """
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        for i in np.flatnonzero(~self._over):
            action = np.asarray(actions[i], dtype=np.float32)
            self._observation[i], gained, terminated[i], truncated[i], info = self._envs[i].step(action)
            reward[i], self.step_duration[i] = gained, info["dt"]
        self._over |= terminated | truncated
        return self._observation.copy(), reward, terminated, truncated, {"dt": self.step_duration.copy()}

    @property
    def over(self) -> np.ndarray:
        """[N] bool, whose episode is over."""
        return self._over.copy()

    def close(self) -> None:
        """Let go of every copy."""
        for env in self._envs:
            env.close()


def make_any_batch(env_id: str, num_envs: int = 1, seed: int | None = None, **kwargs: Any) -> BatchEnv | ForeignBatch:
    """An unshifted batch of `make_batch`, or of any other environment that Gymnasium knows.

    Raises:
        ValueError: as `make_batch` and `ForeignBatch`.
    """
    if own_id(env_id) is None:
        try:
            gymnasium.spec(env_id)
        except gymnasium.error.Error:
            return make_batch(env_id, num_envs, seed, **kwargs)  # says which environments there are
        return ForeignBatch(Scenario(env_id, env_id, kwargs), num_envs, seed)
    return make_batch(env_id, num_envs, seed, **kwargs)
