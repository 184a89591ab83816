"""ModelBased: what adapters share that estimate a disturbance by the nominal model, and leave the answer to a compensator."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from ..adapter import Adapter, Transition
from ..demand import lower_all
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..packed import pack
from ..presentation import Channels
from ..state import State


class ModelBased(Adapter):
    """A `DisturbanceObserver` in a loop, and a policy that is shown where its vehicle is believed to be.

    Args:
        nominal: the nominal model.
        estimator: None is one of default limits.
        touched: [A, R] bool, rates whose acceleration each action touches when it is saturated.
    """

    regimes: ClassVar[tuple[str, ...]] = ("prediction", "tracking")

    def __init__(self, nominal: NominalModel, estimator: DisturbanceObserver | None, touched: np.ndarray) -> None:
        super().__init__(nominal)
        self.estimator = estimator or DisturbanceObserver(nominal)
        self.touched = touched
        self.compiled = type(self.estimator) is DisturbanceObserver
        """Whether estimator and compensator learn in one kernel; an estimator that learns otherwise is called."""

    @cached_property
    def channels(self) -> np.ndarray:
        """Where an observation shows what is believed: `Channels`, packed."""
        return pack(Channels.of(self.nominal, self.estimator.delays))

    def _sample(self, t: Transition) -> tuple[np.ndarray | float, ...]:
        """What kernels take of a transition: observations [N, O] before and after, action and saturated [N, A], fresh
        and excited [N], dt [N], the share [N] that integrals lose, leak and dead zone."""
        permitted = t.fresh, t.fresh & t.excited, t.dt, t.dt * t.unwind, t.leak, t.dead_zone
        return t.observation, t.next_observation, t.action, t.saturated, *permitted

    def ask_less(self, state: State, observation: np.ndarray) -> np.ndarray:
        if "demand" not in state:
            return observation
        shown = observation.astype(np.float64)
        lower_all(self.nominal.demand, state["demand"].copy(), shown)
        return shown

    def limit(self, state: State, action: np.ndarray) -> np.ndarray:
        """The action [N, A] as far as the vehicle can take it; whoever wishes it."""
        return action

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def keep(self, state: State, rows: np.ndarray) -> State:
        return self.estimator.keep(state, rows)

    def restore(self, state: State, rows: np.ndarray) -> State:
        return self.estimator.restore(state, rows)
