"""Torque: a constant moment that disturbs a vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class Torque(PlantShift):
    """A constant torque on the vehicle, about its own axes, as of a bent arm or a crooked rotor; torques add up.

    Args:
        roll: about the body's x axis, N m; the default ranges draw one per episode, for a vehicle of half a kilogram.
        pitch: likewise about y.
        yaw: likewise about z.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "torque"
    site: ClassVar[str] = "exogenous"
    changes = ("body_torque",)

    roll: Magnitude = magnitude((-0.02, 0.02), "N m")
    pitch: Magnitude = magnitude((-0.02, 0.02), "N m")
    yaw: Magnitude = magnitude((-0.006, 0.006), "N m")

    @property
    def label(self) -> str:
        return f"torque {self.text('roll')}, {self.text('pitch')}, {self.text('yaw')} N m"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.roll, self.pitch, self.yaw])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["body_torque"][ids] += memory * strength[:, None]
