"""Payload: mass added to a body, where it is carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, PlantShift, World, magnitude, require, spread_over
from .body import body_index, check_body


@dataclass(frozen=True, kw_only=True)
class Payload(PlantShift):
    """Adds `fraction` of the body's mass, and half that share of its inertia about the payload's own centre.

    Carried off the centre of mass it moves that towards itself, and adds the inertia of two masses apart (parallel axes).

    Args:
        fraction: added mass as a share of the nominal mass; 0.6 is +60 %. Negative for a part that is lost.
        forward: place of the payload, m along the body's x axis from its nominal centre of mass.
        left: likewise along y.
        up: likewise along z.
        spread: each episode draws its share uniformly from fraction * [1 - spread, 1 + spread].
        body: name of the body that carries it; None is the vehicle's own, or the first that moves.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such body.
    """

    name: ClassVar[str] = "payload"
    site: ClassVar[str] = "model"
    late: ClassVar[bool] = True
    changes = ("mass", "inertia", "centre_of_mass")

    fraction: Magnitude = magnitude(0.6, "share of the nominal mass (0.6 adds 60 %)", above=-0.95)
    forward: Magnitude = magnitude(0.0, "m")
    left: Magnitude = magnitude(0.0, "m")
    up: Magnitude = magnitude(0.0, "m")
    spread: float = magnitude(0.1, SPREAD, least=0.0, below=1.0)
    body: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        least = np.min(self.fraction) * (1 + np.max(self.spread))
        valid = "a share of the nominal mass that leaves at least 5 % of it, spread included"
        require(bool(least > -0.95), self, "fraction", self.fraction, valid)

    @property
    def label(self) -> str:
        return f"payload {self.text('fraction', '+.0%')}"

    def check(self, world: World) -> None:
        super().check(world)
        check_body(self, self.body, world.plant)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        share = spread_over(rng, self.fraction, self.spread)
        return np.array([share, self.forward, self.left, self.up, body_index(self.body, world.plant)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        share, place, body = memory[:, 0] * strength, memory[:, 1:4], memory[:, 4].astype(int)
        nominal = plant.nominal("mass")[ids, body]
        before = plant["mass"][ids, body]
        added = nominal * share
        after = before + added
        arm = place + plant.nominal("centre_of_mass")[ids, body] - plant["centre_of_mass"][ids, body]
        plant["mass"][ids, body] = after
        plant["centre_of_mass"][ids, body] += arm * (added / after)[:, None]
        own = plant.nominal("inertia")[ids, body] * (0.5 * share)[:, None, None]
        apart = (arm**2).sum(1)[:, None, None] * np.eye(3) - arm[:, :, None] * arm[:, None, :]
        plant["inertia"][ids, body] += own + (before * added / after)[:, None, None] * apart
