"""Shift: a named physical change of the world during an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .plant import Plant
from .schedule import Abrupt, Schedule


@dataclass(frozen=True, kw_only=True)
class Shift(ABC):
    """One site of the plant, a magnitude with a unit, and a schedule.

    A shift is drawn once per episode and simulation (`draw`), then applied to the nominal plant at the
    schedule's strength (`apply`). The environment restores the nominal plant before it applies its shifts and at every
    reset, so shifts add up, and none outlives its episode. Nothing of it reaches the observation.
    """

    name: ClassVar[str]

    schedule: Schedule = field(default_factory=Abrupt)

    @property
    @abstractmethod
    def label(self) -> str:
        """What shifts, with magnitude and unit, for tables and films: "wind 8 m/s"."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, plant: Plant) -> np.ndarray:
        """One episode's realisation (direction, exact magnitude, which rotor ...), a flat float array."""

    @abstractmethod
    def apply(self, plant: Plant, ids: np.ndarray, draws: np.ndarray, strength: np.ndarray) -> None:
        """Change `plant` for the simulations `ids` [n], from their draws [n, k] and strengths [n] in [0, 1]."""


def require(condition: bool, owner: object, field_name: str, value: object, valid: str) -> None:
    """Raise the ValueError that tells a user what a field of a shift (a wind field, a sensor) may be."""
    if not condition:
        raise ValueError(f"{type(owner).__name__}.{field_name} is {value!r}: it must be {valid}.")
