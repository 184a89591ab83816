"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

import numpy as np

from ..adapter import State, Transition
from ..compensators.generic import GenericCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from .model_based import ModelBased


class Observer(ModelBased):
    """`DisturbanceObserver` and `GenericCompensator` in one loop; on any environment that names its signals."""

    name = "observer"

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: GenericCompensator | None = None,
    ) -> None:
        # Saturated, any action may be what is missing in any rate.
        touched = np.ones((nominal.reader.actions, len(nominal.signals.rates)), dtype=bool)
        super().__init__(nominal, estimator, touched)
        self.compensator = compensator or GenericCompensator(nominal)
        self.estimate_names = (*(f"disturbance/{rate}" for rate in nominal.signals.rates), "delay")

    def initial_state(self, n: int) -> State:
        rates, actions = len(self.nominal.signals.rates), self.nominal.reader.actions
        gain = {"gain": np.zeros((n, rates, actions))}
        return self.estimator.initial_state(n) | self.compensator.initial_state(n) | gain

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        gain = np.empty_like(state["gain"])
        rates, context, travel = self.estimator.predict(state, observation, gain)
        shown = self.presentation.show(observation, rates, context, travel, state["delay"])
        return self.compensator.see(state, shown, state["d"], gain), state | {"gain": gain}

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, state["d"], state["gain"], dt)

    def learn(self, state: State, transition: Transition) -> State:
        after, *_ = self.estimator.learn(state, transition, self._touched)
        return self.compensator.integrate(after, transition)

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([state["d"], state["delay"][:, None] * self.nominal.dt], axis=1)
