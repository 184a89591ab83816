"""Car: the observer with the compensator of a car on a road."""

from __future__ import annotations

import numpy as np

from ..adapter import Transition
from ..compensators.car import CarCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..state import State
from .model_based import ModelBased


class Car(ModelBased):
    """`DisturbanceObserver` and `CarCompensator` in one loop; for cars that follow a road which they are shown.

    Raises:
        ValueError: the nominal model is of another vehicle, or of a car that is not shown its road.
    """

    name = "car"

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: CarCompensator | None = None,
    ) -> None:
        # Of forward velocity, lateral velocity and yaw rate, steering turns the last two, drive the first.
        super().__init__(nominal, estimator, np.array([[False, True, True], [True, False, False]]))
        self.compensator = compensator or CarCompensator.of(nominal)
        self.estimate_names = (
            *(f"disturbance/{rate}" for rate in nominal.signals.rates),
            "grip/front",
            "grip/rear",
            "demand",
            "delay",
        )

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        unbiased = self.compensator.unbiased(state, observation)
        after = self.estimator.predict(state, unbiased)
        return self.compensator.see(after, unbiased), after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action), state

    def learn(self, state: State, transition: Transition) -> State:
        t = transition
        seen = (self.compensator.unbiased(state, each) for each in (t.observation, t.next_observation))
        t = Transition(next(seen), t.action, t.saturated, next(seen), *t[4:])
        after, _, _, learns = self.estimator.learn(state, t, self._touched)
        return self.compensator.learn(state, after, learns, t)

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["demand"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], state["grip"], np.stack(beside, axis=1)], axis=1)
