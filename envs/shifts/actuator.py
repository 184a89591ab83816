"""Which of a plant's actuators a shift concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import PlantShift, Shift, World, require


def check_actuator(shift: Shift, field: str, actuator: str | int, plant: Plant) -> None:
    """Raise ValueError unless `actuator` is "all", "one", or the name or the index of one of the plant's."""
    valid = f'"all", "one", one of {", ".join(plant.actuators)}, or an index from 0 to {len(plant.actuators) - 1}'
    known = isinstance(actuator, int) and 0 <= actuator < len(plant.actuators)
    require(known or actuator in ("all", "one", *plant.actuators), shift, field, actuator, valid)


def chosen_actuators(rng: np.random.Generator, actuator: str | int, plant: Plant) -> np.ndarray:
    """[actuators] 1 for those that are meant, else 0; "all" and "one", drawn, are of the motors."""
    if actuator == "all":
        names = plant.motors
    elif actuator == "one":
        names = (plant.motors[rng.integers(len(plant.motors))],)
    else:
        names = (plant.actuators[actuator] if isinstance(actuator, int) else actuator,)
    return np.array([float(name in names) for name in plant.actuators])


def which(actuator: str | int) -> str:
    """The actuators that are meant, as a label names them."""
    if isinstance(actuator, int):
        return f"actuator {actuator}"
    return {"all": "all motors", "one": "one motor"}.get(actuator, actuator)


@dataclass(frozen=True, kw_only=True)
class ActuatorShift(PlantShift):
    """Changes how some actuators answer.

    Args:
        actuator: "all" motors, "one" (a motor drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    site: ClassVar[str] = "actuator"

    actuator: str | int = "all"

    def check(self, world: World) -> None:
        super().check(world)
        check_actuator(self, "actuator", self.actuator, world.plant)

    def chosen(self, rng: np.random.Generator, world: World) -> np.ndarray:
        """[actuators] 1 for those that are meant, else 0."""
        return chosen_actuators(rng, self.actuator, world.plant)
