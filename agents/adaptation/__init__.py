"""Adaptation during deployment: estimator, compensator, adapters and their guard. Imports neither torch nor SB3."""

from __future__ import annotations

from .adapter import REGIMES, Adapter, Transition
from .adapters.auto import Auto
from .adapters.car import Car
from .adapters.drone import Drone
from .adapters.frozen import Abstaining, Frozen
from .adapters.history import History
from .adapters.integral import Integral
from .adapters.l1 import L1
from .adapters.observer import Observer
from .guard import Guard, GuardEvent
from .nominal import NominalModel
from .state import State

ADAPTERS: dict[str, type[Adapter]] = {
    adapter.name: adapter for adapter in (Frozen, Integral, L1, Observer, Drone, Car, History, Auto)
}


def make_adapter(name: str, nominal: NominalModel) -> Adapter:
    """The adapter called `name` for the vehicle that `nominal` describes; one that stays out of the way where the nominal
    model was found unfit for it.

    Raises:
        ValueError: unknown name (the message lists the valid ones), or the environment does not offer a signal that the
            adapter needs.
    """
    if name not in ADAPTERS:
        raise ValueError(f"unknown adapter {name!r}; the adapters are: {', '.join(ADAPTERS)}.")
    if "tracking" in ADAPTERS[name].regimes and not nominal.signals.tracking:
        without = [each.name for each in ADAPTERS.values() if "tracking" not in each.regimes]
        raise ValueError(
            f"adapter {name!r} needs {REGIMES['tracking']}, and this one names none: declare it in the environment's "
            f"Signals.tracking and train again, or use an adapter that needs none ({', '.join(without)})."
        )
    if nominal.unfit and "prediction" in ADAPTERS[name].regimes:
        return Abstaining(nominal, name)
    return ADAPTERS[name](nominal)


__all__ = [
    "ADAPTERS",
    "L1",
    "REGIMES",
    "Abstaining",
    "Adapter",
    "Auto",
    "Drone",
    "Frozen",
    "Guard",
    "GuardEvent",
    "History",
    "Integral",
    "NominalModel",
    "Observer",
    "State",
    "Transition",
    "make_adapter",
]
