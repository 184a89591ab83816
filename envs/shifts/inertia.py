"""Inertia: mass that lies further out or further in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import Magnitude, PlantShift, World, magnitude, require
from .body import body_index, check_body

AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class Inertia(PlantShift):
    """Multiplies a body's moments of inertia about its centre of mass, I' = S I S with S = diag(sqrt(factors)); mass stays.

    Factors of several shifts multiply; payloads come on top.

    Args:
        factor: on the moment, above 0. At strength s it is 1 + s (factor - 1).
        axis: of the body, "x", "y" or "z"; "all" for all three.
        body: name of the body; None is the vehicle's own, or the first that moves.
        schedule: when.

    Raises:
        ValueError: a field is out of range, there is no such body, or no rigid body has such moments (none is larger than
            the other two together).
    """

    name: ClassVar[str] = "inertia"
    site: ClassVar[str] = "model"
    changes = ("inertia",)

    factor: Magnitude = magnitude(1.5, "times the nominal moment", above=0.0)
    axis: str = "all"
    body: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.axis in ("all", *AXES), self, "axis", self.axis, '"all", "x", "y" or "z"')

    @property
    def label(self) -> str:
        return f"inertia{'' if self.axis == 'all' else f' about {self.axis}'} x{self.text('factor')}"

    def check(self, world: World) -> None:
        super().check(world)
        check_body(self, self.body, world.plant)
        nominal = world.plant.nominal("inertia")[0, body_index(self.body, world.plant)]
        for factor in self.factor if isinstance(self.factor, tuple) else (self.factor,):
            moments = np.linalg.eigvalsh(_scaled(nominal, self._factors(factor)))
            possible = self.axis == "all" or moments[2] <= (moments[0] + moments[1]) * (1 + 1e-9)
            valid = f"such that no principal moment exceeds the other two together; here they are {moments} kg m²"
            require(bool(possible), self, "factor", self.factor, valid)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([*self._factors(self.factor), body_index(self.body, world.plant)])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        body = memory[:, 3].astype(int)
        factors = 1 + strength[:, None] * (memory[:, :3] - 1)
        plant["inertia"][ids, body] = _scaled(plant["inertia"][ids, body], factors)

    def _factors(self, factor: float) -> np.ndarray:
        return np.array([factor if self.axis in ("all", axis) else 1.0 for axis in AXES])


def _scaled(inertia: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Tensors [..., 3, 3] whose axes' moments are multiplied by `factors` [..., 3]; positive definite as before."""
    roots = np.sqrt(factors)
    return roots[..., :, None] * inertia * roots[..., None, :]
