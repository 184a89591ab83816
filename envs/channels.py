"""Channels that are added to the observation of any Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray


class AddedChannels(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A base for wrappers that add numbers to each observation: the last channels of a `Box` with one axis, or a `Box` of
    their own in a `Dict`.

    `observation_names` are those of the environment, or "observation_0" and so on where it has none, then those that are
    added. `observation_scale`, where the environment has one, goes on likewise.

    Args:
        env: the environment.
        key: of what is added, in a `Dict`.
        space: of what is added, with one axis of K numbers.
        names: of the K channels that are added to a `Box`.
        scale: their typical magnitudes, K numbers.

    Raises:
        ValueError: the observation is neither a `Dict` nor a `Box` with one axis, or has what is added already.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], key: str, space: spaces.Box, names: tuple[str, ...], scale: ArrayLike
    ) -> None:
        super().__init__(env)
        self._key = key
        own = env.observation_space
        if isinstance(own, spaces.Dict):
            names, present = (key,), tuple(own.spaces)
            self.observation_space = spaces.Dict({**own.spaces, key: space})
        elif isinstance(own, spaces.Box) and len(own.shape) == 1:
            numbered = tuple(f"observation_{i}" for i in range(len(own.low)))
            present = tuple(attribute(env, "observation_names", numbered))
            dtype = own.dtype.type if np.issubdtype(own.dtype, np.floating) else np.float32
            low, high = np.append(own.low, space.low), np.append(own.high, space.high)
            self.observation_space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
            self.observation_names = (*present, *names)
            own_scale = attribute(env, "observation_scale", None)
            if own_scale is not None:
                self.observation_scale = np.append(own_scale, scale).astype(np.float32)
        else:
            raise ValueError(
                f"{key.replace('_', ' ')} goes into a Dict or a Box with one axis, not {own}; wrap the environment first, "
                "for example in gymnasium.wrappers.FlattenObservation"
            )
        if double := set(names) & set(present):
            raise ValueError(f"the observation has {min(double)!r} already: {', '.join(present)}")

    def _with(self, obs: Any, values: NDArray[Any]) -> Any:
        """The observation with the values `[K]` added."""
        if isinstance(obs, dict):
            return {**obs, self._key: values}
        return np.append(obs, values).astype(self.observation_space.dtype)


def attribute(env: gymnasium.Env[Any, Any], name: str, default: Any) -> Any:
    """An attribute of the environment or of one of its wrappers."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default
