"""Stretches of a road that grip less, or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..road import Road


@dataclass(frozen=True)
class Patch:
    """A stretch on which the road's friction is another.

    Args:
        start: where it begins, as a share of the road's length, 0 to below 1.
        length: m.
        factor: of the tyres' friction; 1 is dry.

    Raises:
        ValueError: a field is out of range.
    """

    start: float
    length: float
    factor: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise ValueError(f"a patch starts at {self.start}: give a share of the road's length, 0 to below 1.")
        for name in ("length", "factor"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"a patch's {name} is {getattr(self, name)}: it must be above 0.")


def with_patches(road: Road, patches: Sequence[Patch]) -> Road:
    """The road with those patches on it, the later ones upon the earlier.

    On a closed road a patch goes on through the end of the lap, on an open one it ends with the road. The speed at which
    the road is to be driven stays: nothing warns of a patch.
    """
    friction = road.friction.copy()
    for patch in patches:
        after = road.station - patch.start * road.length
        if road.closed:
            after %= road.length
        friction[(after >= 0) & (after < patch.length)] = patch.factor
    return replace(road, friction=friction)
