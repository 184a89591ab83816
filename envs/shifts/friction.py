"""Friction: what rubs grips less, or more: the ground under a car's wheels, the geoms of any model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, PlantShift, World, magnitude, spread_over
from .surface import among_geoms, check_surface


@dataclass(frozen=True, kw_only=True)
class Friction(PlantShift):
    """Multiplies coefficients of friction.

    Of a car it is the tyres' peak force per load; their stiffness falls with it, B = B₀ / √factor, μ = factor μ₀ (Pacejka
    2012). Of any other model it is the sliding, torsional and rolling friction of geoms; where two touch, MuJoCo takes the
    larger of their two.

    Args:
        factor: of the nominal friction; 0.5 is half of it.
        where: "all"; of a car "front", "rear" or the name of a wheel; of any other model the name of a geom.
        spread: each episode draws its factor uniformly from factor * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such place.
    """

    name: ClassVar[str] = "friction"
    site: ClassVar[str] = "model"
    changes = ("friction",)

    factor: Magnitude = magnitude(0.5, "factor", least=0.0)
    where: str = "all"
    spread: float = magnitude(0.07, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"friction x{self.text('factor')}" + ("" if self.where == "all" else f" {self.where}")

    def check(self, world: World) -> None:
        super().check(world)
        check_surface(self, "where", self.where, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        factor = spread_over(rng, self.factor, self.spread)
        return (factor - 1.0) * among_geoms(world.plant.surfaces[self.where], world.plant)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["friction"][ids] *= (1.0 + memory * strength[:, None])[:, :, None]
