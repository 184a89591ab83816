"""Gravity: weight that changes while inertia does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class Gravity(PlantShift):
    """Sets the downward acceleration of gravity; the changes that several shifts make to it add up.

    Args:
        acceleration: m/s², at least 0. At strength s gravity is on the way from its nominal value to this by the share s.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "gravity"
    site: ClassVar[str] = "model"
    changes = ("gravity",)

    acceleration: Magnitude = magnitude(11.0, "m/s²", least=0.0)

    @property
    def label(self) -> str:
        return f"gravity {self.text('acceleration')} m/s²"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.acceleration])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["gravity"][ids, 2] -= strength * (memory[:, 0] + plant.nominal("gravity")[ids, 2])
