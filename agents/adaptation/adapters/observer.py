"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..compensators.generic import GenericCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel


class Observer(Adapter):
    """`DisturbanceObserver` and `GenericCompensator` in one loop; on any environment that names its signals."""

    name = "observer"
    regimes = ("prediction", "tracking")

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: GenericCompensator | None = None,
    ) -> None:
        super().__init__(nominal)
        self.estimator = estimator or DisturbanceObserver(nominal)
        self.compensator = compensator or GenericCompensator(nominal)
        self.estimate_names = tuple(f"disturbance/{rate}" for rate in nominal.signals.rates)

    def initial_state(self, n: int) -> State:
        rates, actions = len(self.nominal.signals.rates), self.nominal.reader.actions
        gain = {"gain": np.zeros((n, rates, actions))}
        return self.estimator.initial_state(n) | self.compensator.initial_state(n) | gain

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        gain = self.nominal.input_gain(self.nominal.reader.inputs(observation, state["commands"]))
        return self.compensator.see(state, observation, state["d"], gain), state | {"gain": gain}

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, state["d"], state["gain"], dt)

    def learn(self, state: State, transition: Transition) -> State:
        t = transition
        state = self.estimator.update(state, t)
        return self.compensator.integrate(state, t.next_observation, t.saturated, t.fresh, t.dt)

    def estimate(self, state: State) -> np.ndarray:
        return state["d"]
