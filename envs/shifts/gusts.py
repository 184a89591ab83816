"""Gusts: air that moves at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, VaryingShift, World, magnitude

ANISOTROPY = np.array([1.0, 1.0, 0.5])
"""Standard deviation of the gusts along world x, y and z, as shares of `Gusts.deviation`."""


@dataclass(frozen=True, kw_only=True)
class Gusts(VaryingShift):
    """Wind that is an Ornstein-Uhlenbeck process along each axis of the world, added to what else the air does:

        dw = -w / correlation_time dt + deviation sqrt(2 / correlation_time) dB,  half of it along z

    Discretised exactly (Gillespie 1996, Phys. Rev. E 54, 2084), so that its variance and spectrum do not depend on the
    control rate; each episode begins in the stationary distribution.

    Args:
        deviation: standard deviation along x and y, m/s, at least 0.
        correlation_time: s, above 0.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "gusts"
    site: ClassVar[str] = "exogenous"
    noises: ClassVar[int] = 3
    changes = ("wind",)

    deviation: Magnitude = magnitude(2.5, "m/s", least=0.0)
    correlation_time: Magnitude = magnitude(0.6, "s", above=0.0)

    @property
    def label(self) -> str:
        return f"gusts {self.text('deviation')} m/s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        deviation = self.deviation * ANISOTROPY
        return np.array([*(deviation * rng.standard_normal(3)), *deviation, -1.0 / self.correlation_time])

    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        wind, deviation, rate = memory[:, :3], memory[:, 3:6], memory[:, 6]
        decay = np.exp(rate * dt)[:, None]
        wind *= decay
        wind += np.sqrt(1.0 - decay * decay) * deviation * normals

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["wind"][ids] += memory[:, :3] * strength[:, None]
