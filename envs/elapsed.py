"""Elapsed time as part of the observation, for any Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from .channels import AddedChannels, attribute

STEP_DURATION = "step_duration"
"""Key or channel that holds the time since the previous observation, s."""


class ElapsedTime(AddedChannels, RecordConstructorArgs):
    """Adds to each observation how long the step before it took, in seconds.

    That is `info["dt"]` where the environment reports it, else its period; and the period at the start of an episode. A
    `Box` with one axis has it as its last channel, "step_duration", a `Dict` under that key, as a `Box` of one number;
    undrift's algorithms find it by its name. `observation_scale`, where the environment has one, ends with the period.

    Args:
        env: the environment.
        period: nominal duration of a step, s. None takes the environment's `dt`, else 1 / `metadata["render_fps"]`.

    Raises:
        ValueError: no period is given or known, or it is not positive; and as :class:`AddedChannels`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], period: float | None = None) -> None:
        RecordConstructorArgs.__init__(self, period=period)
        self.period = own_period(env) if period is None else period
        if not 0.0 < self.period < float("inf"):
            raise ValueError(f"period is the nominal duration of a step in s and must be positive, got {period}")
        space = spaces.Box(0.0, np.inf, (1,), np.float32)
        super().__init__(env, STEP_DURATION, space, (STEP_DURATION,), self.period)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._with(obs, np.array([self.period], np.float32)), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._with(obs, np.array([info.get("dt", self.period)], np.float32)), reward, terminated, truncated, info


def own_period(env: gymnasium.Env[Any, Any]) -> float:
    """Duration of a step, s, as the environment tells it: its `dt`, else 1 / `metadata["render_fps"]`.

    Raises:
        ValueError: it tells neither.
    """
    period = attribute(env, "dt", None)
    if period is not None:
        return float(period)
    if env.metadata.get("render_fps"):
        return 1.0 / env.metadata["render_fps"]
    raise ValueError(f"{env} has neither dt nor render_fps in its metadata: give the duration of a step in s")
