"""Motor loss: actuators that give less than they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude
from .actuator import check_actuator, chosen_actuators, which


@dataclass(frozen=True, kw_only=True)
class MotorLoss(PlantShift):
    """Lowers the effectiveness (force per command) of all motors, of one, or of any other actuator.

    Args:
        fraction: share that is lost, in [0, 1]; 1 is a dead motor.
        motor: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    name: ClassVar[str] = "motor_loss"
    site: ClassVar[str] = "actuator"
    changes = ("actuator_gain",)

    fraction: Magnitude = magnitude(0.4, "share (0.4 loses 40 %)", least=0.0, most=1.0)
    motor: str | int = "all"

    @property
    def label(self) -> str:
        return f"{which(self.motor)} " + ("dead" if self.fraction == 1 else f"-{self.text('fraction', '.0%')}")

    def check(self, world: World) -> None:
        super().check(world)
        check_actuator(self, "motor", self.motor, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return chosen_actuators(rng, self.motor, world.plant) * self.fraction

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["actuator_gain"][ids] *= 1 - memory * strength[:, None]
