"""The generic compensator: what the actions can cancel is cancelled, the rest is answered by moving the reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..adapter import Transition
from ..cholesky import solve
from ..compiled import helper, inlined, kernel
from ..nominal import NominalModel, arrange, ask, differentiate, forward, network_of, respond, response_of, rooms
from ..packed import integers, pack, real, reals
from ..state import State, part


@dataclass(frozen=True)
class GenericCompensator:
    """Matched and unmatched parts of a disturbance d [R], from the nominal model's input gain B [R, A].

    Matched: du = -(B'WB + lambda diag(B'WB))^-1 B'W d with W = 1 / acceleration_sd², low-passed, bounded: of what one action
    alone can cancel, 1 / (1 + lambda) is cancelled, however strong that action is.
    Unmatched: what is left of d after its projection on the range of B cannot be cancelled by an action directly, but the
    policy can: its reference is moved (`NominalModel.asked`) so that it asks for the opposite acceleration, as much of it
    as was identified (`NominalModel.response`). A lead on d makes up for the time that the estimate and the vehicle's
    attitude take; a slow integral of the tracking error adds what is missing.

    State: correction [N, A] that du has come to; integral [N, E] of the tracking error; slow [N, R], the unmatched part that
    the lead is taken against; gain [N, R, A], B. It reads of the estimator's d, commands, believed_rates and believed_context.

    Args:
        nominal: the nominal model.
        damping: lambda; less cancels more and trusts the model more.
        time_constant: of the low-pass on du, s.
        authority: |du| at most, in units of the action.
        asked_limit: |acceleration asked for| at most per axis, m/s².
        lead: how far ahead of the estimate d is answered, s.
        lead_filter: time constant of the unmatched part that the lead is taken against, s.
        integral_gain: acceleration asked for per integrated tracking error, 1/s³; 0 turns the integral off.
        integral_limit: |acceleration asked for by the integral| at most, m/s².
        integral_window: the integral rests while any error exceeds this: far off, the policy is busy returning.
    """

    nominal: NominalModel
    damping: float = 0.2
    time_constant: float = 0.05
    authority: float = 0.5
    asked_limit: float = 10.0
    lead: float = 0.15
    lead_filter: float = 0.12
    integral_gain: float = 3.0
    integral_limit: float = 4.0
    integral_window: float = 0.25

    def initial_state(self, n: int) -> State:
        reader, rates = self.nominal.reader, len(self.nominal.signals.rates)
        return State(
            {
                "correction": np.zeros((n, reader.actions)),
                "integral": np.zeros((n, len(reader.error_index))),
                "slow": np.zeros((n, rates)),
                "gain": np.zeros((n, rates, reader.actions)),
            }
        )

    @cached_property
    def constants(self) -> np.ndarray:
        """`Constants`, packed."""
        reader = self.nominal.reader
        return pack(
            Constants(
                sd=self.nominal.acceleration_sd,
                tracked=reader.tracked_rate,
                error=reader.error_index,
                damping=self.damping,
                time_constant=self.time_constant,
                authority=self.authority,
                asked_limit=self.asked_limit,
                lead=self.lead / self.lead_filter,
                lead_filter=self.lead_filter,
                integral_gain=self.integral_gain,
                integral_limit=self.integral_limit,
                integral_window=self.integral_window,
            )
        )

    def see(self, state: State, observation: np.ndarray) -> tuple[np.ndarray, State]:
        """Observations [N, O] whose reference answers the unmatched part of d, and the state after."""
        shown, after = observation.astype(np.float64), state.copy()
        nominal = self.nominal
        see_rows(self.constants, nominal.network, nominal.policy_response, after.parts(Memory), after.rows, shown)
        return shown, after

    def correct(self, state: State, action: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, State]:
        """The compensated action [N, A], not yet within the action's bounds, and the state after."""
        wish, after = action.astype(np.float64), state.copy()
        _correct(self.constants, dt, after.parts(Memory), after.rows, wish)
        return wish, after

    def integrate(self, state: State, transition: Transition) -> State:
        """The state after one more control step of tracking error."""
        t, after = transition, state.copy()
        following = np.asarray(t.next_observation, dtype=np.float64)
        known = following, t.saturated, t.fresh, t.dt, t.dt * t.unwind
        integrate_rows(self.constants, *known, after.parts(Memory), after.rows)
        return after


class Memory(NamedTuple):
    """What kernels read and write of one vehicle: fields of the compensator's state and the estimator's, as views of its row."""

    d: np.ndarray
    commands: np.ndarray
    believed_rates: np.ndarray
    believed_context: np.ndarray
    correction: np.ndarray
    integral: np.ndarray
    slow: np.ndarray
    gain: np.ndarray


@inlined
def _recall(row, parts):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    correction = part(row, parts, 4)
    actions = correction.shape[0]
    return Memory(
        d=part(row, parts, 0),
        commands=part(row, parts, 1).reshape(-1, actions),
        believed_rates=part(row, parts, 2),
        believed_context=part(row, parts, 3),
        correction=correction,
        integral=part(row, parts, 5),
        slow=part(row, parts, 6),
        gain=part(row, parts, 7).reshape(-1, actions),
    )


class Constants(NamedTuple):
    """What kernels read of a `GenericCompensator`: sd [R] of the nominal accelerations, which rates are tracked [E] and which
    channels hold their errors [E]; lead in time constants of its filter."""

    sd: np.ndarray
    tracked: np.ndarray
    error: np.ndarray
    damping: float
    time_constant: float
    authority: float
    asked_limit: float
    lead: float
    lead_filter: float
    integral_gain: float
    integral_limit: float
    integral_window: float


@helper
def _constants_of(packed):  # type: ignore[no-untyped-def]
    """The `Constants` that were packed."""
    return Constants(
        sd=reals(packed, 0),
        tracked=integers(packed, 1),
        error=integers(packed, 2),
        damping=real(packed, 3),
        time_constant=real(packed, 4),
        authority=real(packed, 5),
        asked_limit=real(packed, 6),
        lead=real(packed, 7),
        lead_filter=real(packed, 8),
        integral_gain=real(packed, 9),
        integral_limit=real(packed, 10),
        integral_window=real(packed, 11),
    )


_PROJECTION_DAMPING = 0.01
"""Of the part of d that is taken for matched: what little damping leaves of it would be answered twice."""


@kernel
def see_rows(c, network, policy, parts, rows, shown):  # type: ignore[no-untyped-def]
    """`GenericCompensator.see`: shown [N, O] comes as the observation and is written, as is gain."""
    c, network, policy = _constants_of(c), network_of(network), response_of(policy)
    tracked = c.tracked.shape[0]
    z, first, second, f = rooms(network, 1)
    matched, unmatched = np.empty(network.held.shape[0]), np.empty(network.rates)
    ahead, asked = np.empty(tracked), np.empty(tracked)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        arrange(network, s.believed_rates, s.believed_context, s.commands, 0, z[0])
        forward(network, z, first, second, f)
        differentiate(network, first[0], second[0], s.gain)
        _unmatched(c, s.gain, s.d, matched, unmatched)
        for e in range(tracked):
            i = c.tracked[e]
            ahead[e] = unmatched[i] + c.lead * (unmatched[i] - s.slow[i])
        respond(policy, ahead, asked)
        for e in range(tracked):
            asked[e] = min(max(asked[e] + s.integral[e], -c.asked_limit), c.asked_limit)
        ask(policy, asked, shown[n])


@kernel
def _correct(c, dt, parts, rows, wish):  # type: ignore[no-untyped-def]
    """`GenericCompensator.correct`: wish [N, A] comes as the policy's action and is written, as are correction and slow."""
    c = _constants_of(c)
    matched, unmatched = np.empty(wish.shape[1]), np.empty(c.sd.shape[0])
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        _damped_least_squares(s.gain, c.sd, s.d, c.damping, matched)
        share = min(1.0, dt[n] / c.time_constant)
        for a in range(wish.shape[1]):
            s.correction[a] += share * (min(max(-matched[a], -c.authority), c.authority) - s.correction[a])
            wish[n, a] += s.correction[a]
        # Of the unmatched part: lost thrust turns with the vehicle, and that turn is no change to be led.
        _unmatched(c, s.gain, s.d, matched, unmatched)
        share = min(1.0, dt[n] / c.lead_filter)
        for i in range(unmatched.shape[0]):
            s.slow[i] += share * (unmatched[i] - s.slow[i])


@kernel
def integrate_rows(c, observation, saturated, fresh, dt, undone, parts, rows):  # type: ignore[no-untyped-def]
    """`GenericCompensator.integrate`: the integral is written, and loses the share undone [N]."""
    c = _constants_of(c)
    for n in range(rows.shape[0]):
        integral = _recall(rows[n], parts).integral
        square, active = 0.0, fresh[n]
        for e in range(integral.shape[0]):
            square += observation[n, c.error[e]] ** 2
        for a in range(saturated.shape[1]):
            active = active and not saturated[n, a]
        active = active and square < c.integral_window**2
        for e in range(integral.shape[0]):
            after = max(1.0 - undone[n], 0.0) * integral[e]
            after -= c.integral_gain * dt[n] * observation[n, c.error[e]] if active else 0.0
            integral[e] = min(max(after, -c.integral_limit), c.integral_limit)


@helper
def _unmatched(c, gain, d, matched, unmatched):  # type: ignore[no-untyped-def]
    """unmatched [R]: what is left of d [R] after its projection on the range of gain [R, A]."""
    _damped_least_squares(gain, c.sd, d, _PROJECTION_DAMPING, matched)
    for i in range(d.shape[0]):
        unmatched[i] = d[i]
        for a in range(matched.shape[0]):
            unmatched[i] -= gain[i, a] * matched[a]


@helper
def _damped_least_squares(gain, sd, d, damping, out):  # type: ignore[no-untyped-def]
    """out [A] = (B'WB + damping diag(B'WB))^-1 B'W d of one vehicle; W = 1 / sd²."""
    rates, actions = gain.shape
    gram = np.empty((actions, actions))
    for a in range(actions):
        out[a] = 0.0
        for i in range(rates):
            out[a] += gain[i, a] * d[i] / sd[i] ** 2
        for b in range(a + 1):
            gram[a, b] = 0.0
            for i in range(rates):
                gram[a, b] += gain[i, a] * gain[i, b] / sd[i] ** 2
        gram[a, a] = (1.0 + damping) * gram[a, a] + 1e-12
    solve(gram, out)
