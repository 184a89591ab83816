"""Motor loss: actuators that give less than they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Shift, require


@dataclass(frozen=True, kw_only=True)
class MotorLoss(Shift):
    """Lowers the effectiveness (force per command) of all motors, or of one.

    Args:
        fraction: share that is lost, in [0, 1]; 1 is a dead motor.
        motor: "all", "one" (drawn per episode), or an actuator's index.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "motor_loss"

    fraction: float = 0.4
    motor: str | int = "all"

    def __post_init__(self) -> None:
        require(0 <= self.fraction <= 1, self, "fraction", self.fraction, "in [0, 1] (0.4 loses 40 %)")
        valid = self.motor in ("all", "one") or (isinstance(self.motor, int) and self.motor >= 0)
        require(valid, self, "motor", self.motor, '"all", "one" or an actuator\'s index')

    @property
    def label(self) -> str:
        which = {"all": "all motors", "one": "one motor"}.get(str(self.motor), f"motor {self.motor}")
        return f"{which} -{self.fraction:.0%}"

    def draw(self, rng: np.random.Generator, plant: Plant) -> np.ndarray:
        if isinstance(self.motor, int) and self.motor >= plant.actuators:
            raise ValueError(f"MotorLoss.motor is {self.motor}: this vehicle's motors are 0 to {plant.actuators - 1}.")
        if self.motor == "all":
            return np.full(plant.actuators, self.fraction)
        lost = np.zeros(plant.actuators)
        lost[self.motor if isinstance(self.motor, int) else rng.integers(plant.actuators)] = self.fraction
        return lost

    def apply(self, plant: Plant, ids: np.ndarray, draws: np.ndarray, strength: np.ndarray) -> None:
        plant.actuator_gain[ids] *= 1 - draws * strength[:, None]
