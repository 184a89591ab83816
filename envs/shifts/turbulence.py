"""Turbulence: the continuous gusts of MIL-F-8785C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import dryden
from ..plant import Plant
from ..shift import Magnitude, VaryingShift, World, magnitude


@dataclass(frozen=True, kw_only=True)
class Turbulence(VaryingShift):
    """Dryden turbulence of MIL-F-8785C (see `envs.dryden`), added to what else the air does; its mean is zero.

    The shift does not see where the vehicle is and how it moves, so altitude and airspeed are those stated here. Vehicles that
    fly higher, or through much of the field, meet the exact one as `wind={"name": "dryden"}` of a drone's environment.

    Args:
        speed: mean wind at 20 ft (6.1 m) that is this turbulent, m/s, at least 0. MIL-F-8785C: light 7.7, moderate 15.4,
            severe 23.2. It adds no mean: add a `Wind`.
        altitude: m; the model is held at its ends below 3.048 and above 304.8.
        airspeed: at which the frozen field moves past the vehicle, m/s, above 0; None is `speed`, that of a hover.
        heading: of the mean wind, rad from world x; None draws one per episode.
        schedule: when.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "turbulence"
    site: ClassVar[str] = "exogenous"
    noises: ClassVar[int] = dryden.NORMALS
    changes = ("wind",)

    speed: Magnitude = magnitude(15.4, "m/s", least=0.0)
    altitude: Magnitude = magnitude(3.048, "m", least=0.0)
    airspeed: Magnitude | None = magnitude(None, "m/s", above=0.0)
    heading: Magnitude | None = magnitude(None, "rad")

    @property
    def label(self) -> str:
        return f"turbulence of a {self.text('speed')} m/s wind"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        airspeed = self.speed if self.airspeed is None else self.airspeed
        fixed = self.speed, self.altitude, airspeed, np.cos(heading), np.sin(heading)
        (filters,) = dryden.start(rng.standard_normal((1, dryden.NORMALS)))
        return np.array([0.0, 0.0, 0.0, *fixed, *filters])

    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        wind, (speed, altitude, airspeed), along, filters = (
            memory[:, :3],
            memory[:, 3:6].T,
            memory[:, 6:8],
            memory[:, 8:],
        )
        wind[:] = dryden.advance(filters, normals, speed, altitude, airspeed * dt, along)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["wind"][ids] += memory[:, :3] * strength[:, None]
