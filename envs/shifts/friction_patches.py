"""Friction patches: stretches of the road that grip less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..plant import Plant
from ..shift import SPREAD, Magnitude, PlantShift, World, magnitude, spread_over


@dataclass(frozen=True, kw_only=True)
class FrictionPatches(PlantShift):
    """Six slippery patches on a road, one from the beginning of each of its sixths on; wheels of one axle share a patch.

    Two such shifts have the larger share and the product of the factors.

    Args:
        factor: of the road's friction within a patch.
        share: of each sixth of the road that its patch covers.
        spread: each episode draws its factor uniformly from factor * [1 - spread, 1 + spread].
        schedule: when; a strength between 0 and 1 is one of the factor.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "friction_patches"
    site: ClassVar[str] = "model"
    changes = ("patch_friction", "patch_share")

    factor: Magnitude = magnitude(0.5, "factor", least=0.0)
    share: Magnitude = magnitude(0.5, "share of the road", least=0.0, most=1.0)
    spread: float = magnitude(0.07, SPREAD, least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"patches of friction x{self.text('factor')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([spread_over(rng, self.factor, self.spread), self.share])

    def apply(self, plant: Plant, ids: np.ndarray, memory: np.ndarray, strength: np.ndarray) -> None:
        plant["patch_friction"][ids] *= 1 - strength * (1 - memory[:, 0])
        plant["patch_share"][ids] = np.maximum(plant["patch_share"][ids], memory[:, 1])
