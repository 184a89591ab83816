"""What every algorithm here adds to Stable-Baselines3's: policies with memory by name, and channels by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from ...policies.sb3.names import POLICY_NAMES

STEP_DURATION = "step_duration"
"""The key of a ``Dict`` of observations, or the channel of a ``Box``, that holds the time since the previous one, s."""


class MemoryAlgorithm(BaseAlgorithm):
    """A base for algorithms whose policies have memory; it comes before Stable-Baselines3's class among the bases.

    A policy's name stands for a class and arguments of it (:data:`~undrift.policies.sb3.POLICY_NAMES`), over which
    ``policy_kwargs`` prevail. The part of the observation named "step_duration" becomes the policy's ``elapsed``, and names
    in ``privileged`` become channels.
    """

    _named_arguments: Mapping[str, Any] = {}

    def __init__(self, *args: Any, policy_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        # A copy, as Stable-Baselines3 writes into it.
        super().__init__(*args, policy_kwargs=dict(policy_kwargs or {}), **kwargs)  # type: ignore[misc]

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            raise ValueError(
                f"unknown policy {policy_name!r}; the policies are {', '.join(sorted(self.policy_aliases))}"
            )
        self._named_arguments = POLICY_NAMES[policy_name]
        return self.policy_aliases[policy_name]

    def _setup_model(self) -> None:
        classes = set(self.policy_aliases.values())
        if not issubclass(self.policy_class, tuple(classes)):
            names = " or ".join(sorted(policy.__name__ for policy in classes))
            raise TypeError(
                f"{self.policy_class.__name__} has no memory; use 'CfcPolicy', another of the policies "
                f"{', '.join(sorted(self.policy_aliases))}, or a subclass of {names}"
            )
        self.policy_kwargs = {**self._named_arguments, **self.policy_kwargs}
        if self.env is not None:
            self._place_channels(self.env)
        super()._setup_model()  # type: ignore[safe-super]

    def _place_channels(self, env: VecEnv) -> None:
        """Put keys or indices of the observation in place of names."""
        channels = channel_names(env)
        if "elapsed" not in self.policy_kwargs and STEP_DURATION in channels:
            self.policy_kwargs["elapsed"] = _place(STEP_DURATION, channels, env.observation_space)
        if "privileged" in self.policy_kwargs:
            parts = self.policy_kwargs["privileged"]
            self.policy_kwargs["privileged"] = [_place(part, channels, env.observation_space) for part in parts]
        if self.policy_kwargs.get("elapsed") is not None and self._vec_normalize_env is not None:
            _refuse_normalised_time(self._vec_normalize_env, self.policy_kwargs["elapsed"])


def channel_names(env: VecEnv) -> Sequence[str]:
    """The keys of a ``Dict`` of observations, or the environment's ``observation_names`` where it names every channel."""
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        return list(space.spaces)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or not env.has_attr("observation_names"):
        return []
    names: Sequence[str] = env.get_attr("observation_names", 0)[0]
    return list(names) if len(names) == space.shape[0] else []


def _place(part: str | int, channels: Sequence[str], space: spaces.Space) -> str | int:
    if isinstance(space, spaces.Dict) or not isinstance(part, str):
        return part
    if part not in channels:
        named = f"its channels are {', '.join(channels)}" if channels else "the environment has no observation_names"
        raise ValueError(f"the observation has no channel {part!r}; {named}")
    return channels.index(part)


def _refuse_normalised_time(normalize: VecNormalize, elapsed: str | int) -> None:
    keys = normalize.norm_obs_keys
    if normalize.norm_obs and (keys is None or elapsed in keys):
        raise ValueError(
            f"VecNormalize would normalise the elapsed time {elapsed!r}, which the cell needs in seconds; use a Dict of "
            f"observations and leave it out of norm_obs_keys, or set norm_obs=False and give observation_scale"
        )
