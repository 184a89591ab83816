"""The generic compensator: what the actions can cancel is cancelled, the rest is answered by moving the reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ....policies.kernels.arithmetic import fill
from ....policies.kernels.packed import by_rows, integers, pack, real, reals
from ....policies.kernels.views import scratch
from ..adapter import Transition
from ..cholesky import solve
from ..compiled import helper, inlined, kernel
from ..nominal import NominalModel, arrange, ask, differentiate, forward, network_of, respond, response_of, rooms
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
    the lead is taken against; matched [N, A], -du before its low-pass, and unmatched [N, R], as of the last observation that was
    shown (`see`). It reads of the estimator's d, commands, believed_rates and believed_context.

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
                "matched": np.zeros((n, reader.actions)),
                "unmatched": np.zeros((n, rates)),
            }
        )

    @cached_property
    def constants(self) -> np.ndarray:
        """`Constants`, packed."""
        reader = self.nominal.reader
        return pack(
            Constants(
                weights=self.nominal.acceleration_sd**-2.0,
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
        correct_rows(self.constants, dt, after.parts(Memory), after.rows, wish)
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
    matched: np.ndarray
    unmatched: np.ndarray


@inlined
def _recall(row, parts):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    correction = part(row, parts, 4)
    return Memory(
        d=part(row, parts, 0),
        commands=by_rows(part(row, parts, 1), correction.shape[0]),
        believed_rates=part(row, parts, 2),
        believed_context=part(row, parts, 3),
        correction=correction,
        integral=part(row, parts, 5),
        slow=part(row, parts, 6),
        matched=part(row, parts, 7),
        unmatched=part(row, parts, 8),
    )


class Constants(NamedTuple):
    """What kernels read of a `GenericCompensator`: weights [R], W; which rates are tracked [E] and which
    channels hold their errors [E]; lead in time constants of its filter."""

    weights: np.ndarray
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
        weights=reals(packed, 0),
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
    """`GenericCompensator.see`: shown [N, O] comes as the observation and is written, as are matched and unmatched."""
    c, network, policy = _constants_of(c), network_of(network), response_of(policy)
    tracked, actions = c.tracked.shape[0], network.held.shape[0]
    z, first, second, f = rooms(network, actions)
    gain, normal = scratch((network.rates, actions), np.float64), scratch((2 * actions + 1, actions), np.float64)
    # What the network was computed in is free by then.
    ahead, asked = first[0, :tracked], second[0, :tracked]
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        arrange(network, s.believed_rates, s.believed_context, s.commands, 0, z[0])
        forward(network, z[:1], first[:1], second[:1], f[:1])
        differentiate(network, first[0], second[0], z, f, gain)
        _split(c, gain, s.d, normal, s.matched, s.unmatched)
        for e in range(tracked):
            i = c.tracked[e]
            ahead[e] = s.unmatched[i] + c.lead * (s.unmatched[i] - s.slow[i])
        respond(policy, ahead, asked)
        for e in range(tracked):
            asked[e] = min(max(asked[e] + s.integral[e], -c.asked_limit), c.asked_limit)
        ask(policy, asked, shown[n])


@kernel
def correct_rows(c, dt, parts, rows, wish):  # type: ignore[no-untyped-def]
    """`GenericCompensator.correct`: wish [N, A] comes as the policy's action and is written, as are correction and slow."""
    c = _constants_of(c)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        share = min(1.0, dt[n] / c.time_constant)
        for a in range(wish.shape[1]):
            s.correction[a] += share * (min(max(-s.matched[a], -c.authority), c.authority) - s.correction[a])
            wish[n, a] += s.correction[a]
        # Of the unmatched part: lost thrust turns with the vehicle, and that turn is no change to be led.
        share = min(1.0, dt[n] / c.lead_filter)
        for i in range(s.slow.shape[0]):
            s.slow[i] += share * (s.unmatched[i] - s.slow[i])


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
def _split(c, gain, d, normal, matched, unmatched):  # type: ignore[no-untyped-def]
    """matched [A] = (B'WB + damping diag(B'WB))^-1 B'W d of one vehicle, B being gain [R, A], and unmatched [R], what is left
    of d [R] after its projection on the range of B; normal [2 A + 1, A] is overwritten."""
    rates, actions = gain.shape
    gram, factor, moment = normal[:actions], normal[actions : 2 * actions], normal[2 * actions]
    for row in normal:
        fill(row, 0.0)
    for i in range(rates):
        for a in range(actions):
            weighted = c.weights[i] * gain[i, a]
            moment[a] += weighted * d[i]
            for b in range(a + 1):
                gram[a, b] += weighted * gain[i, b]
    _damped_least_squares(gram, moment, _PROJECTION_DAMPING, factor, matched)
    for i in range(rates):
        unmatched[i] = d[i]
        for a in range(actions):
            unmatched[i] -= gain[i, a] * matched[a]
    _damped_least_squares(gram, moment, c.damping, factor, matched)


@helper
def _damped_least_squares(gram, moment, damping, factor, out):  # type: ignore[no-untyped-def]
    """out [A] = (gram + damping diag(gram))^-1 moment [A], of the lower triangle of gram [A, A]; factor [A, A] is
    overwritten."""
    for a in range(out.shape[0]):
        out[a] = moment[a]
        for b in range(a):
            factor[a, b] = gram[a, b]
        factor[a, a] = (1.0 + damping) * gram[a, a] + 1e-12
    solve(factor, out)
