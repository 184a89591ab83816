"""Gusty wind: a wind that swells and abates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, VaryingShift, World, magnitude, spread_over


@dataclass(frozen=True, kw_only=True)
class GustyWind(VaryingShift):
    """Air that moves in one direction at speed (1 + depth sin(2 pi frequency t + phase)), phase drawn per episode.

    Args:
        speed: its mean, m/s, at least 0.
        depth: of the swell, as a share of the mean.
        frequency: Hz.
        heading: direction the wind blows towards, rad from world x; None draws one per episode.
        spread: each episode draws its mean uniformly from speed * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "gusty_wind"
    site: ClassVar[str] = "exogenous"
    changes = ("wind",)

    speed: Magnitude = magnitude(6.0, "m/s", least=0.0)
    depth: Magnitude = magnitude(0.8, "share of the mean speed", least=0.0)
    frequency: Magnitude = magnitude(0.5, "Hz", least=0.0)
    heading: Magnitude = magnitude(None, "rad")
    spread: float = magnitude(0.07, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"gusty wind {self.text('speed')} m/s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        speed = spread_over(rng, self.speed, self.spread)
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        phase = rng.uniform(-np.pi, np.pi)
        mean = speed * np.array([np.cos(heading), np.sin(heading)])
        swell = 1.0 + self.depth * np.sin(phase)
        return np.array([*(swell * mean), *mean, self.depth, self.frequency, phase])

    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        mean, (depth, frequency, phase) = memory[:, 2:4], memory[:, 4:].T
        swell = 1.0 + depth * np.sin(2 * np.pi * frequency * time + phase)
        memory[:, :2] = swell[:, None] * mean

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["wind"][ids, :2] += memory[:, :2] * strength[:, None]
