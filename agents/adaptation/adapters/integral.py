"""Integral: the strong baseline. What an engineer adds to a controller that stays off its reference."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, State, Transition
from ..nominal import NominalModel


class Integral(Adapter):
    """Adds the integral of the tracking error to the tracking error that the policy is shown.

    Args:
        nominal: names the error channels; its network is not used.
        gain: 1/s.
        limit: |integral| at most, in the error's unit: the anti-windup.
        window: errors are clipped to this before they are integrated.
    """

    name = "integral"
    regimes = ("tracking",)

    def __init__(self, nominal: NominalModel, gain: float = 1.0, limit: float = 0.6, window: float = 0.5) -> None:
        super().__init__(nominal)
        self.gain, self.limit, self.window = gain, limit, window
        self.estimate_names = tuple(f"integral/{name}" for name in nominal.signals.tracking.values())

    def initial_state(self, n: int) -> State:
        return {"integral": np.zeros((n, len(self.nominal.reader.error_index)))}

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        shown = observation.copy()
        shown[:, self.nominal.reader.error_index] += state["integral"]
        return shown, state

    def learn(self, state: State, transition: Transition) -> State:
        error = transition.next_observation[:, self.nominal.reader.error_index].astype(np.float64)
        active = transition.dt * (transition.fresh & ~transition.saturated.any(1))
        step = self.gain * active[:, None] * np.clip(error, -self.window, self.window)
        rest = np.maximum(1.0 - transition.dt * transition.unwind, 0.0)[:, None]
        return {"integral": np.clip(rest * state["integral"] + step, -self.limit, self.limit)}

    def estimate(self, state: State) -> np.ndarray:
        return state["integral"]
