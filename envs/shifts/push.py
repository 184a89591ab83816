"""Push: a force for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, VaryingShift, World, magnitude
from .body import body_index, check_body


@dataclass(frozen=True, kw_only=True)
class Push(VaryingShift):
    """A horizontal force at a body's centre of mass, for a moment from every time at which the shift sets in.

    Its impulse is the nominal mass times `acceleration` times `duration`, which need be no whole number of control steps.

    Args:
        acceleration: of the nominal mass, m/s², at least 0.
        duration: s, above 0.
        heading: direction of the force, rad from world x; None draws one per episode.
        body: name of the body; None is the vehicle's own, or the first that moves.
        schedule: when; a cyclic one pushes at the beginning of every cycle.

    Raises:
        ValueError: a field is out of range, or there is no such body.
    """

    name: ClassVar[str] = "push"
    site: ClassVar[str] = "exogenous"
    changes = ("force",)

    # Whether a drone may touch something within a control step is decided by a bound on its acceleration.
    acceleration: Magnitude = magnitude(5.0, "m/s²", least=0.0, most=50.0)
    duration: Magnitude = magnitude(0.2, "s", above=0.0)
    heading: Magnitude | None = magnitude(None, "rad")
    body: str | None = None

    @property
    def label(self) -> str:
        return f"push {self.text('acceleration')} m/s² for {self.text('duration')} s"

    def check(self, world: World) -> None:
        super().check(world)
        check_body(self, self.body, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        heading = rng.uniform(-np.pi, np.pi) if self.heading is None else self.heading
        body = body_index(self.body, world.plant)
        force = self.acceleration * world.plant.nominal("mass")[0, body]
        share_now = 0.0
        return np.array(
            [force * np.cos(heading), force * np.sin(heading), share_now, self.duration, self.duration, body]
        )

    def evolve(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, dt: np.ndarray
    ) -> None:
        share_now, left, duration = memory[:, 2], memory[:, 3], memory[:, 4]
        share_now[:] = np.minimum(np.maximum(left / dt, 0.0), 1.0)
        left[:] = np.where(strength > 0, left - dt, duration)

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        share_now, body = memory[:, 2], memory[:, 5].astype(int)
        if share_now.any():  # mostly all pushes are over
            plant["force"][ids, body, :2] += memory[:, :2] * (share_now * strength)[:, None]
