"""From an observation to features and memory: what the policies of every algorithm are built on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from ..cell import Cell
from ..cells import CELLS, make_cell
from ..wiring import Wiring

Observation = Tensor | dict[str, Tensor]
"""An observation or a batch of them: one tensor, or one a key of a ``Dict`` space."""


def map_observation(function: Callable[[Any], Any], observation: Any) -> Any:
    """``function`` of an observation's array, or of each array where the observation is a dictionary of them."""
    if isinstance(observation, dict):
        return {key: function(array) for key, array in observation.items()}
    return function(observation)


def one_step(observation: Observation) -> Any:
    """Observations ``[N, ...]`` as a sequence of one step, ``[1, N, ...]``."""
    return map_observation(lambda array: array[None], observation)


def batch_size(observation: Observation) -> int:
    """Number of observations ``N`` in a batch ``[N, ...]``."""
    return len(next(iter(observation.values())) if isinstance(observation, dict) else observation)


class Features(nn.Module):
    """What a network reads of an observation: ``x = extractor(observation / observation_scale)``.

    Args:
        observation_space: a ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``, or a ``Dict`` of them.
        observation_scale: typical magnitude of each channel of a ``Box`` that is read flat, shape ``[I]``; None divides
            by one.
        unseen: what is left out: keys of a ``Dict``, or indices of channels of a ``Box`` with one axis.
        features_extractor_class: Stable-Baselines3's or a subclass of its ``BaseFeaturesExtractor``: the
            ``FlattenExtractor`` (flat channels, one-hot where discrete), the ``CombinedExtractor`` (a ``Dict``) or the
            ``NatureCNN`` (images).
        features_extractor_kwargs: its further arguments.
        normalize_images: whether images are divided by 255.

    Raises:
        TypeError: for a space that Stable-Baselines3 does not know.
        ValueError: for a space the extractor does not read, a wrong ``observation_scale`` or ``unseen``.
    """

    observation_scale: Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        observation_scale: Sequence[float] | np.ndarray | None = None,
        unseen: Sequence[str | int] = (),
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: Mapping[str, Any] | None = None,
        normalize_images: bool = True,
    ) -> None:
        super().__init__()
        _check_form(observation_space, features_extractor_class, normalize_images)
        self.space, self.seen = _without(observation_space, unseen)
        self.normalize_images = normalize_images
        self.extractor = features_extractor_class(self.space, **(features_extractor_kwargs or {}))  # type: ignore[arg-type]
        self.size = self.extractor.features_dim
        self.flat = (
            isinstance(self.space, spaces.Box)
            and features_extractor_class is FlattenExtractor
            and not is_image_space(self.space)
        )
        """Whether the features are the channels of a ``Box``, each divided by its scale."""
        self.scale = [1.0] * self.size
        if observation_scale is not None:
            self.scale = self._own_scale(observation_space, np.asarray(observation_scale, dtype=np.float64)).tolist()
        self.register_buffer("observation_scale", torch.tensor(self.scale, dtype=torch.float32), persistent=False)

    def forward(self, observations: Observation) -> Tensor:
        """Features ``[T, B, I]`` of raw observations ``[T, B, ...]``, or of a dictionary of them."""
        if self.flat:
            assert isinstance(observations, Tensor)
            chosen = observations if self.seen is None else observations[..., self.seen]
            return chosen.flatten(2).to(torch.float32) / self.observation_scale
        if isinstance(self.space, spaces.Dict):
            assert isinstance(observations, dict)
            observations = {key: observations[key] for key in self.space.spaces}
        first = next(iter(observations.values())) if isinstance(observations, dict) else observations
        rows = map_observation(lambda array: array.flatten(0, 1), observations)
        features: Tensor = self.extractor(preprocess_obs(rows, self.space, self.normalize_images))
        return features.unflatten(0, first.shape[:2])

    def _own_scale(self, space: spaces.Space, scale: np.ndarray) -> np.ndarray:
        """The scale of the channels that are seen, given that of all."""
        if not self.flat:
            raise ValueError(
                "observation_scale is for a Box of observations that is read flat; "
                "here leave it out and scale in the environment or with VecNormalize"
            )
        channels = spaces.flatdim(space)
        if scale.shape != (channels,) or not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError(
                f"observation_scale needs {channels} positive numbers, one a channel, got shape {scale.shape}"
            )
        return scale if self.seen is None else scale[self.seen]


class Memory(nn.Module):
    """A memory cell that reads observations.

    ``x = extractor(observation / observation_scale)``, ``h' = cell(x, h, dt)``, ``y`` the cell's output. The elapsed time
    ``dt`` comes from the observation where ``elapsed`` tells which part of it is a step's duration; the cell may read that
    part as an input, too.

    Args:
        observation_space: as for :class:`Features`.
        cell: name of the cell in :data:`undrift.policies.cells.CELLS`.
        cell_arguments: arguments of its constructor but the number of inputs and the period; ``units`` is the wiring's
            number, or 64 without one, and a CfC without a wiring has 96 ``backbone_units`` where it is not told otherwise.
        period: nominal duration of one step, s; None keeps the cell's own default.
        elapsed: where an observation holds the time since the previous one, s: the key of a ``Dict``, or the index of a
            channel of a ``Box`` with one axis. None: every step lasts one period.
        **reading: all else that :class:`Features` takes.

    Raises:
        TypeError, ValueError: as :class:`Features`; ValueError also for an unknown cell, an argument that the cell does not
            take, or an ``elapsed`` that is not in the observation.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        cell: str = "cfc",
        cell_arguments: Mapping[str, Any] | None = None,
        *,
        period: float | None = None,
        elapsed: str | int | None = None,
        **reading: Any,
    ) -> None:
        super().__init__()
        _check_elapsed(observation_space, elapsed)
        self.elapsed = elapsed
        self.features = Features(observation_space, **reading)
        self.cell = _make_cell(cell, self.features.size, period, dict(cell_arguments or {}))

    @property
    def features_size(self) -> int:
        """Number of features ``I`` that the cell reads."""
        return self.features.size

    @property
    def state_size(self) -> int:
        """Number of state variables ``H``."""
        return self.cell.state_size

    @property
    def output_size(self) -> int:
        """Number of outputs ``O`` of the cell."""
        return self.cell.output_size

    def initial_state(self, n: int) -> Tensor:
        """Memory of ``n`` episodes that have not begun, shape ``[n, H]``."""
        return self.cell.initial_state(n)

    def read(self, observations: Observation, state: Tensor, episode_starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a sequence of observations into memory.

        Args:
            observations: raw observations ``[T, B, ...]``, or a dictionary of them.
            state: memory before the first of them, ``[B, H]``.
            episode_starts: ``[T, B]``, 1 where an observation is the first of its episode (memory is emptied before it).

        Returns:
            the features ``x [T, B, I]``, the cell's outputs ``y [T, B, O]`` and the memory afterwards, ``[B, H]``.
        """
        x = self.features(observations)
        y, state = self.cell.sequence(x, state, self._durations(observations), episode_starts)
        return x, y, state

    def _durations(self, observations: Observation) -> Tensor | None:
        """Elapsed time before each observation, ``[T, B]`` in s; None where every step lasts one period."""
        if self.elapsed is None:
            return None
        if isinstance(observations, dict):
            return observations[str(self.elapsed)].flatten(1).float()
        return observations[..., int(self.elapsed)].float()


def _make_cell(name: str, inputs: int, period: float | None, given: dict[str, Any]) -> Cell:
    if name not in CELLS:
        raise ValueError(f"unknown cell {name!r}; the cells are {', '.join(sorted(CELLS))}")
    takes = [argument for argument in signature(CELLS[name]).parameters if argument not in ("input_size", "period")]
    if unknown := sorted(set(given) - set(takes)):
        raise ValueError(
            f"neither the policy nor its cell {name!r} takes {unknown[0]!r}; the cell takes {', '.join(takes)}"
        )
    if isinstance(given.get("wiring"), Mapping):
        given["wiring"] = Wiring.from_dict(dict(given["wiring"]))
    wiring: Wiring | None = given.get("wiring")
    if given.get("units") is None:
        given["units"] = 64 if wiring is None else wiring.units
    if name == "cfc" and wiring is None:
        given.setdefault("backbone_units", 96)
    if period is not None:
        given["period"] = period
    return make_cell({"cell": name, **given}, input_size=inputs)


def _check_form(space: spaces.Space, extractor: type[BaseFeaturesExtractor], normalize_images: bool) -> None:
    """Refuse a space that Stable-Baselines3's extractors do not read, naming the policy that does."""
    if not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict)):
        raise TypeError(
            f"observations must be a Box, Discrete, MultiDiscrete, MultiBinary or a Dict of them, not {space}"
        )
    if isinstance(space, spaces.Dict) and extractor in (FlattenExtractor, NatureCNN):
        raise ValueError(f"{space} needs a policy of the MultiInput form, for example 'MultiInputCfcPolicy'")
    if not isinstance(space, spaces.Dict) and extractor is CombinedExtractor:
        raise ValueError(f"a policy of the MultiInput form reads a Dict of observations, not {space}; use 'CfcPolicy'")
    if extractor is NatureCNN and not is_image_space(space, normalized_image=not normalize_images):
        raise ValueError(
            f"a policy of the Cnn form reads images (three axes, uint8, 0 to 255), not {space}; use 'CfcPolicy', "
            "or normalize_images=False for images that are normalised already"
        )


def _check_parts(space: spaces.Space, parts: Sequence[str | int], argument: str) -> None:
    """Refuse parts that an observation does not have: keys of a ``Dict``, indices of channels of a flat ``Box``."""
    if isinstance(space, spaces.Dict):
        names: Sequence[str | int] = list(space.spaces)
        kind = f"keys of the observation: {', '.join(map(str, names))}"
    elif isinstance(space, spaces.Box) and len(space.shape) == 1:
        names = range(space.shape[0])
        kind = f"channels of the observation: 0 to {len(names) - 1}, or names in the environment's observation_names"
    else:
        names, kind = (), f"keys of a Dict or channels of a Box with one axis, and the observation is {space}"
    for part in parts:
        if part not in names:
            raise ValueError(f"{argument} {part!r} is not among the {kind}")


def _check_elapsed(space: spaces.Space, elapsed: str | int | None) -> None:
    if elapsed is None:
        return
    _check_parts(space, (elapsed,), "elapsed")
    if isinstance(space, spaces.Dict) and spaces.flatdim(space[str(elapsed)]) != 1:
        raise ValueError(f"elapsed {elapsed!r} must be one number, the time in s, not {space[str(elapsed)]}")


def _without(space: spaces.Space, unseen: Sequence[str | int]) -> tuple[spaces.Space, list[int] | None]:
    """The space without some parts; and of a ``Box`` the indices of the channels that stay (None: all)."""
    _check_parts(space, unseen, "unseen part")
    if not unseen:
        return space, None
    if isinstance(space, spaces.Dict):
        rest = {key: part for key, part in space.spaces.items() if key not in unseen}
        if not rest:
            raise ValueError("every key of the observation is unseen; leave at least one")
        return spaces.Dict(rest), None
    assert isinstance(space, spaces.Box)
    seen = [channel for channel in range(space.shape[0]) if channel not in unseen]
    if not seen:
        raise ValueError("every channel of the observation is unseen; leave at least one")
    return spaces.Box(space.low[seen], space.high[seen], dtype=space.dtype.type), seen
