"""Centre of mass: it moves within a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude
from .body import body_index, check_body


@dataclass(frozen=True, kw_only=True)
class CentreOfMass(PlantShift):
    """Moves a body's centre of mass sideways; mass, and inertia about the centre of mass, stay. Offsets add up.

    Args:
        distance: m, at least 0.
        heading: direction in which it moves, rad from the body's x axis about its z axis; None draws one per episode.
        body: name of the body; None is the vehicle's own, or the first that moves.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such body.
    """

    name: ClassVar[str] = "centre_of_mass"
    site: ClassVar[str] = "model"
    changes = ("centre_of_mass",)

    distance: Magnitude = magnitude(0.012, "m", least=0.0)
    heading: Magnitude | None = magnitude(None, "rad")
    body: str | None = None

    @property
    def label(self) -> str:
        return f"centre of mass off by {self.text('distance')} m"

    def check(self, world: World) -> None:
        super().check(world)
        check_body(self, self.body, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        offset = self.distance * np.cos(heading), self.distance * np.sin(heading), 0.0
        return np.array([*offset, body_index(self.body, world.plant)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["centre_of_mass"][ids, memory[:, 3].astype(int)] += memory[:, :3] * strength[:, None]
