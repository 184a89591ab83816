"""Attribute: a number that an environment keeps in an attribute, such as Pendulum's gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude, require

OF_ENV = "env."
"""What the names of a plant's parameters begin with that are attributes of its environment."""


@dataclass(frozen=True, kw_only=True)
class Attribute(PlantShift):
    """Sets a number attribute of `env.unwrapped` to `value`; of several on one attribute the last has the last word.

    It does what the environment's `step` makes of the attribute. One that the constructor derived from others keeps its
    number: shift it as well, with the same schedule. In CartPole, `total_mass` is masscart + masspole and `polemass_length`
    masspole * length. Pendulum's are g, m, l and max_torque, and none is derived.

    Args:
        attribute: its name.
        value: in the attribute's own unit.
        schedule: when. Strength goes from the attribute's own value to `value`.

    Raises:
        ValueError: `value` is no number, or the environment has no such number.
    """

    name: ClassVar[str] = "attribute"
    site: ClassVar[str] = "model"

    attribute: str = "g"
    value: Magnitude = magnitude(11.0, "in the attribute's own unit")

    @property
    def changes(self) -> tuple[str, ...]:
        return (OF_ENV + self.attribute,)

    @property
    def label(self) -> str:
        return f"{self.attribute} = {self.text('value')}"

    def check(self, world: World) -> None:
        own = [name.removeprefix(OF_ENV) for name in world.plant.names if name.startswith(OF_ENV)]
        valid = f"a number attribute of the environment; it has: {', '.join(own) or 'none'}"
        require(self.attribute in own, self, "attribute", self.attribute, valid)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.value])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        # Exactly `value` at full strength.
        (name,) = self.changes
        plant[name][ids] = (1 - strength) * plant[name][ids] + strength * memory[:, 0]
