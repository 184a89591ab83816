"""Frozen: the policy as it was trained. The row that every other is compared with."""

from __future__ import annotations

from ..adapter import Adapter, State


class Frozen(Adapter):
    """Changes nothing and learns nothing (the policy's own memory goes on)."""

    name = "frozen"

    def initial_state(self, n: int) -> State:
        return {}
