"""Slope and bank: the ground is not level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, PlantShift, World, magnitude, spread_over

STEEPEST = 0.5
"""rad"""


@dataclass(frozen=True, kw_only=True)
class Slope(PlantShift):
    """The whole ground rises in one direction: gravity pulls the other way with g sin(angle).

    Args:
        angle: of the rise, rad.
        direction: in which the ground rises, rad from world x; None draws one per episode.
        spread: each episode draws its angle uniformly from angle * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "slope"
    site: ClassVar[str] = "exogenous"
    changes = ("slope",)

    angle: Magnitude = magnitude(0.105, "rad", least=-STEEPEST, most=STEEPEST)
    direction: Magnitude = magnitude(None, "rad")
    spread: float = magnitude(0.07, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"slope {self.text('angle')} rad"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        rise = np.sin(spread_over(rng, self.angle, self.spread))
        direction = rng.uniform(-np.pi, np.pi) if self.direction is None else self.direction
        return rise * np.array([np.cos(direction), np.sin(direction)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["slope"][ids] += memory * strength[:, None]


@dataclass(frozen=True, kw_only=True)
class Bank(PlantShift):
    """The road rises across its own direction, wherever it goes: gravity pulls to the lower side with g sin(angle).

    Args:
        angle: of the rise to the left, rad.
        either_side: whether each episode draws the side that rises.
        spread: each episode draws its angle uniformly from angle * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "bank"
    site: ClassVar[str] = "exogenous"
    changes = ("bank",)

    angle: Magnitude = magnitude(0.14, "rad", least=-STEEPEST, most=STEEPEST)
    either_side: bool = True
    spread: float = magnitude(0.07, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"bank {self.text('angle')} rad"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        side = rng.choice([-1.0, 1.0]) if self.either_side else 1.0
        return np.array([side * spread_over(rng, self.angle, self.spread)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["bank"][ids] += memory[:, 0] * strength
