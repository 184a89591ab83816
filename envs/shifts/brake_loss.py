"""Brake loss: brakes that give less than they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class BrakeLoss(PlantShift):
    """Lowers the force of all brakes per command, as faded or wet ones give.

    Args:
        fraction: share that is lost, in [0, 1]; 1 leaves the car without brakes.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "brake_loss"
    site: ClassVar[str] = "actuator"
    changes = ("brake_gain",)

    fraction: Magnitude = magnitude(0.4, "share (0.4 loses 40 %)", least=0.0, most=1.0)

    @property
    def label(self) -> str:
        return f"brakes -{self.text('fraction', '.0%')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.fraction])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["brake_gain"][ids] *= 1 - memory[:, 0] * strength
