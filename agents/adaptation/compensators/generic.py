"""The generic compensator: what the actions can cancel is cancelled, the rest is answered by moving the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..adapter import State
from ..nominal import NominalModel


@dataclass(frozen=True)
class GenericCompensator:
    """Matched and unmatched parts of a disturbance d [R], from the nominal model's input gain B [R, A].

    Matched: du = -(B'WB + lambda tr(B'WB) / A I)^-1 B'W d with W = 1 / acceleration_sd², low-passed, bounded.
    Unmatched: what is left of d after its projection on the range of B cannot be cancelled by an action directly, but the
    policy can: its reference is moved (`NominalModel.asked`) so that it asks for the opposite acceleration, as much of it
    as was identified (`NominalModel.response`). A lead on d makes up for the time that the estimate and the vehicle's
    attitude take; a slow integral of the tracking error adds what is missing.

    Args:
        nominal: the nominal model.
        damping: lambda; less cancels more and trusts the model more.
        time_constant: of the low-pass on du, s.
        authority: |du| at most, in units of the action.
        asked_limit: |acceleration asked for| at most per axis, m/s².
        lead: how far ahead of the estimate d is answered, s.
        lead_filter: time constant of the estimate that the lead is taken against, s.
        integral_gain: acceleration asked for per integrated tracking error, 1/s³; 0 turns the integral off.
        integral_limit: |acceleration asked for by the integral| at most, m/s².
        integral_window: the integral rests while any error exceeds this: far off, the policy is busy returning.
    """

    nominal: NominalModel
    damping: float = 0.1
    time_constant: float = 0.05
    authority: float = 0.5
    asked_limit: float = 10.0
    lead: float = 0.15
    lead_filter: float = 0.12
    integral_gain: float = 3.0
    integral_limit: float = 4.0
    integral_window: float = 0.25

    def initial_state(self, n: int) -> State:
        reader = self.nominal.reader
        return {
            "correction": np.zeros((n, reader.actions)),
            "integral": np.zeros((n, len(reader.error_index))),
            "slow": np.zeros((n, len(self.nominal.signals.rates))),
        }

    def see(self, state: State, observation: np.ndarray, d: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Observations [N, O] whose reference answers the unmatched part of d [N, R]; gain is B [N, R, A]."""
        ahead = d + self.lead / self.lead_filter * (d - state["slow"])
        unmatched = ahead - self._project(ahead, gain, 0.01)
        answer = self.nominal.response(unmatched[:, self.nominal.reader.tracked_rate]) + state["integral"]
        return self.nominal.asked(observation, np.clip(answer, -self.asked_limit, self.asked_limit))

    def correct(
        self, state: State, action: np.ndarray, d: np.ndarray, gain: np.ndarray, dt: np.ndarray
    ) -> tuple[np.ndarray, State]:
        """The compensated action [N, A], not yet within the action's bounds, and the state after."""
        wish = np.clip(-self._solve(d, gain, self.damping), -self.authority, self.authority)
        share = np.minimum(1.0, dt / self.time_constant)[:, None]
        correction = state["correction"] + share * (wish - state["correction"])
        slow = state["slow"] + np.minimum(1.0, dt / self.lead_filter)[:, None] * (d - state["slow"])
        return action + correction, state | {"correction": correction, "slow": slow}

    def integrate(
        self, state: State, observation: np.ndarray, saturated: np.ndarray, fresh: np.ndarray, dt: np.ndarray
    ) -> State:
        """The state after one more control step of tracking error."""
        error = observation[:, self.nominal.reader.error_index].astype(np.float64)
        active = fresh & ~saturated.any(1) & (np.linalg.norm(error, axis=1) < self.integral_window)
        step = self.integral_gain * (dt * active)[:, None] * error
        integral = np.clip(state["integral"] - step, -self.integral_limit, self.integral_limit)
        return state | {"integral": integral}

    def _solve(self, d: np.ndarray, gain: np.ndarray, damping: float) -> np.ndarray:
        return _damped_least_squares(gain, self.nominal.acceleration_sd, d, damping)

    def _project(self, d: np.ndarray, gain: np.ndarray, damping: float) -> np.ndarray:
        return (gain @ self._solve(d, gain, damping)[..., None])[..., 0]


@njit(cache=True)
def _damped_least_squares(gain: np.ndarray, sd: np.ndarray, d: np.ndarray, damping: float) -> np.ndarray:
    """(B'WB + damping tr(B'WB) / A I)^-1 B'W d, [N, A]; W = 1 / sd²."""
    actions = gain.shape[2]
    out = np.empty((gain.shape[0], actions))
    for n in range(gain.shape[0]):
        scaled = gain[n] / sd.reshape(-1, 1)
        gram = scaled.T @ scaled
        ridge = damping / actions * np.trace(gram) + 1e-12
        out[n] = np.linalg.solve(gram + ridge * np.eye(actions), scaled.T @ (d[n] / sd))
    return out
