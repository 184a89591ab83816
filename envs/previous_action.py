"""The previous action as part of the observation, for any Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from .channels import AddedChannels

PREVIOUS_ACTION = "previous_action"
"""Key, or beginning of the channels' names, of the action that was sent last."""


class PreviousAction(AddedChannels, RecordConstructorArgs):
    """Adds to each observation the action that was sent before it: what a memory needs to tell its own doing from the world's.

    Actions are flattened as by `gymnasium.spaces.flatten`: a `Box` as it is, `Discrete` and each part of `MultiDiscrete` one-hot,
    `MultiBinary` as zeros and ones. They are all zeros at the start of an episode. A `Box` with one axis has them as its
    last channels, "previous_action_0" and so on, a `Dict` under the key "previous_action".

    Args:
        env: the environment.

    Raises:
        ValueError: the actions are not a fixed number of numbers; and as :class:`AddedChannels`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        if not env.action_space.is_np_flattenable:
            raise ValueError(
                f"actions of {env.action_space} are not a fixed number of numbers; a Box, Discrete, MultiDiscrete or "
                "MultiBinary has them"
            )
        flat = spaces.flatten_space(env.action_space)
        assert isinstance(flat, spaces.Box)
        low, high = np.minimum(flat.low, 0.0).astype(np.float32), np.maximum(flat.high, 0.0).astype(np.float32)
        largest = np.maximum(-low, high)
        names = tuple(f"{PREVIOUS_ACTION}_{i}" for i in range(len(low)))
        scale = np.where(np.isfinite(largest) & (largest > 0.0), largest, 1.0)
        super().__init__(env, PREVIOUS_ACTION, spaces.Box(low, high, dtype=np.float32), names, scale)
        self._none = np.zeros(len(low), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return self._with(obs, self._none.copy()), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        sent = np.asarray(spaces.flatten(self.action_space, action), np.float32)
        return self._with(obs, sent), reward, terminated, truncated, info
