"""Drone: the observer with the quadrotor's own compensator."""

from __future__ import annotations

import numpy as np

from ..adapter import Transition
from ..compensators.drone import DroneCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..state import State
from .model_based import ModelBased


class Drone(ModelBased):
    """`DisturbanceObserver` and `DroneCompensator` in one loop; for quadrotors commanded by thrust and body rates.

    Raises:
        ValueError: the nominal model is of another vehicle, or of one commanded otherwise.
    """

    name = "drone"

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: DroneCompensator | None = None,
    ) -> None:
        # Thrust that is lost shows in the rotors' rates only where they cannot turn the vehicle as told.
        turning = [rate.startswith("body_rate_") for rate in nominal.signals.rates]
        super().__init__(nominal, estimator, np.outer([False, True, True, True], turning))
        self.compensator = compensator or DroneCompensator.of(nominal)
        self.estimate_names = (
            *(f"disturbance/{rate}" for rate in nominal.signals.rates),
            "thrust effectiveness",
            "delay",
        )

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        after = self.estimator.predict(state, observation)
        return self.compensator.see(after, self.presentation.show(after, observation)), after

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        after, f, _, learns = self.estimator.learn(state, transition, self._touched)
        return self.compensator.learn(after, f, state["context"], learns, transition)

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["effectiveness"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], np.stack(beside, axis=1)], axis=1)
