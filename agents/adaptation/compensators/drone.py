"""The quadrotor's own compensator: what is known of its thrust and its rotors lets it act close to their limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ....envs.drone.physics import INTERFACES
from ....envs.drone.vehicle import GRAVITY, ROTORS, Vehicle, load_vehicle
from ....policies.kernels.arithmetic import add
from ....policies.kernels.packed import by_blocks, by_rows, integer, integers, pack, real, reals
from ....policies.kernels.views import vector
from ..adapter import Transition
from ..compiled import helper, inlined, kernel
from ..demand import demand_of, lower
from ..estimator import D, filtered
from ..nominal import NominalModel, ask, respond, response_of
from ..state import State, part
from ..thrust import thrust_acceleration

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

    - thrust asked for: ((1 + k a_0) g b . b' - d_v . b) / (1 + rho), k the vehicle's thrust_range;
    - rates: a_j - d_w,j / (rate_gain_j max_rate_j), bounded;
    - the rest, d_v - (d_v . b) b, only leaning can answer. To what lasts of d_v, l, the vehicle leans unseen: the policy is
      shown the attitude, turned the shortest way, whose body z is b' ~ a_T b + l, that of the thrust which would do without
      l, and so flies in steady wind as it does in none. For what comes and goes, d_v - l, the reference is moved
      (`NominalModel.asked`), as much as the policy was found to need (`NominalModel.response`), with a lead that makes up
      for estimate and attitude, and a slow integral of the tracking error.

    While d_v differs from what lasts, a policy that is less stiff than s_0 is made stiffer, since there is something to come
    back from: tracking error and velocity error are shown larger by the factor (s its `NominalModel.stiffness`)

        1 + clip(s_0 / s - 1, 0, 1) min(1, |d_v - l| / c)

    but, as the lead, not while commands are late, nor near the limits.

    A policy that is stiffer than s_0 makes much of noise, and is shown the share 1 - s_0 / s less of it. What of a sample's
    velocity is noise the filters tell; of its tracking error e, with the velocity errors v and the share kappa of a new sample,

        n = (1 - kappa) (e - (e_before - n_before + dt (v_before + v) / 2))

    Priority mixer: what four rotors cannot give together is cut off yaw first, then off thrust, and last off roll and pitch
    (Faessler, Falanga & Scaramuzza 2017, IEEE Robotics and Automation Letters 2(2)).

    Reserve. With W the thrust-to-weight ratio of the nominal vehicle, what is left of it is W (1 + rho) g / (g - d_v . b).
    Where that is little, every torque is paid for in height. So below the second `reserve` less and less, and below the
    first no more, is made of what comes and goes: of what d_v has beside its low-passed self, and, in the mixer, though never
    less than the share `room`, of torques beside those that answer d_w.

    Demand. left is the most that a rotor can give over the most that one must be told to give to hover and to hold d_w.
    Where it is below r, the `return_reserve`, the policy is asked for its return in parts (`Signals.demand`): of the
    tracking error e it is shown the share

        min(1, return_limit clip((left - 1) / (r - 1), 0.1, 1) / |e|)

    Args:
        nominal: the nominal model.
        vehicle: the nominal vehicle.
        effectiveness_s: T, time constant of rho, s.
        rate_authority: |correction of a rate| at most, in units of the action.
        lasting_s: time constant with which d_v becomes what lasts, s.
        lasting_limit: |l| at most, m/s²: who leans far has to see it.
        stiffness: s_0, 1/s².
        stiffened_at: c, m/s².
        smoothing: kappa.
        lead: how far ahead of the estimate d_v is answered, s; not while commands are late.
        lead_filter: time constant of the estimate that the lead is taken against, s.
        reserve: thrust-to-weight ratios between which what comes and goes counts from not at all to in full.
        room: share of every torque that thrust makes room for however little of it is left.
        return_limit: |tracking error| that is shown at most where authority is short, m; inf: all of it, always.
        return_reserve: of what the busiest rotor must give, below which authority is short.
        asked_limit: |acceleration asked for| at most per axis, m/s².
        integral_gain: acceleration asked for per integrated tracking error, 1/s³.
        integral_leak_s: time in which the integral forgets, s: what an episode's start left there is gone before it harms.
        integral_limit: |acceleration asked for by the integral| at most, m/s².
        integral_window: the integral rests while the error exceeds this, m: far off, the policy is busy returning.
        prioritise: whether the mixer is used; otherwise what rotors cannot give is the vehicle's own mixer's to cut.
    """

    nominal: NominalModel
    vehicle: Vehicle
    effectiveness_s: float = 0.2
    rate_authority: float = 0.8
    lasting_s: float = 1.0
    lasting_limit: float = 4.0
    stiffness: float = 40.0
    stiffened_at: float = 1.0
    smoothing: float = 0.08
    lead: float = 0.15
    lead_filter: float = 0.1
    reserve: tuple[float, float] = (1.25, 1.55)
    room: float = 0.5
    return_limit: float = 0.3
    return_reserve: float = 1.25
    asked_limit: float = 10.0
    integral_gain: float = 6.0
    integral_leak_s: float = 2.0
    integral_limit: float = 4.0
    integral_window: float = 0.1
    prioritise: bool = True

    @cached_property
    def constants(self) -> np.ndarray:
        """`Constants`, packed."""
        v, reader, rates = self.vehicle, self.nominal.reader, list(self.nominal.signals.rates)
        velocity_error = self._velocity_errors()
        # A policy is left as it is where its stiffness, or what would stiffen it, is not known.
        known = self.nominal.stiffness > 0.0 and len(velocity_error) > 0
        softness = self.stiffness / self.nominal.stiffness if known else 1.0
        return pack(
            Constants(
                tracked=reader.tracked_rate,
                error=reader.error_index,
                velocity_error=velocity_error,
                attitude=reader.context_index[:9],
                max_rates=np.array(v.max_rates, dtype=np.float64),
                rate_gains=np.array(v.rate_gains, dtype=np.float64),
                shares=v.mixer / ROTORS / [1.0, v.arm, v.arm, v.torque_per_thrust],
                torque_gain=np.array(v.inertia, dtype=np.float64) * v.rate_gains,
                velocity=rates.index("velocity_x"),
                turn=rates.index("body_rate_x"),
                weight=v.weight,
                thrust_range=v.thrust_range,
                max_rotor_thrust=v.max_rotor_thrust,
                effectiveness_s=self.effectiveness_s,
                rate_authority=self.rate_authority,
                lasting_s=self.lasting_s,
                lasting_limit=self.lasting_limit,
                stiffer=min(max(softness - 1.0, 0.0), 1.0),
                stiffened_at=self.stiffened_at,
                calmer=max(1.0 - softness, 0.0),
                smoothing=self.smoothing,
                lead=self.lead / self.lead_filter,
                lead_filter=self.lead_filter,
                thrust_to_weight=v.thrust_to_weight,
                no_reserve=self.reserve[0],
                full_reserve=self.reserve[1],
                room=self.room,
                return_limit=self.return_limit if self.nominal.signals.demand else np.inf,
                return_reserve=self.return_reserve,
                asked_limit=self.asked_limit,
                integral_gain=self.integral_gain,
                integral_leak_s=self.integral_leak_s,
                integral_limit=self.integral_limit,
                integral_window=self.integral_window,
                prioritise=self.prioritise,
            )
        )

    def _velocity_errors(self) -> np.ndarray:
        """The channels [3] of velocity errors; [0] where velocities are shown that are none."""
        names, rates = list(self.nominal.observation_names), list(self.nominal.signals.rates.values())
        tracked = [rates[i] for i in self.nominal.reader.tracked_rate]
        moving = all(len(channels) == 2 for channels in tracked)
        return np.array([names.index(channels[0]) for channels in tracked if moving], dtype=np.int64)

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
        """integral, slow and lasting [N, 3] m/s²: what is asked for by the integral, what the lead is taken against, and
        what lasts of d_v; error_noise and velocity_noise [N, 3] m and m/s, of the last sample; thrust [N] m/s², a_T; demand [N],
        the share of the tracking error that is shown."""
        vectors = {name: np.zeros((n, 3)) for name in ("integral", "slow", "lasting", "error_noise", "velocity_noise")}
        return State(vectors | {"thrust": np.full(n, GRAVITY), "demand": np.ones(n)})

    def correct(self, state: State, action: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, State]:
        """The compensated action [N, 4], beyond the action's bounds where more was wished for, and the state after."""
        wish, after = action.astype(np.float64), state.copy()
        correct_rows(self.constants, dt, after.parts(Memory), after.rows, wish)
        return wish, after

    def learn(self, state: State, before: State, f: np.ndarray, learns: np.ndarray, t: Transition) -> State:
        """The state after a transition, explained by accelerations f [N, R] and d, of which the estimator has learned since
        the state `before`; learns [N] says where commands moved."""
        after, attitude = state.copy(), np.ascontiguousarray(before["context"])
        observations = np.asarray(t.observation, dtype=np.float64), np.asarray(t.next_observation, dtype=np.float64)
        measured = t.fresh & (before["stale"] == 0.0)
        known = f, attitude, learns, measured, *observations, t.saturated, t.dt, t.dt * t.unwind
        learn_rows(self.constants, *known, after.parts(Memory), after.rows)
        return after


class Memory(NamedTuple):
    """What kernels read and write of one vehicle: fields of the compensator's state and the observer's, as views of its row."""

    d: np.ndarray
    delay: np.ndarray
    effectiveness: np.ndarray
    filters: np.ndarray
    travel: np.ndarray
    believed_rates: np.ndarray
    believed_context: np.ndarray
    integral: np.ndarray
    slow: np.ndarray
    lasting: np.ndarray
    error_noise: np.ndarray
    velocity_noise: np.ndarray
    thrust: np.ndarray
    demand: np.ndarray
    rates: np.ndarray


@inlined
def _recall(row, parts):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    d = part(row, parts, 0)
    return Memory(
        d=d,
        delay=part(row, parts, 1),
        effectiveness=part(row, parts, 2),
        filters=by_blocks(part(row, parts, 3), 6, d.shape[0]),
        travel=part(row, parts, 4),
        believed_rates=part(row, parts, 5),
        believed_context=part(row, parts, 6),
        integral=part(row, parts, 7),
        slow=part(row, parts, 8),
        lasting=part(row, parts, 9),
        error_noise=part(row, parts, 10),
        velocity_noise=part(row, parts, 11),
        thrust=part(row, parts, 12),
        demand=part(row, parts, 13),
        rates=part(row, parts, 14),
    )


class Constants(NamedTuple):
    """What kernels read of a `DroneCompensator` and its vehicle: which rates are tracked [3] and which channels hold their
    errors [3], velocity errors [3] (or none) and the attitude matrix [9]; max_rates and rate_gains [3]; shares [4, 4], the
    thrust that each rotor adds per thrust and torques; torque_gain [3], torque asked for per error in body rate; where
    velocities and body rates begin among the rates; stiffer and calmer, the shares in which errors are shown larger and noise
    is not shown; lead in time constants of its filter; no_reserve and full_reserve, thrust-to-weight ratios."""

    tracked: np.ndarray
    error: np.ndarray
    velocity_error: np.ndarray
    attitude: np.ndarray
    max_rates: np.ndarray
    rate_gains: np.ndarray
    shares: np.ndarray
    torque_gain: np.ndarray
    velocity: int
    turn: int
    weight: float
    thrust_range: float
    max_rotor_thrust: float
    effectiveness_s: float
    rate_authority: float
    lasting_s: float
    lasting_limit: float
    stiffer: float
    stiffened_at: float
    calmer: float
    smoothing: float
    lead: float
    lead_filter: float
    thrust_to_weight: float
    no_reserve: float
    full_reserve: float
    room: float
    return_limit: float
    return_reserve: float
    asked_limit: float
    integral_gain: float
    integral_leak_s: float
    integral_limit: float
    integral_window: float
    prioritise: bool


@helper
def _constants_of(packed):  # type: ignore[no-untyped-def]
    """The `Constants` that were packed."""
    return Constants(
        tracked=integers(packed, 0),
        error=integers(packed, 1),
        velocity_error=integers(packed, 2),
        attitude=integers(packed, 3),
        max_rates=reals(packed, 4),
        rate_gains=reals(packed, 5),
        shares=by_rows(reals(packed, 6), 4),
        torque_gain=reals(packed, 7),
        velocity=integer(packed, 8),
        turn=integer(packed, 9),
        weight=real(packed, 10),
        thrust_range=real(packed, 11),
        max_rotor_thrust=real(packed, 12),
        effectiveness_s=real(packed, 13),
        rate_authority=real(packed, 14),
        lasting_s=real(packed, 15),
        lasting_limit=real(packed, 16),
        stiffer=real(packed, 17),
        stiffened_at=real(packed, 18),
        calmer=real(packed, 19),
        smoothing=real(packed, 20),
        lead=real(packed, 21),
        lead_filter=real(packed, 22),
        thrust_to_weight=real(packed, 23),
        no_reserve=real(packed, 24),
        full_reserve=real(packed, 25),
        room=real(packed, 26),
        return_limit=real(packed, 27),
        return_reserve=real(packed, 28),
        asked_limit=real(packed, 29),
        integral_gain=real(packed, 30),
        integral_leak_s=real(packed, 31),
        integral_limit=real(packed, 32),
        integral_window=real(packed, 33),
        prioritise=integer(packed, 34),
    )


@kernel
def see_rows(c, demand, policy, parts, rows, shown):  # type: ignore[no-untyped-def]
    """Ask in shown [N, O], which comes as the observation, for no more than there is authority for, and for what of
    d_v - l, with its lead (none while commands are late), is perpendicular to body z: thrust answers at once, only
    leaning takes time. Show the attitude without what l takes of it."""
    c, demand, policy = _constants_of(c), demand_of(demand), response_of(policy)
    across, asked, virtual = vector(3), vector(3), vector(3)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        d, up = s.d[c.velocity :], s.believed_context[2::3]
        spare = _reserve(c, d, up, s.effectiveness[0])
        fast = (1.0 + c.lead if s.delay[0] == 0.0 else 1.0) * spare
        for i in range(3):
            across[i] = s.slow[i] + fast * (d[i] - s.slow[i]) - s.lasting[i]
        along = _dot(across, up)
        for i in range(3):
            across[i] -= along * up[i]
        respond(policy, across, asked)
        for i in range(3):
            asked[i] = min(max(asked[i] - s.integral[i], -c.asked_limit), c.asked_limit)
        for i in range(c.velocity_error.shape[0]):
            shown[n, c.error[i]] -= c.calmer * s.error_noise[i]
            shown[n, c.velocity_error[i]] -= c.calmer * s.velocity_noise[i]
        lower(demand, s.demand[0], shown[n])
        ask(policy, asked, shown[n])
        if s.delay[0] == 0.0:
            _stiffen(c, d, s.lasting, spare, shown[n])
        if _dot(s.lasting, s.lasting) > 0.0:
            _without_what_lasts(s, up, virtual)
            _turn(c.attitude, up, virtual, shown[n])


@kernel
def correct_rows(c, dt, parts, rows, wish):  # type: ignore[no-untyped-def]
    """`DroneCompensator.correct`: wish [N, 4] comes as the policy's action and is written, as are slow and
    lasting."""
    c = _constants_of(c)
    correction, virtual = vector(3), vector(3)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        d, up = s.d[c.velocity :], s.believed_context[2::3]
        _without_what_lasts(s, up, virtual)
        thrust = (1.0 + c.thrust_range * wish[n, 0]) * _dot(up, virtual) - _dot(d, up) / GRAVITY
        wish[n, 0] = (thrust / (1.0 + s.effectiveness[0]) - 1.0) / c.thrust_range
        _against(c, s.d, correction)
        add(correction, wish[n, 1:])
        if c.prioritise:
            heeded = max(_reserve(c, d, up, s.effectiveness[0]), c.room)
            _prioritise(c, wish[n], s.believed_rates[c.turn :], correction, heeded)
        share, lasts = min(1.0, dt[n] / c.lead_filter), min(1.0, dt[n] / c.lasting_s)
        bounded = min(1.0, c.lasting_limit / max(np.sqrt(_dot(d, d)), 1e-9))
        for i in range(3):
            s.slow[i] += share * (d[i] - s.slow[i])
            s.lasting[i] += lasts * (bounded * d[i] - s.lasting[i])


@helper
def _stiffen(c, d, lasting, spare, shown):  # type: ignore[no-untyped-def]
    """Show errors larger by what of d [3 or more] does not last, for the share `spare`."""
    square = 0.0
    for i in range(3):
        square += (d[i] - lasting[i]) ** 2
    factor = 1.0 + c.stiffer * spare * min(np.sqrt(square) / c.stiffened_at, 1.0)
    for i in range(c.velocity_error.shape[0]):
        shown[c.error[i]] *= factor
        shown[c.velocity_error[i]] *= factor


@helper
def _without_what_lasts(s, up, virtual):  # type: ignore[no-untyped-def]
    """virtual [3]: the body z that the policy is to see in place of up [3]."""
    for i in range(3):
        virtual[i] = max(s.thrust[0], _THRUST_ALONG_Z) * up[i] + s.lasting[i]
    length = max(np.sqrt(_dot(virtual, virtual)), 1e-9)
    for i in range(3):
        virtual[i] /= length


@helper
def _turn(attitude, up, virtual, shown):  # type: ignore[no-untyped-def]
    """Turn the attitude that shown [O] holds the shortest way which takes the direction up [3] to virtual [3]."""
    cosine = _dot(up, virtual)
    x, y, z = (
        up[1] * virtual[2] - up[2] * virtual[1],
        up[2] * virtual[0] - up[0] * virtual[2],
        up[0] * virtual[1] - up[1] * virtual[0],
    )
    for j in range(3):
        a, b, c = shown[attitude[j]], shown[attitude[3 + j]], shown[attitude[6 + j]]
        along = (x * a + y * b + z * c) / (1.0 + cosine)
        shown[attitude[j]] = cosine * a + y * c - z * b + along * x
        shown[attitude[3 + j]] = cosine * b + z * a - x * c + along * y
        shown[attitude[6 + j]] = cosine * c + x * b - y * a + along * z


@helper
def _against(c, d, correction):  # type: ignore[no-untyped-def]
    """correction [3] of the rates that cancels d_w, in units of the action."""
    for j in range(3):
        wanted = -d[c.turn + j] / (c.rate_gains[j] * c.max_rates[j])
        correction[j] = min(max(wanted, -c.rate_authority), c.rate_authority)


@helper
def _dot(a, b):  # type: ignore[no-untyped-def]
    """Of the first three."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@helper
def _reserve(c, d, up, effectiveness):  # type: ignore[no-untyped-def]
    """How much may be made of what comes and goes, in [0, 1], under d [3 or more], velocities first."""
    left = c.thrust_to_weight * (1.0 + effectiveness) * GRAVITY / max(GRAVITY - _dot(d, up), 1.0)
    return min(max((left - c.no_reserve) / (c.full_reserve - c.no_reserve), 0.0), 1.0)


@kernel
def learn_rows(  # type: ignore[no-untyped-def]
    c, f, context, learns, measured, seen, observation, saturated, dt, undone, parts, rows
):
    """`DroneCompensator.learn` from the attitudes context [N, 9]; measured [N] says where both observations [N, O], seen and
    what followed, were. The states `rows` [N, S] are written."""
    c, error = _constants_of(c), vector(3)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        if learns[n]:
            s.effectiveness[0] = _learn_effectiveness(c, f[n], context[n], dt[n], s.effectiveness[0], s.filters, s.d)
        _tell_noise(c, s, measured[n], seen[n], observation[n], dt[n])
        s.thrust[0] = thrust_acceleration(f[n], context[n], c.velocity)
        for i in range(3):
            error[i] = observation[n, c.error[i]] + s.travel[c.tracked[i]]
        _integrate(c, error, saturated[n], dt[n], undone[n], s.integral)
        s.demand[0] = _affordable(c, s, context[n][2::3], error)


@helper
def _learn_effectiveness(c, f, context, dt, before, filters, d):  # type: ignore[no-untyped-def]
    """The effectiveness after: what d has along world z becomes effectiveness, and leaves d and every filter that has any."""
    thrust, up = thrust_acceleration(f, context, c.velocity), context[8]
    if thrust < _THRUST_ALONG_Z or up < _UPRIGHT:
        return before
    missing = min(max(d[c.velocity + 2] / (thrust * max(up, 0.5)), -0.3), 0.3)
    after = min(max(before + dt / c.effectiveness_s * missing, LEAST_EFFECTIVENESS), MOST_EFFECTIVENESS)
    for i in range(3):
        moved = (after - before) * thrust * context[3 * i + 2]
        d[c.velocity + i] -= moved
        for m in range(filters.shape[0]):
            if filters[m, D, c.velocity + i] != 0.0:
                filters[m, D, c.velocity + i] -= moved
    return after


@helper
def _tell_noise(c, s, measured, seen, observation, dt):  # type: ignore[no-untyped-def]
    """What of the last sample's tracking and velocity error is noise: nothing, where the sample before was none."""
    if c.calmer == 0.0:
        return
    filtered(s.filters, s.velocity_noise, c.velocity)
    for i in range(3):
        e, v = c.error[i], c.velocity_error[i]
        expected = seen[e] - s.error_noise[i] + 0.5 * dt * (seen[v] + observation[v])
        s.error_noise[i] = (1.0 - c.smoothing) * (observation[e] - expected) if measured else 0.0
        s.velocity_noise[i] = s.rates[c.velocity + i] - s.velocity_noise[i] if measured else 0.0


@helper
def _integrate(c, error, saturated, dt, undone, integral):  # type: ignore[no-untyped-def]
    """The integral [3] of the error [3]: it rests far off and where an action saturates, and loses the share undone."""
    active = _dot(error, error) < c.integral_window**2
    for a in range(saturated.shape[0]):
        active = active and not saturated[a]
    for i in range(3):
        after = integral[i] * max(1.0 - dt / c.integral_leak_s - undone, 0.0)
        after += c.integral_gain * dt * error[i] if active else 0.0
        integral[i] = min(max(after, -c.integral_limit), c.integral_limit)


@helper
def _affordable(c, s, up, error):  # type: ignore[no-untyped-def]
    """Share of the tracking error [3] that the policy is to be shown, by what the busiest rotor has left."""
    correction, most = vector(3), 0.0
    _against(c, s.d, correction)
    hover = c.weight * max(1.0 - _dot(s.d[c.velocity :], up) / GRAVITY, 0.1) / (1.0 + s.effectiveness[0])
    for i in range(ROTORS):
        told = c.shares[i, 0] * hover
        for j in range(3):
            told += c.shares[i, 1 + j] * c.torque_gain[j] * c.max_rates[j] * correction[j]
        most = max(most, told)
    left = c.max_rotor_thrust / most
    if left >= c.return_reserve:
        return 1.0
    limit = c.return_limit * max((left - 1.0) / (c.return_reserve - 1.0), 0.1)
    return min(1.0, limit / max(np.sqrt(_dot(error, error)), 1e-6))


@helper
def _prioritise(c, action, turning, correction, reserve):  # type: ignore[no-untyped-def]
    """Cut what the rotors cannot give together: yaw first, then thrust. An action beyond its bounds stays beyond them.

    Thrust makes room for the torques that the correction [3] asks for, and for the share `reserve` of all others."""
    tilt, yaw, torque = vector(ROTORS), vector(ROTORS), vector(3)
    for j in range(3):
        lasting = c.max_rates[j] * correction[j]
        change = c.max_rates[j] * min(max(action[1 + j], -1.0), 1.0) - turning[j]
        torque[j] = c.torque_gain[j] * (lasting + reserve * (change - lasting))
    wanted = c.weight * max(1.0 + c.thrust_range * min(max(action[0], -1.0), 1.0), 0.0)
    possible, most, least = True, -np.inf, np.inf
    for i in range(ROTORS):
        tilt[i] = c.shares[i, 1] * torque[0] + c.shares[i, 2] * torque[1]
        yaw[i] = c.shares[i, 3] * torque[2]
        rotor = c.shares[i, 0] * wanted + tilt[i] + yaw[i]
        possible = possible and 0.0 <= rotor <= c.max_rotor_thrust
        most, least = max(most, tilt[i]), min(least, tilt[i])
    if possible:
        return
    most = max(ROTORS * (c.max_rotor_thrust - most), 0.0)
    least = min(-ROTORS * least, 0.5 * c.weight)
    thrust = max(min(wanted, most), min(least, most))
    share = 1.0
    for i in range(ROTORS):
        given = c.shares[i, 0] * thrust + tilt[i]
        if yaw[i] > 1e-9:
            share = min(share, max((c.max_rotor_thrust - given) / yaw[i], 0.0))
        elif yaw[i] < -1e-9:
            share = min(share, max(-given / yaw[i], 0.0))
    if thrust < wanted or abs(action[0]) <= 1.0:
        action[0] = (thrust / c.weight - 1.0) / c.thrust_range
    if abs(action[3]) <= 1.0:
        action[3] = (turning[2] + share * (c.max_rates[2] * action[3] - turning[2])) / c.max_rates[2]
