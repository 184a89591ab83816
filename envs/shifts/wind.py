"""Wind: a constant horizontal air velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Shift, require


@dataclass(frozen=True, kw_only=True)
class Wind(Shift):
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

    speed: float = 8.0
    heading: float | None = None
    spread: float = 0.1

    def __post_init__(self) -> None:
        require(np.isfinite(self.speed) and self.speed >= 0, self, "speed", self.speed, "in m/s, at least 0")
        require(0 <= self.spread < 1, self, "spread", self.spread, "in [0, 1)")
        require(
            self.heading is None or bool(np.isfinite(self.heading)),
            self,
            "heading",
            self.heading,
            "an angle in rad, or None to draw one per episode",
        )

    @property
    def label(self) -> str:
        return f"wind {self.speed:g} m/s"

    def draw(self, rng: np.random.Generator, plant: Plant) -> np.ndarray:
        speed = self.speed * rng.uniform(1 - self.spread, 1 + self.spread)
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        return np.array([speed * np.cos(heading), speed * np.sin(heading), 0.0])

    def apply(self, plant: Plant, ids: np.ndarray, draws: np.ndarray, strength: np.ndarray) -> None:
        plant.wind[ids] += draws * strength[:, None]
