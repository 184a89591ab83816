"""Wind: a constant horizontal air velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, PlantShift, World, magnitude, spread_over


@dataclass(frozen=True, kw_only=True)
class Wind(PlantShift):
    """Air that moves at `speed` over the ground; the vehicle's drag follows its velocity relative to the air.

    Args:
        speed: m/s, at least 0.
        heading: direction the wind blows towards, rad from world x; None draws one per episode.
        spread: each episode draws its speed uniformly from speed * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "wind"
    site: ClassVar[str] = "exogenous"
    changes = ("wind",)

    speed: Magnitude = magnitude(8.0, "m/s", least=0.0)
    heading: Magnitude | None = magnitude(None, "rad")
    spread: float = magnitude(0.1, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"wind {self.text('speed')} m/s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        speed = spread_over(rng, self.speed, self.spread)
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        return np.array([speed * np.cos(heading), speed * np.sin(heading), 0.0])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["wind"][ids] += memory * strength[:, None]
