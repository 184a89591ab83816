"""A batch of simulations as a Stable-Baselines3 vectorised environment."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from ..envs.drift import Shifts
from ..envs.registry import make_batch
from ..envs.simulation import BatchEnv
from .controller import Loop


class BatchVecEnv(VecEnv):
    """The ``VecEnv`` face of a :class:`BatchEnv`: the same simulations, restarted on their own when an episode ends.

    The ``infos`` of a step are empty but for episodes that end with it: those hold ``terminal_observation``,
    ``TimeLimit.truncated``, the episode's return, length and seconds (``episode``, as ``VecMonitor`` writes it) and
    that simulation's row of the batch's own info. The batch's info of *every* simulation is in :attr:`info`.

    All simulations share one :class:`BatchEnv`, so attributes and methods are those of the batch: reading gives the same
    value for every index, writing needs all of them.

    Args:
        batch: the simulations; stepped and reset only through this object from now on.
        stagger: whether a reset of all simulations spreads the ends of their first episodes.
    """

    batch: BatchEnv
    info: dict[str, np.ndarray]
    """The last step's info, each array with one row a simulation."""

    def __init__(self, batch: BatchEnv, stagger: bool = False) -> None:
        self.batch = batch
        self._stagger = stagger
        self.info = {}
        super().__init__(batch.num_envs, batch.observation_space, batch.action_space)
        self._actions = np.zeros((self.num_envs, *self.action_space.shape))  # type: ignore[misc]
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._started = time.time()

    def reset(self) -> np.ndarray:
        """Begin new episodes everywhere, from the seeds of :meth:`seed` the first time; observations ``[N, O]``."""
        seeds = [seed for seed in self._seeds if seed is not None]
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        observations = self.batch.reset(seeds=seeds or None)
        if self._stagger:
            self.batch.stagger()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions ``[N, A]`` for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Observations ``[N, O]`` (of the next episode where one ended), rewards ``[N]``, dones ``[N]`` and infos."""
        obs, rewards, terminated, truncated, self.info = self.batch.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(dones)
        if len(ended):
            for i in ended.tolist():
                infos[i] = self._episode_info(i, obs[i].copy(), bool(truncated[i] and not terminated[i]))
            obs = obs.copy()
            obs[ended] = self.batch.reset(ids=ended)
            self._returns[ended] = 0.0
            self._lengths[ended] = 0
        return obs, rewards.astype(np.float32), dones, infos

    def _episode_info(self, i: int, last_obs: np.ndarray, truncated: bool) -> dict[str, Any]:
        seconds = round(time.time() - self._started, 6)
        return {name: values[i] for name, values in self.info.items()} | {
            "terminal_observation": last_obs,
            "TimeLimit.truncated": truncated,
            "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": seconds},
        }

    def close(self) -> None:
        """Nothing to release: MuJoCo frees the simulations with the last reference."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once for every index; ``render_mode`` is None, as films are drawn from episodes."""
        value = None if attr_name == "render_mode" else getattr(self.batch, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch.

        Raises:
            ValueError: if ``indices`` leaves a simulation out.
        """
        self._refuse_subset(indices, f"setting {attr_name!r}")
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list:
        """Call a method of the batch once; its result is listed once for every simulation.

        Raises:
            ValueError: if ``indices`` leaves a simulation out.
        """
        self._refuse_subset(indices, f"calling {method_name!r}")
        return [getattr(self.batch, method_name)(*method_args, **method_kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """False: simulations of a batch carry no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def _refuse_subset(self, indices: VecEnvIndices, what: str) -> None:
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"{what} concerns all {self.num_envs} simulations of the batch; leave indices=None")


class AdaptingVecEnv(BatchVecEnv):
    """The simulations as a policy meets them that flies under an adapter and its guard, for training with both in the loop.

    The policy is shown what the adapter shows, and its actions are sent as adapter and guard have changed them; the adapter
    learns from every step and begins anew with each episode. What was done and earned is the policy's own action and the
    environment's own reward. An episode's last observation, of which a truncated one's value is estimated, is as shown too.

    Args:
        batch, stagger: as `BatchVecEnv`.
        loop: adapter and guard, of the vehicle that the batch simulates.
    """

    def __init__(self, batch: BatchEnv, loop: Loop, stagger: bool = False) -> None:
        super().__init__(batch, stagger)
        self._loop = loop

    def reset(self) -> np.ndarray:
        """As that of `BatchVecEnv`; the adapter has learned nothing."""
        self._loop.reset(self.num_envs)
        return self._loop.show(super().reset()).astype(np.float32)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep what is sent for the policy's ``actions`` ``[N, A]`` for :meth:`step_wait`."""
        super().step_async(self._loop.send(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """As that of `BatchVecEnv`, with what the policy is shown for the observations."""
        first, rewards, dones, infos = super().step_wait()
        assert isinstance(first, np.ndarray)
        ended = np.flatnonzero(dones)
        last = first.copy()
        truncated = np.zeros_like(dones)
        for i in ended.tolist():
            last[i], truncated[i] = infos[i]["terminal_observation"], infos[i]["TimeLimit.truncated"]
        self._loop.learn(last, rewards, dones & ~truncated, truncated)
        shown = self._loop.show(last, self.info["dt"]).astype(np.float32)
        for i in ended.tolist():
            infos[i]["terminal_observation"] = shown[i].copy()
        if len(ended):
            shown[ended] = self._loop.restart(ended, first[ended])
        return shown, rewards, dones, infos


def make_vec_env(env_id: str, n_envs: int, seed: int | None = None, shifts: Shifts = (), **kwargs: Any) -> BatchVecEnv:
    """``n_envs`` simulations of ``env_id`` as a ``VecEnv``; ``kwargs`` go to the environment.

    ``shifts`` change the world of every episode, or each of so many sequences that of one simulation; of a magnitude given as
    a range (low, high) every episode draws its own, which is domain randomisation.

    Raises:
        ValueError: if ``env_id`` is unknown; the message lists the valid ids. If a shift does not fit the environment.
    """
    return BatchVecEnv(make_batch(env_id, n_envs, seed, shifts, **kwargs))
