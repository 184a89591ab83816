"""Which body of a model a shift concerns."""

from __future__ import annotations

from ..plant import Plant
from ..shift import Shift, require


def check_body(shift: Shift, body: str | None, plant: Plant) -> None:
    """Raise ValueError unless `body` is None or names a body that is not the world."""
    names = [plant.model.body(i).name for i in range(1, plant.model.nbody)]
    require(body is None or body in names, shift, "body", body, f"None, or one of {', '.join(names)}")


def body_index(body: str | None, plant: Plant) -> int:
    """Its index in the model; None is the plant's own."""
    return plant.body if body is None else int(plant.model.body(body).id)
