"""Shifted and Randomised: shifts for any Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from .drift import Drift
from .foreign import ForeignWorld
from .shift import Shift
from .shifts import shift_from_dict, shift_to_dict
from .simulation import GymEnv

_STREAM = int.from_bytes(b"shifts")
"""Sets the stream of the shifts apart from the environment's own of the same seed."""


class Shifted(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment whose world changes during the episode.

    Which shifts fit an environment depends on what it has:

    - a bounded Box of actions: delays, and all that concerns actuators, one to each channel. They rest where the action is 0,
      and 1 is the largest action;
    - a Box of observations: all that concerns sensors, one to each channel. What they measure stays within the space;
    - a MuJoCo model (`unwrapped.model` and `unwrapped.data`, as Gymnasium's own have): masses, gravity, friction and whatever
      else a model has, and light and texture in its pictures. Wind needs a model with air (a density or a viscosity);
    - number attributes of `unwrapped`, such as Pendulum's g: `Attribute`;
    - any: missed ticks and a slower clock. A control step is then several steps of the environment, up to the one that ends
      the episode, and its reward is their sum. A clock that jitters or is faster needs `unwrapped.frame_skip`, as Gymnasium's
      MuJoCo environments have it: physics steps to count.

    An environment of undrift has what its world has. Times are in s from the reset.

    Nothing tells the controller of a shift: `info["shift"]`, [K] strengths in [0, 1], and `info["dt"]`, s that the step took,
    are for scores and pictures. Everything is undone at each reset and at close. The shifts draw from a stream of their own,
    which the seed decides: before the first sets in, an episode is that of the environment without them.

    Args:
        env: the environment.
        shifts: what shifts, and when.
        dt: s that a step takes, where neither `env.dt` nor `env.metadata["render_fps"]` tells it.
        recorded: further shifts, as their JSON (`shift_to_dict`); so Gymnasium makes the environment again from its `spec`.

    Raises:
        ValueError: a shift does not fit the environment, or sets in after its end; the duration of a step is not known; the
            environment is shifted already.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *shifts: Shift,
        dt: float | None = None,
        recorded: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        shifts += tuple(shift_from_dict(values) for values in recorded)
        RecordConstructorArgs.__init__(self, dt=dt, recorded=[shift_to_dict(shift) for shift in shifts])
        super().__init__(env)
        base = env.unwrapped
        self._batch = base.batch_env if isinstance(base, GymEnv) else None
        if _is_shifted(env) or (self._batch and self._batch.drift.shifts):
            raise ValueError(f"{env} is shifted already: give all shifts at once, to one Shifted or Randomised.")
        self._world = None if self._batch else ForeignWorld(env, shifts, dt)
        if self._batch:
            self._batch.shift_by(shifts)
        self._rng = np.random.default_rng()
        self._has_begun = False

    @property
    def drift(self) -> Drift:
        """The shifts at work: their strengths, and their onsets in the present episode."""
        return self._world.drift if self._world else self._batch.drift  # type: ignore[union-attr]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng([_STREAM, seed])
        if self._world:
            self._world.end()
        observation, info = self.env.reset(seed=seed, options=options)
        if self._world:
            observation = self._world.begin(self._rng, observation)
        self._has_begun = True
        return observation, self._told(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if not self._has_begun:
            raise ResetNeeded("Shifted: call reset before step, so that the shifts are drawn.")
        step = self._world.step if self._world else self.env.step
        observation, reward, terminated, truncated, info = step(action)
        return observation, reward, terminated, truncated, self._told(info)

    def close(self) -> None:
        if self._world:
            self._world.end()
        elif self._batch:
            self._batch.shift_by(())
        self._has_begun = False
        super().close()

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "shift": self.drift.strength[0].copy()}


class Randomised(Shifted):
    """`Shifted` for domain randomisation: magnitudes are ranges, from which each episode draws its own.

    It is a `wrapper_class` for Stable-Baselines3's `make_vec_env`, with `wrapper_kwargs={"ranges": ...}`.

    Args:
        env: the environment.
        ranges: by the names of shifts their fields, {"payload": {"fraction": (0.0, 0.5)}}, each a number or a range
            (low, high); they always act, unless there is a "schedule", as in the shift's JSON. Or a sequence of shifts, or of
            their JSON.
        dt: as for `Shifted`.

    Raises:
        ValueError: as `Shifted` says, and for an unknown shift or field.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        ranges: Mapping[str, Mapping[str, Any]] | Sequence[Shift | Mapping[str, Any]],
        dt: float | None = None,
    ) -> None:
        shifts = _from_ranges(ranges)
        self.ranges = [shift_to_dict(shift) for shift in shifts]
        """JSON of the shifts, for the record of a run; as `ranges` it gives the same."""
        RecordConstructorArgs.__init__(self, ranges=self.ranges, dt=dt)
        super().__init__(env, *shifts, dt=dt)


def _from_ranges(ranges: Mapping[str, Mapping[str, Any]] | Sequence[Shift | Mapping[str, Any]]) -> list[Shift]:
    if isinstance(ranges, Mapping):
        always = {"schedule": {"name": "always"}}
        return [shift_from_dict({"name": name, **always, **fields}) for name, fields in ranges.items()]
    return [each if isinstance(each, Shift) else shift_from_dict(each) for each in ranges]


def _is_shifted(env: gymnasium.Env[Any, Any]) -> bool:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, Shifted):
            return True
        env = env.env
    return False
