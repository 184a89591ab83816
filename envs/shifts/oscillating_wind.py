"""Oscillating wind: air that sways along two axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, VaryingShift, World, magnitude

FREQUENCY_RATIO = 0.675
"""Of the frequency along world y to that along x: the direction never repeats itself for long."""


@dataclass(frozen=True, kw_only=True)
class OscillatingWind(VaryingShift):
    """Wind of velocity amplitude (sin(2 pi f t), cos(2 pi 0.675 f t), 0), world frame, t from the beginning of the episode.

    Args:
        amplitude: m/s, at least 0.
        frequency: f, along x, Hz, above 0; along y it is 0.675 times that.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "oscillating_wind"
    site: ClassVar[str] = "exogenous"
    changes = ("wind",)

    amplitude: Magnitude = magnitude(5.0, "m/s", least=0.0)
    frequency: Magnitude = magnitude(0.4, "Hz", above=0.0)

    @property
    def label(self) -> str:
        return f"oscillating wind {self.text('amplitude')} m/s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([0.0, self.amplitude, self.amplitude, self.frequency])

    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        amplitude, phase = memory[:, 2], 2 * np.pi * memory[:, 3] * time
        memory[:, 0] = amplitude * np.sin(phase)
        memory[:, 1] = amplitude * np.cos(FREQUENCY_RATIO * phase)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["wind"][ids, :2] += memory[:, :2] * strength[:, None]
