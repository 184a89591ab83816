"""Frozen: the policy as it was trained. The row that every other is compared with."""

from __future__ import annotations

from ..adapter import Adapter
from ..nominal import NominalModel
from ..state import State


class Frozen(Adapter):
    """Changes nothing and learns nothing (the policy's own memory goes on)."""

    name = "frozen"

    def initial_state(self, n: int) -> State:
        return State({})


class Abstaining(Frozen):
    """Stays out of the way under the name of an adapter that predicts by the nominal model, for the reason that this one gives.

    Args:
        nominal: unfit to compensate by.
        name: of the adapter that was asked for.
    """

    def __init__(self, nominal: NominalModel, name: str) -> None:
        super().__init__(nominal)
        self.name = name  # type: ignore[misc]
        self.notice = f"{name} stays out of the way: {nominal.unfit}"
