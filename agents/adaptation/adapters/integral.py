"""Integral: the strong baseline. What an engineer adds to a controller that stays off its reference."""

from __future__ import annotations

import numpy as np

from ..adapter import Adapter, Transition
from ..blend import integrate
from ..compiled import kernel
from ..nominal import NominalModel
from ..state import State


class Integral(Adapter):
    """Adds the integral i of the tracking error e to the tracking error that the policy is shown:

        i' = gain e - (unwind + leak) i,    |i| <= limit

    with the guard's `unwind` and `leak` (`Transition`); e counts as 0 where no sample arrived or an action saturates.

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
        return State({"integral": np.zeros((n, len(self.nominal.reader.error_index)))})

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        return self.add(state["integral"], observation), state

    def learn(self, state: State, transition: Transition) -> State:
        return State({"integral": self.integrate(state["integral"], transition)})

    def add(self, integral: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """The observation [N, O] with the integral [N, E] in its tracking errors."""
        shown = observation.copy()
        shown[:, self.nominal.reader.error_index] += integral
        return shown

    def integrate(self, integral: np.ndarray, t: Transition) -> np.ndarray:
        """The integral [N, E] after a transition."""
        after = integral.copy()
        tuning = self.nominal.reader.error_index, self.gain, self.limit, self.window
        following = np.asarray(t.next_observation, dtype=np.float64)
        _integrate(*tuning, following, t.saturated, t.fresh, t.dt, t.dt * (t.unwind + t.leak), after)
        return after

    def estimate(self, state: State) -> np.ndarray:
        return state["integral"]


@kernel
def _integrate(channels, gain, limit, window, following, saturated, fresh, dt, undone, integral):  # type: ignore[no-untyped-def]
    """`Integral.integrate`: the integrals [N, E] are written, and lose the share undone [N]."""
    for n in range(integral.shape[0]):
        active = fresh[n] and not saturated[n].any()
        integrate(channels, gain, limit, window, following[n], active, dt[n], undone[n], integral[n])
