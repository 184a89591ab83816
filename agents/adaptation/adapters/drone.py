"""Drone: the observer with the quadrotor's own compensator."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..compensators.drone import DroneCompensator
from ..estimator import DisturbanceObserver
from ..nominal import NominalModel
from ..presentation import Presentation


class Drone(Adapter):
    """`DisturbanceObserver` and `DroneCompensator` in one loop; for quadrotors commanded by thrust and body rates.

    Raises:
        ValueError: the nominal model is of another vehicle, or of one commanded otherwise.
    """

    name = "drone"
    regimes = ("prediction", "tracking")

    def __init__(
        self,
        nominal: NominalModel,
        estimator: DisturbanceObserver | None = None,
        compensator: DroneCompensator | None = None,
    ) -> None:
        super().__init__(nominal)
        self.estimator = estimator or DisturbanceObserver(nominal)
        self.compensator = compensator or DroneCompensator.of(nominal)
        self.presentation = Presentation(nominal, self.estimator.delays)
        self.estimate_names = (
            *(f"disturbance/{rate}" for rate in nominal.signals.rates),
            "thrust effectiveness",
            "delay",
        )
        rates = list(nominal.signals.rates)
        self._turning = np.array([rate.startswith("body_rate_") for rate in rates])

    def initial_state(self, n: int) -> State:
        return self.estimator.initial_state(n) | self.compensator.initial_state(n)

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        rates, context, travel = self.estimator.predict(state, observation, self.compensator.explain)
        shown = self.presentation.show(observation, rates, context, travel, state["delay"])
        return self.compensator.see(state, shown, rates, context)

    def correct(
        self, state: State, observation: np.ndarray, action: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        return self.compensator.correct(state, action, dt)

    def learn(self, state: State, transition: Transition) -> State:
        t = transition
        before, f_by_delay = self.estimator.begin(state, t)
        rows, context = np.arange(len(f_by_delay)), before["context"]
        f = f_by_delay[rows, before["delay"]]
        # Thrust that is lost shows in the rotors' rates only where they cannot turn the vehicle as told.
        saturated = t.saturated[:, 1:].any(1, keepdims=True) & self._turning
        explained = self.compensator.explain(before, f, context)
        after = self.estimator.update(before, t, f_by_delay, explained, saturated)
        learns = t.fresh & ~before["stale"] & (before["age"] >= self.nominal.history)
        return self.compensator.learn(after, f + explained, context, learns, t)

    def loss(self, state: State) -> np.ndarray:
        return state["loss"]

    def estimate(self, state: State) -> np.ndarray:
        beside = [state["effectiveness"], state["delay"] * self.nominal.dt]
        return np.concatenate([state["d"], np.stack(beside, axis=1)], axis=1)
