"""Link length: arms and limbs that are longer or shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude
from .body import body_index, check_body


@dataclass(frozen=True, kw_only=True)
class LinkLength(PlantShift):
    """Stretches a body: its capsules, and all places in its frame, with the hinges at which it carries other bodies.

    Of a quadrotor these are its arms: the rotors move outwards, while its flight controller and what collides stay as they
    were. Masses, and inertias about centres of mass, stay; add `Inertia` for those. Factors of several shifts multiply.

    Args:
        factor: on the nominal length, above 0. At strength s it is 1 + s (factor - 1).
        body: name of the body; None is the vehicle's own, or the first that moves.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such body.
    """

    name: ClassVar[str] = "link_length"
    site: ClassVar[str] = "model"
    changes = ("link_length",)

    factor: Magnitude = magnitude(1.2, "times the nominal length", above=0.0)
    body: str | None = None

    @property
    def label(self) -> str:
        return f"{self.body or 'link'} length x{self.text('factor')}"

    def check(self, world: World) -> None:
        super().check(world)
        check_body(self, self.body, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.factor, body_index(self.body, world.plant)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["link_length"][ids, memory[:, 1].astype(int)] *= 1 + strength * (memory[:, 0] - 1)
