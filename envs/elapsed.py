"""Elapsed time as part of the observation, for any Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

STEP_DURATION = "step_duration"
"""Key or channel that holds the time since the previous observation, s."""


class ElapsedTime(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds to each observation how long the step before it took, in seconds.

    That is `info["dt"]` where the environment reports it, else its period; and the period at the start of an episode. A
    `Box` with one axis has it as its last channel, a `Dict` under the key "step_duration", a `Box` of one number.

    `observation_names` are those of the environment, or "observation_0" and so on where it has none, and "step_duration",
    by which undrift's algorithms find it. `observation_scale`, where the environment has one, ends with the period.

    Args:
        env: the environment.
        period: nominal duration of a step, s. None takes the environment's `dt`, else 1 / `metadata["render_fps"]`.

    Raises:
        ValueError: no period is given or known, or it is not positive; the observation is neither a `Dict` nor a `Box` with
            one axis, or tells the step's duration already.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], period: float | None = None) -> None:
        RecordConstructorArgs.__init__(self, period=period)
        super().__init__(env)
        self.period = own_period(env) if period is None else period
        if not 0.0 < self.period < float("inf"):
            raise ValueError(f"period is the nominal duration of a step in s and must be positive, got {period}")
        space = env.observation_space
        if isinstance(space, spaces.Dict):
            names = list(space.spaces)
            duration = spaces.Box(0.0, np.inf, (1,), np.float32)
            self.observation_space = spaces.Dict({**space.spaces, STEP_DURATION: duration})
        elif isinstance(space, spaces.Box) and len(space.shape) == 1:
            names = list(_attribute(env, "observation_names", [f"observation_{i}" for i in range(len(space.low))]))
            low, high = np.append(space.low, 0.0), np.append(space.high, np.inf)
            self.observation_space = spaces.Box(
                low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type
            )
            self.observation_names = (*names, STEP_DURATION)
            scale = _attribute(env, "observation_scale", None)
            if scale is not None:
                self.observation_scale = np.append(scale, self.period).astype(np.float32)
        else:
            raise ValueError(
                f"elapsed time goes into a Dict or a Box with one axis, not {space}; wrap the environment first, "
                "for example in gymnasium.wrappers.FlattenObservation"
            )
        if STEP_DURATION in names:
            raise ValueError(f"the observation has {STEP_DURATION!r} already: {', '.join(names)}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._with(obs, self.period), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._with(obs, info.get("dt", self.period)), reward, terminated, truncated, info

    def _with(self, obs: Any, duration: float) -> Any:
        if isinstance(obs, dict):
            return {**obs, STEP_DURATION: np.array([duration], dtype=np.float32)}
        return np.append(obs, duration).astype(self.observation_space.dtype)


def _attribute(env: gymnasium.Env[Any, Any], name: str, default: Any) -> Any:
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def own_period(env: gymnasium.Env[Any, Any]) -> float:
    """Duration of a step, s, as the environment tells it: its `dt`, else 1 / `metadata["render_fps"]`.

    Raises:
        ValueError: it tells neither.
    """
    period = _attribute(env, "dt", None)
    if period is not None:
        return float(period)
    if env.metadata.get("render_fps"):
        return 1.0 / env.metadata["render_fps"]
    raise ValueError(f"{env} has neither dt nor render_fps in its metadata: give the duration of a step in s")
