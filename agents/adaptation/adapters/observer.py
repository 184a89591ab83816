"""Observer: the generic model-based adapter. What the nominal model cannot explain is estimated, then compensated."""

from __future__ import annotations

import numpy as np

from ..adapter import Transition
from ..compensators.generic import GenericCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..state import State
from .model_based import ModelBased


class Observer(ModelBased):
    """`DisturbanceObserver` and `GenericCompensator` in one loop; on any environment whose rates are known.

    Where no tracking error is named only the matched part is answered: there is no reference to move.
    """

    name = "observer"
    regimes = ("prediction",)

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
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after = self.estimator.predict(state, observation)
        return self.compensator.see(after, self.presentation.show(after, observation))

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        after, *_ = self.estimator.learn(state, transition, self._touched)
        return self.compensator.integrate(after, transition)

    def estimate(self, state: State) -> np.ndarray:
        return np.concatenate([state["d"], state["delay"][:, None] * self.nominal.dt], axis=1)
