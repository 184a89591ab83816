"""Dropout and frozen: measurements that do not arrive, in whose place the last one stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from ..shift import Magnitude, World, magnitude
from .channels import ChannelShift


@dataclass(frozen=True, kw_only=True)
class _Held(ChannelShift):
    """What both share: their memory ends with the channels that are meant, and the last sample that arrived of each."""

    def _nothing_held(self, world: World) -> np.ndarray:
        """[2 C] for the end of `memory` when an episode begins."""
        return np.concatenate([self.chosen(world), np.full(len(world.measured_names), np.nan)])

    @staticmethod
    def _hold(memory: np.ndarray, lost: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """What is seen [n, C] where the samples of `lost` [n] do not arrive; an episode's first sample always does."""
        channels = measured.shape[1]
        chosen, held = memory[:, -2 * channels : -channels], memory[:, -channels:]
        arrived = ~lost[:, None] | (chosen == 0) | np.isnan(held)
        held[arrived] = measured[arrived]
        return held.copy()


@dataclass(frozen=True, kw_only=True)
class Dropout(_Held):
    """Samples that get lost: with this probability, at each control step anew, the last one that arrived is seen again.

    All of its channels are lost together, as when they come in one message. What the environment adds to an observation,
    such as the reference and the previous action, is not.

    Args:
        probability: that a sample is lost.
        channels: names or stems of channels; empty for all.
        schedule: when. Strength scales the probability.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "dropout"
    noises: ClassVar[int] = 1

    probability: Magnitude = magnitude(0.4, "probability", least=0.0, most=1.0)

    @property
    def label(self) -> str:
        return f"{self.text('probability', '.0%')} dropped{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.concatenate([[self.probability], self._nothing_held(world)])

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        return self._hold(memory, ndtr(normals[:, 0]) < strength * memory[:, 0], measured)


@dataclass(frozen=True, kw_only=True)
class Frozen(_Held):
    """Channels that stand still: they keep the value that they had at the onset, whatever the strength.

    Args:
        channels: names or stems of channels; empty for all.
        schedule: when.

    Raises:
        ValueError: there is no such channel.
    """

    name: ClassVar[str] = "frozen"

    @property
    def label(self) -> str:
        return f"frozen{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self._nothing_held(world)

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        return self._hold(memory, strength > 0, measured)
