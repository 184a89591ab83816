"""Drag: air that resists a vehicle more or less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class Drag(PlantShift):
    """Multiplies the drag of body and rotors, at every airspeed; factors of several shifts multiply.

    Args:
        factor: on the nominal drag, at least 0. At strength s it is 1 + s (factor - 1).
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "drag"
    site: ClassVar[str] = "model"
    changes = ("drag",)

    factor: Magnitude = magnitude(2.0, "times the nominal drag", least=0.0)

    @property
    def label(self) -> str:
        return f"drag x{self.text('factor')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.factor])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["drag"][ids] *= 1 + strength * (memory[:, 0] - 1)
