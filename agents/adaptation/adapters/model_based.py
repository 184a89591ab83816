"""ModelBased: what adapters share that estimate a disturbance by the nominal model, and leave the answer to a compensator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ....policies.kernels.packed import pack
from ..adapter import Adapter, Transition
from ..at_once import AtOnce, Constants, room_size
from ..demand import lower_all
from ..estimator import DisturbanceObserver, Shadow
from ..nominal import NominalModel
from ..presentation import Channels
from ..state import State


class Kernels(NamedTuple):
    """The compiled calls of an adapter: `see` and `learn` by themselves, and those of `at_once`."""

    see: Any
    learn: Any
    act_at_once: Any
    learn_at_once: Any


_ALONE = {"trust": np.zeros((0, 2), np.int64), "demanded": np.zeros((0, 2), np.int64), "tuning": np.zeros(0)}


class ModelBased(Adapter):
    """A `DisturbanceObserver` in a loop, and a policy that is shown where its vehicle is believed to be.

    Args:
        nominal: the nominal model.
        estimator: None is one of default limits.
        touched: [A, R] bool, rates whose acceleration each action touches when it is saturated.
    """

    regimes: ClassVar[tuple[str, ...]] = ("prediction", "tracking")
    kernels: ClassVar[Kernels]
    fields: ClassVar[tuple[type, ...]]
    """What its kernels read and write of the state: NamedTuple classes, for `State.parts`."""

    def __init__(self, nominal: NominalModel, estimator: DisturbanceObserver | None, touched: np.ndarray) -> None:
        super().__init__(nominal)
        self.estimator = estimator or DisturbanceObserver(nominal)
        self.touched = touched.astype(np.int64)
        self.compiled = type(self.estimator) is DisturbanceObserver
        """Whether estimator and compensator learn in one kernel; an estimator that learns otherwise is called."""

    @property
    @abstractmethod
    def known(self) -> np.ndarray:
        """All that its kernels read of the vehicle, packed."""

    @cached_property
    def channels(self) -> np.ndarray:
        """Where an observation shows what is believed: `Channels`, packed."""
        return pack(Channels.of(self.nominal, self.estimator.delays))

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after, shown = state.copy(), observation.astype(np.float64)
        self.kernels.see(self.known, after.parts(*self.fields), after.rows, shown)
        return shown, after

    def learn(self, state: State, transition: Transition) -> State:
        t, after = transition, state.copy()
        permitted = t.fresh, t.fresh & t.excited, t.dt, t.dt * t.unwind, t.leak, t.dead_zone
        sample = t.observation, t.next_observation, t.action, t.saturated, *permitted
        room = np.empty(room_size(len(t.dt), self.touched.shape[1], t.observation.shape[1]))
        self.kernels.learn(self.known, after.parts(*self.fields), self.touched, *sample, state.rows, after.rows, room)
        return after

    def at_once(self, state: State, limits: Mapping[str, Any]) -> AtOnce | None:
        # A subclass may see, correct or learn otherwise than the kernels that it inherits.
        if not self.compiled or "kernels" not in vars(type(self)):
            return None
        parts = state.parts(*self.fields), state.parts(Shadow)
        constants = pack(Constants(self.known, *parts, self.touched, **{**_ALONE, **limits}))
        return AtOnce(partial(self.kernels.act_at_once, constants), partial(self.kernels.learn_at_once, constants))

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
