"""Faults of actuators: a bias, a lag, saturation, a dead zone, one that is stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, World, magnitude
from .actuator import ActuatorShift, which


@dataclass(frozen=True, kw_only=True)
class ActuatorBias(ActuatorShift):
    """Adds a constant to what the actuators are asked for: a trim that is off. Biases of several shifts add up.

    Args:
        bias: share of the full range; a rotor's is its largest thrust.
        actuator: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    name: ClassVar[str] = "actuator_bias"
    changes = ("actuator_bias",)

    bias: Magnitude = magnitude(0.1, "share of the full range", least=-1.0, most=1.0)
    actuator: str | int = "one"

    @property
    def label(self) -> str:
        return f"{which(self.actuator)} biased by {self.text('bias', '+.0%')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(rng, world) * self.bias

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["actuator_bias"][ids] += memory * strength[:, None]


@dataclass(frozen=True, kw_only=True)
class ActuatorLag(ActuatorShift):
    """Makes the first-order lag of the actuators longer: dF/dt = (asked - F) / (nominal time constant + `lag`).

    Args:
        lag: s added to the time constant. Lags of several shifts add up.
        actuator: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    name: ClassVar[str] = "actuator_lag"
    changes = ("actuator_lag",)

    lag: Magnitude = magnitude(0.04, "s", least=0.0)

    @property
    def label(self) -> str:
        return f"{which(self.actuator)} lag +{self.text('lag')} s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(rng, world) * self.lag

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["actuator_lag"][ids] += memory * strength[:, None]


@dataclass(frozen=True, kw_only=True)
class Saturation(ActuatorShift):
    """Cuts off what the actuators give at a share of their full range; where several shifts do, the lowest counts.

    Args:
        limit: share of the full range, in [0, 1]. At strength s it is 1 - s (1 - limit).
        actuator: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    name: ClassVar[str] = "saturation"
    changes = ("actuator_limit",)

    limit: Magnitude = magnitude(0.6, "share of the full range", least=0.0, most=1.0)

    @property
    def label(self) -> str:
        return f"{which(self.actuator)} limited to {self.text('limit', '.0%')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(rng, world) * (1.0 - self.limit)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        limit = plant["actuator_limit"]
        limit[ids] = np.minimum(limit[ids], 1.0 - memory * strength[:, None])


@dataclass(frozen=True, kw_only=True)
class DeadZone(ActuatorShift):
    """Lets actuators give nothing where they are asked for less than a threshold; of several the highest counts.

    Args:
        threshold: share of the full range, in [0, 1].
        actuator: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such actuator.
    """

    name: ClassVar[str] = "dead_zone"
    changes = ("actuator_dead_zone",)

    threshold: Magnitude = magnitude(0.2, "share of the full range", least=0.0, most=1.0)

    @property
    def label(self) -> str:
        return f"{which(self.actuator)} dead below {self.text('threshold', '.0%')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(rng, world) * self.threshold

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        zone = plant["actuator_dead_zone"]
        zone[ids] = np.maximum(zone[ids], memory * strength[:, None])


@dataclass(frozen=True, kw_only=True)
class Stuck(ActuatorShift):
    """Holds actuators at what they give when it sets in, whatever they are asked for; at any strength above 0.

    Args:
        actuator: "all" motors, "one" (drawn per episode), or the name or index of an actuator.
        schedule: when.

    Raises:
        ValueError: there is no such actuator.
    """

    name: ClassVar[str] = "stuck"
    changes = ("actuator_stuck",)

    actuator: str | int = "one"

    @property
    def label(self) -> str:
        return f"{which(self.actuator)} stuck"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(rng, world)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        stuck = plant["actuator_stuck"]
        stuck[ids] = np.maximum(stuck[ids], memory)
