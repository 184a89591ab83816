"""Flat tyre: one wheel of a car that has lost its air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude
from .surface import among_geoms, check_surface


@dataclass(frozen=True, kw_only=True)
class FlatTyre(PlantShift):
    """A blow-out: the tyre grips less, and resists rolling more, so that it pulls the car to its side.

    Args:
        wheel: the name of a wheel, or "front", "rear" or "all", of which each episode draws one.
        friction: factor of the tyre's friction, and by its root of its stiffness.
        rolling: factor of its rolling resistance; on tyres of coefficient 0.015 the default makes that 0.25.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such wheel.
    """

    name: ClassVar[str] = "flat_tyre"
    site: ClassVar[str] = "model"
    changes = ("friction", "rolling_resistance")

    wheel: str = "front"
    friction: Magnitude = magnitude(0.4, "factor", least=0.0)
    rolling: Magnitude = magnitude(0.25 / 0.015, "factor", least=0.0)

    @property
    def label(self) -> str:
        wheel = self.wheel.replace("_", " ")
        return f"flat {wheel} tyre, friction x{self.text('friction')}"

    def check(self, world: World) -> None:
        super().check(world)
        check_surface(self, "wheel", self.wheel, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        surfaces = world.plant.surfaces
        flat = among_geoms([rng.choice(surfaces[self.wheel])], world.plant)
        return np.concatenate([(self.rolling - 1.0) * flat[list(surfaces["all"])], (self.friction - 1.0) * flat])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        scaled = 1.0 + memory * strength[:, None]
        wheels = plant["rolling_resistance"].shape[1]
        plant["rolling_resistance"][ids] *= scaled[:, :wheels]
        plant["friction"][ids] *= scaled[:, wheels:, None]
