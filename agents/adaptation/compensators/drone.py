"""The quadrotor's own compensator: what is known of its thrust and its rotors lets it act close to their limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from ....envs.drone.physics import INTERFACES
from ....envs.drone.vehicle import GRAVITY, ROTORS, Vehicle, load_vehicle
from ..adapter import State, Transition
from ..estimator import D
from ..nominal import NominalModel

LEAST_EFFECTIVENESS, MOST_EFFECTIVENESS = -0.7, 0.4
_THRUST_ALONG_Z = 4.0
"""m/s²: with less thrust, or b_z below _UPRIGHT, vertical acceleration says little about it."""
_UPRIGHT = 0.4


@dataclass(frozen=True)
class DroneCompensator:
    """For quadrotors commanded by collective thrust and body rates. b is body z, a_T the nominal thrust acceleration.

    Thrust effectiveness. Lost motors and added mass scale thrust, so that the missing acceleration is rho a_T b, whichever
    way the vehicle leans, and no constant disturbance. rho is learned from what d has along world z,
    rho' = d_z / (T a_T b_z), and taken from d (along b it would take wind for lost thrust).

    Answer, for the policy's own action (a_0 thrust, a_j rates) under d = (d_v world, d_w body):

    - thrust asked for: ((1 + k a_0) g - d_v . b) / (1 + rho), k the vehicle's thrust_range;
    - rates: a_j - d_w,j / (rate_gain_j max_rate_j), bounded;
    - the rest, d_v - (d_v . b) b, only leaning can answer: the reference is moved (`NominalModel.asked`), as much as the
      policy was found to need (`NominalModel.response`), with a lead that makes up for estimate and attitude, and a slow
      integral of the tracking error.

    Priority mixer: what four rotors cannot give together is cut off yaw first, then off thrust, and last off roll and pitch
    (Faessler, Falanga & Scaramuzza 2017, IEEE Robotics and Automation Letters 2(2)).

    Args:
        nominal: the nominal model.
        vehicle: the nominal vehicle.
        effectiveness_s: T, time constant of rho, s.
        rate_authority: |correction of a rate| at most, in units of the action.
        lead: how far ahead of the estimate d_v is answered, s; not while commands are late.
        lead_filter: time constant of the estimate that the lead is taken against, s.
        asked_limit: |acceleration asked for| at most per axis, m/s².
        integral_gain: acceleration asked for per integrated tracking error, 1/s³.
        integral_leak_s: time in which the integral forgets, s: what an episode's start left there is gone before it harms.
        integral_limit: |acceleration asked for by the integral| at most, m/s².
        integral_window: the integral rests while the error exceeds this, m: far off, the policy is busy returning.
        prioritise: whether the mixer is used.
    """

    nominal: NominalModel
    vehicle: Vehicle
    effectiveness_s: float = 0.35
    rate_authority: float = 0.8
    lead: float = 0.15
    lead_filter: float = 0.12
    asked_limit: float = 10.0
    integral_gain: float = 6.0
    integral_leak_s: float = 2.0
    integral_limit: float = 4.0
    integral_window: float = 0.1
    prioritise: bool = True
    leak: float = 0.0

    @cached_property
    def _velocity(self) -> int:
        return list(self.nominal.signals.rates).index("velocity_x")

    @cached_property
    def _turn(self) -> int:
        return list(self.nominal.signals.rates).index("body_rate_x")

    @cached_property
    def _figures(self) -> tuple[float | np.ndarray, ...]:
        """What `_compensate` reads of the vehicle; the last two are the thrust that each rotor adds, per thrust and torques
        [4, 4], and the torque asked for per error in body rate [3]."""
        v = self.vehicle
        shares = v.mixer / ROTORS / [1.0, v.arm, v.arm, v.torque_per_thrust]
        gains = np.array(v.rate_gains)
        torque_gain = np.array(v.inertia) * gains
        return v.weight, v.thrust_range, v.max_rotor_thrust, np.array(v.max_rates), gains, shares, torque_gain

    @staticmethod
    def fits(nominal: NominalModel) -> bool:
        """Whether that is of a quadrotor commanded by collective thrust and body rates."""
        commands = tuple(f"previous_action_{name}" for name in INTERFACES["rates"])
        return nominal.signals.previous_action == commands and "vehicle" in (nominal.env or {}).get("kwargs", {})

    @staticmethod
    def of(nominal: NominalModel) -> DroneCompensator:
        """The compensator of the vehicle that `nominal` was fitted to.

        Raises:
            ValueError: that was no quadrotor, or one that is commanded otherwise.
        """
        if not DroneCompensator.fits(nominal):
            raise ValueError(
                "adapter 'drone' is for quadrotors commanded by thrust and body rates (interface 'rates'), and this nominal "
                f"model is of {(nominal.env or {}).get('id', 'no environment that it names')} with the actions "
                f"{', '.join(nominal.signals.previous_action)}: use 'observer', which knows no vehicle."
            )
        assert nominal.env is not None
        return DroneCompensator(nominal, load_vehicle(nominal.env["kwargs"]["vehicle"]))

    def initial_state(self, n: int) -> State:
        return {
            "effectiveness": np.zeros(n),
            "integral": np.zeros((n, 3)),
            "slow": np.zeros((n, 3)),
            "up": np.tile([0.0, 0.0, 1.0], (n, 1)),
            "answered": np.zeros((n, 6)),
            "turning": np.zeros((n, 3)),
        }

    def explain(self, state: State, f: np.ndarray, context: np.ndarray) -> np.ndarray:
        """rho a_T b, [N, R] of nominal accelerations f [N, R] at the attitudes context [N, 9]."""
        return _explain(state["effectiveness"], f, context, self._velocity)

    def see(self, state: State, shown: np.ndarray, rates: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, State]:
        """Observations [N, O] whose reference answers what only leaning can; `rates` and `context` are what `shown` shows."""
        lead = self.lead / self.lead_filter
        up, answered, turning, across = _split(
            state["d"], state["slow"], state["delay"], rates, context, lead, self._velocity, self._turn
        )
        asked = self.nominal.response(across) - state["integral"]
        asked = np.minimum(np.maximum(asked, -self.asked_limit), self.asked_limit)
        return self.nominal.asked(shown, asked), state | {"up": up, "answered": answered, "turning": turning}

    def correct(self, state: State, action: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, State]:
        """The compensated action [N, 4], beyond the action's bounds where more was wished for, and the state after."""
        wish = _compensate(
            np.asarray(action, dtype=np.float64),
            state["answered"],
            state["up"],
            state["turning"],
            state["effectiveness"],
            self.rate_authority,
            self.prioritise,
            *self._figures,
        )
        v = state["d"][:, self._velocity : self._velocity + 3]
        slow = state["slow"] + np.minimum(1.0, dt / self.lead_filter)[:, None] * (v - state["slow"])
        return wish, state | {"slow": slow}

    def learn(self, state: State, f: np.ndarray, context: np.ndarray, learns: np.ndarray, t: Transition) -> State:
        """The state after a transition from the attitudes context [N, 9], explained by accelerations f [N, R] and d."""
        filters, d, effectiveness = state["filters"].copy(), state["d"].copy(), state["effectiveness"].copy()
        _learn_effectiveness(f, context, learns, t.dt, self.effectiveness_s, self._velocity, filters, d, effectiveness)
        integral, reader = state["integral"].copy(), self.nominal.reader
        tuning = self.integral_gain, self.integral_leak_s, self.integral_limit, self.integral_window
        error = t.next_observation[:, reader.error_index] + state["travel"][:, reader.tracked_rate]
        _integrate(error, t.saturated, t.dt, tuning, integral)
        return state | {"filters": filters, "d": d, "effectiveness": effectiveness, "integral": integral}


@njit(cache=True)
def _explain(effectiveness, f, context, first):  # type: ignore[no-untyped-def]
    out = np.zeros_like(f)
    for n in range(f.shape[0]):
        thrust = 0.0
        for i in range(3):
            thrust += (f[n, first + i] + (GRAVITY if i == 2 else 0.0)) * context[n, 3 * i + 2]
        for i in range(3):
            out[n, first + i] = effectiveness[n] * thrust * context[n, 3 * i + 2]
    return out


@njit(cache=True)
def _split(d, slow, delay, rates, context, lead, first, turn):  # type: ignore[no-untyped-def]
    """Body z; d with its lead (none while commands are late), velocities first; body rates; and what of d_v is perpendicular
    to body z."""
    n = d.shape[0]
    up, answered, turning, across = np.empty((n, 3)), np.empty((n, 6)), np.empty((n, 3)), np.empty((n, 3))
    for row in range(n):
        along = 0.0
        for i in range(3):
            v = d[row, first + i]
            up[row, i] = context[row, 3 * i + 2]
            answered[row, i] = v + (lead * (v - slow[row, i]) if delay[row] == 0 else 0.0)
            answered[row, 3 + i] = d[row, turn + i]
            turning[row, i] = rates[row, turn + i]
            along += answered[row, i] * up[row, i]
        for i in range(3):
            across[row, i] = answered[row, i] - along * up[row, i]
    return up, answered, turning, across


@njit(cache=True)
def _learn_effectiveness(f, context, learns, dt, time_constant, first, filters, d, effectiveness):  # type: ignore[no-untyped-def]
    """What d has along world z becomes effectiveness, and leaves d and every filter that has any."""
    for n in range(f.shape[0]):
        thrust, up = 0.0, context[n, 8]
        for i in range(3):
            thrust += (f[n, first + i] + (GRAVITY if i == 2 else 0.0)) * context[n, 3 * i + 2]
        if not learns[n] or thrust < _THRUST_ALONG_Z or up < _UPRIGHT:
            continue
        missing = min(max(d[n, first + 2] / (thrust * max(up, 0.5)), -0.3), 0.3)
        after = effectiveness[n] + dt[n] / time_constant * missing
        after = min(max(after, LEAST_EFFECTIVENESS), MOST_EFFECTIVENESS)
        for i in range(3):
            moved = (after - effectiveness[n]) * thrust * context[n, 3 * i + 2]
            d[n, first + i] -= moved
            for m in range(filters.shape[1]):
                if filters[n, m, D, first + i] != 0.0:
                    filters[n, m, D, first + i] -= moved
        effectiveness[n] = after


@njit(cache=True)
def _integrate(error, saturated, dt, tuning, integral):  # type: ignore[no-untyped-def]
    gain, leak_s, limit, window = tuning
    for n in range(error.shape[0]):
        active = not saturated[n].any() and (error[n] ** 2).sum() < window**2
        for i in range(error.shape[1]):
            after = integral[n, i] * (1.0 - dt[n] / leak_s) + (gain * dt[n] * error[n, i] if active else 0.0)
            integral[n, i] = min(max(after, -limit), limit)


@njit(cache=True)
def _compensate(  # type: ignore[no-untyped-def]
    action, d, up, turning, effectiveness, authority, prioritise,
    weight, thrust_range, max_rotor_thrust, max_rates, rate_gains, shares, torque_gain,
):  # fmt: skip
    out = np.empty_like(action)
    for n in range(action.shape[0]):
        along = d[n, 0] * up[n, 0] + d[n, 1] * up[n, 1] + d[n, 2] * up[n, 2]
        thrust = ((1.0 + thrust_range * action[n, 0]) - along / GRAVITY) / (1.0 + effectiveness[n])
        out[n, 0] = (thrust - 1.0) / thrust_range
        for j in range(3):
            correction = d[n, 3 + j] / (rate_gains[j] * max_rates[j])
            out[n, 1 + j] = action[n, 1 + j] - min(max(correction, -authority), authority)
        if prioritise:
            _prioritise(out[n], turning[n], weight, thrust_range, max_rotor_thrust, max_rates, shares, torque_gain)
    return out


@njit(cache=True)
def _prioritise(action, turning, weight, thrust_range, max_rotor_thrust, max_rates, shares, torque_gain):  # type: ignore[no-untyped-def]
    """Cut what the rotors cannot give together: yaw first, then thrust. An action beyond its bounds stays beyond them."""
    inside = np.empty(4)
    for j in range(4):
        inside[j] = min(max(action[j], -1.0), 1.0)
    tilt, yaw = np.empty(ROTORS), np.empty(ROTORS)
    for i in range(ROTORS):
        roll = torque_gain[0] * (max_rates[0] * inside[1] - turning[0])
        pitch = torque_gain[1] * (max_rates[1] * inside[2] - turning[1])
        tilt[i] = shares[i, 1] * roll + shares[i, 2] * pitch
        yaw[i] = shares[i, 3] * torque_gain[2] * (max_rates[2] * inside[3] - turning[2])
    wanted = weight * max(1.0 + thrust_range * inside[0], 0.0)
    rotors = shares[:, 0] * wanted + tilt + yaw
    if rotors.min() >= 0.0 and rotors.max() <= max_rotor_thrust:
        return
    most = max(ROTORS * (max_rotor_thrust - tilt.max()), 0.0)
    least = min(-ROTORS * tilt.min(), 0.5 * weight)
    thrust = max(min(wanted, most), min(least, most))
    share = 1.0
    for i in range(ROTORS):
        given = shares[i, 0] * thrust + tilt[i]
        if yaw[i] > 1e-9:
            share = min(share, max((max_rotor_thrust - given) / yaw[i], 0.0))
        elif yaw[i] < -1e-9:
            share = min(share, max(-given / yaw[i], 0.0))
    if thrust < wanted or abs(action[0]) <= 1.0:
        action[0] = (thrust / weight - 1.0) / thrust_range
    if abs(action[3]) <= 1.0:
        action[3] = turning[2] / max_rates[2] + share * (inside[3] - turning[2] / max_rates[2])
