"""Which of a model's surfaces a shift concerns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..plant import Plant
from ..shift import Shift, require


def check_surface(shift: Shift, field: str, where: str, plant: Plant) -> None:
    """Raise ValueError unless `where` names surfaces of the plant."""
    require(where in plant.surfaces, shift, field, where, f"one of {', '.join(plant.surfaces)}")


def among_geoms(chosen: Sequence[int], plant: Plant) -> np.ndarray:
    """[geoms] 1 for those that are chosen, else 0."""
    found = np.zeros(plant.model.ngeom)
    found[list(chosen)] = 1.0
    return found
