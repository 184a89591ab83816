"""Payload: mass added at the vehicle's centre of mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Shift, require


@dataclass(frozen=True, kw_only=True)
class Payload(Shift):
    """Adds `fraction` of the vehicle's mass, and half that share of its inertia.

    Args:
        fraction: added mass as a share of the nominal mass; 0.6 is +60 %. Above -1 (a lost part is negative).
        spread: each episode draws its share uniformly from fraction * [1 - spread, 1 + spread].
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "payload"

    fraction: float = 0.6
    spread: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.spread < 1, self, "spread", self.spread, "in [0, 1)")
        require(
            np.isfinite(self.fraction) and self.fraction * (1 + self.spread) > -0.95,
            self,
            "fraction",
            self.fraction,
            "a share of the nominal mass that leaves at least 5 % of it (0.6 adds 60 %)",
        )

    @property
    def label(self) -> str:
        return f"payload {self.fraction:+.0%}"

    def draw(self, rng: np.random.Generator, plant: Plant) -> np.ndarray:
        return np.array([self.fraction * rng.uniform(1 - self.spread, 1 + self.spread)])

    def apply(self, plant: Plant, ids: np.ndarray, draws: np.ndarray, strength: np.ndarray) -> None:
        share = draws[:, 0] * strength
        plant.mass[ids] += plant.nominal_mass * share
        plant.inertia[ids] += plant.nominal_inertia * (0.5 * share)[:, None]
