"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..compensators.generic import GenericCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..presentation import Presentation


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
        self.presentation = Presentation(nominal, self.estimator.delays)
        self.estimate_names = (*(f"disturbance/{rate}" for rate in nominal.signals.rates), "delay")

    def initial_state(self, n: int) -> State:
        rates, actions = len(self.nominal.signals.rates), self.nominal.reader.actions
        gain = {"gain": np.zeros((n, rates, actions))}
        return self.estimator.initial_state(n) | self.compensator.initial_state(n) | gain

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        rates, context, travel = self.estimator.predict(state, observation)
        shown = self.presentation.show(observation, rates, context, travel, state["delay"])
        recent = state["commands"][:, : self.nominal.history].reshape(len(rates), -1)
        gain = self.nominal.input_gain(np.concatenate([rates, context, recent], axis=1))
        return self.compensator.see(state, shown, state["d"], gain), state | {"gain": gain}

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, state["d"], state["gain"], dt)

    def learn(self, state: State, transition: Transition) -> State:
        t = transition
        before, f = self.estimator.begin(state, t)
        nothing = np.zeros_like(state["d"])
        saturated = np.broadcast_to(t.saturated.any(1, keepdims=True), nothing.shape)
        after = self.estimator.update(before, t, f, nothing, saturated)
        return self.compensator.integrate(after, t.next_observation, t.saturated, t.fresh, t.dt)

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([state["d"], state["delay"][:, None] * self.nominal.dt], axis=1)
