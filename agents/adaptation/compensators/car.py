"""The car's own compensator: what is known of its axles, its road and its tyres' grip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ....envs.driving.governor import DOWN_S, GOVERNED_SHARE, TRUSTED, approach, limiting_grip, safe_scale
from ....envs.driving.plant import ACTUATORS
from ....envs.driving.vehicle import GRAVITY, Car, load_car
from ....policies.kernels.arithmetic import add
from ....policies.kernels.packed import by_blocks, by_rows, integers, pack, real, reals
from ....policies.kernels.views import scratch, vector
from ..cholesky import solve
from ..compiled import helper, inlined, kernel
from ..demand import demand_of, lower
from ..estimator import AUTOCOVARIANCE, filtered
from ..nominal import NominalModel, arrange, differentiate, forward, network_of, rooms
from ..state import State, part

_RATES = ("forward_velocity", "lateral_velocity", "yaw_rate")
_FORWARD, _LATERAL, _YAW = range(3)
_DRIVE = ACTUATORS.index("drive")
_OWN = ("lateral_error", "heading_error", "speed_error")
_CURVATURE, _REFERENCE = "curvature_", "reference_speed_"

LEAST_GRIP, MOST_GRIP = 0.05, 1.2
_FIRST_SPREAD = (0.02, 0.0, 0.1)
_MOST_SPREAD = (0.15, 2.0)
"""Variances of grip and offset, at most; the offset's in (m/s²)²."""
_FORCE_VARIANCE = 0.3
"""Of what the nominal model leaves of an axle's force per mass, (m/s²)²."""
_SURPRISE = 3.0
"""Standard deviations that an innovation is clipped to."""
_TELLING_FORCE = 2.0
"""m/s²: an axle that bears less tells less of its grip, and is believed to change less."""
_STEP = 0.1
"""m/s, to either side, over which the effect of sideslip is measured."""


@dataclass(frozen=True)
class CarCompensator:
    """For cars that follow a road: steering and drive, the road shown ahead of the car.

    Grip. The lateral forces of the axles, over the mass m, follow from the accelerations a_y = v_y' + v r and r':

        F_front = (l_r a_y + I_z r' / m) / (l_f + l_r),    F_rear = (l_f a_y - I_z r' / m) / (l_f + l_r)

    measured and, from the nominal model's accelerations, predicted. Of each axle F_measured = grip F_predicted + offset, both
    a random walk, by a Kalman filter (tyre forces for friction: Ray 1997, Automatica 33(10)); trim, bank and biases are the
    offset's. Of the tyres' forces little slip shows the stiffness, much slip the friction; grip is between both.

    Governor. Of the speed asked for the policy is shown the share `governor.safe_scale` of the two axles' grips
    (`Signals.demand`), lowered at once and raised slowly: what friction does not hold no action compensates. A road that asks
    for less of the friction limit than CarTrack does leaves as much more grip to lose.

    Brakes. What an axle's tyres hold they hold along and across together (circle of friction: Pacejka 2012, chapter 1).
    Less speed is asked for in a bend in which the rear axle already slips, where braking would spin the car. So, below
    the grip that is trusted, brakes are limited to

        F_brake <= sqrt((friction_used grip mu N)² - F_rear²)

    of the rear axle, N its load at rest and F_rear its lateral force in steady turning.

    Answer to the disturbance d of the accelerations f(v, u): the car may slip sideways otherwise than nominally to hold its
    course, so that change of actions du and of sideslip dv_y is sought which has

        d + (df/du) du + (df/dv_y) dv_y = 0

    by damped least squares in units of the nominal accelerations' deviations. A share of du is sent; the policy is shown
    v_y - dv_y, and the heading error that has the course as it is. It fades out as the grip goes, since df/du and df/dv_y are
    those of a grip that is no more.

    Biases of the measured lateral velocity and yaw rate: what they show beyond how lateral and heading error change along the
    road, e' = v_y + v sin psi, psi' = r - curvature v. They are taken from what is measured before anything else is made of it.

    A slow integral of the lateral error adds what is missing. Where commands are late the policy is shown the car where it will
    be on its road when they arrive.

    Args:
        nominal: the nominal model.
        vehicle: the nominal vehicle.
        share: of the friction limit, that the speeds asked for use: where it is small, lost grip may leave them safe.
        damping: of the least squares, in mean squares of their columns.
        answered: share of du and dv_y that is made use of.
        answer_s: time constant with which they are, s.
        authority: |du| at most, in units of the action.
        most_sideslip: |dv_y| at most, m/s.
        fades: grips at which the answer is gone, and at which it is whole.
        grip_wander: standard deviation that the grip gains in a second, of an axle that bears enough to tell.
        offset_wander: likewise of front and rear offset, m/s².
        doubt: standard deviations of the grip's estimate by which it is taken for more than it is: noise is to slow nobody down.
        friction_used: share of the rear axle's friction that turning and braking may take together.
        raised_s: time constant with which the speed asked for is raised, s: where one stretch was slippery, another may follow.
        bias_s: time constant of the biases, s.
        integral_gain: 1/s.
        integral_limit: |integral| at most, m.
        integral_window: the lateral error is clipped to this before it is integrated, m.
    """

    nominal: NominalModel
    vehicle: Car
    share: float = GOVERNED_SHARE
    damping: float = 0.05
    answered: float = 0.4
    answer_s: float = 0.1
    authority: float = 0.6
    most_sideslip: float = 0.6
    fades: tuple[float, float] = (0.7, 0.9)
    grip_wander: float = 0.5
    offset_wander: tuple[float, float] = (1.0, 0.4)
    doubt: float = 0.5
    friction_used: float = 0.85
    raised_s: float = 3.0
    bias_s: float = 1.0
    integral_gain: float = 0.3
    integral_limit: float = 0.2
    integral_window: float = 0.2

    @staticmethod
    def fits(nominal: NominalModel) -> bool:
        """Whether that is of a car that follows a road which it is shown."""
        names, signals = nominal.observation_names, nominal.signals
        shown = all(any(name.startswith(kind) for name in names) for kind in (_CURVATURE, _REFERENCE))
        return (
            shown
            and set(_OWN) <= set(names)
            and bool(signals.demand and signals.tracking)
            and tuple(signals.rates) == _RATES
            and signals.previous_action == tuple(f"previous_action_{name}" for name in ACTUATORS)
            and "vehicle" in (nominal.env or {}).get("kwargs", {})
        )

    @staticmethod
    def of(nominal: NominalModel) -> CarCompensator:
        """The compensator of the vehicle that `nominal` was fitted to.

        Raises:
            ValueError: that was no car that follows a road.
        """
        if not CarCompensator.fits(nominal):
            raise ValueError(
                "adapter 'car' is for cars that follow a road which they are shown (CarTrack, CarLane), and this nominal model "
                f"is of {(nominal.env or {}).get('id', 'no environment that it names')}: use 'observer', which knows no vehicle."
            )
        assert nominal.env is not None
        kwargs = nominal.env["kwargs"]
        return CarCompensator(nominal, load_car(kwargs["vehicle"]), share=kwargs.get("share", GOVERNED_SHARE))

    @cached_property
    def constants(self) -> np.ndarray:
        """`Constants`, packed."""
        names, car = list(self.nominal.observation_names), self.vehicle
        rear_load = GRAVITY * car.front_axle / car.wheelbase
        curvature = [name for name in names if name.startswith(_CURVATURE)]
        return pack(
            Constants(
                own=_places(names, _OWN),
                rates=_places(names, _RATES),
                curvature=_places(names, curvature),
                reference=_places(names, [name.replace(_CURVATURE, _REFERENCE) for name in curvature]),
                ahead=np.array([float(name.removeprefix(_CURVATURE).removesuffix("m")) for name in curvature]),
                sd=self.nominal.acceleration_sd,
                dt=self.nominal.dt,
                front_arm=car.front_axle / car.wheelbase,
                rear_arm=car.rear_axle / car.wheelbase,
                yaw_arm=car.yaw_inertia / (car.mass * car.wheelbase),
                rear_friction=self.friction_used * car.friction_rear * rear_load,
                rear_brakes=(1.0 - car.brake_front) * car.max_brake_force / car.mass,
                damping=self.damping,
                answered=self.answered,
                answer_s=self.answer_s,
                authority=self.authority,
                most_sideslip=self.most_sideslip,
                no_grip=self.fades[0],
                full_grip=self.fades[1],
                spare=GOVERNED_SHARE / self.share,
                grip_wander=self.grip_wander,
                doubt=self.doubt,
                raised_s=self.raised_s,
                offset_wander=np.array(self.offset_wander, dtype=np.float64),
                bias_s=self.bias_s,
                integral_gain=self.integral_gain,
                integral_limit=self.integral_limit,
                integral_window=self.integral_window,
            )
        )

    def initial_state(self, n: int) -> State:
        """grip, offset [N, 2] front and rear; spread [N, 2, 3] their variance, covariance and variance; demand [N] the share
        of the speed that is asked for; brakes [N] the share of them that may be used; answer [N, 3] du and dv_y; bias
        [N, 2] m/s and rad/s; integral [N] m."""
        return State(
            {
                "grip": np.ones((n, 2)),
                "offset": np.zeros((n, 2)),
                "spread": np.tile(_FIRST_SPREAD, (n, 2, 1)),
                "demand": np.ones(n),
                "brakes": np.ones(n),
                "answer": np.zeros((n, 3)),
                "bias": np.zeros((n, 2)),
                "integral": np.zeros(n),
            }
        )

    def correct(self, state: State, action: np.ndarray) -> np.ndarray:
        """The compensated action [N, 2], not yet within the action's bounds."""
        wish = action.astype(np.float64)
        correct_rows(state.parts(Memory), state.rows, wish)
        return wish

    def limit_brakes(self, state: State, action: np.ndarray) -> np.ndarray:
        """Actions [N, 2] that brake no more than the rear axle bears."""
        limited = action.astype(np.float64)
        limit_brakes(state.parts(Memory), state.rows, limited)
        return limited


def _places(names: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    return np.array([names.index(name) for name in wanted], dtype=np.int64)


class Memory(NamedTuple):
    """What kernels read and write of one vehicle: fields of the estimator's state and the compensator's, as views of its row."""

    filters: np.ndarray
    rates: np.ndarray
    commands: np.ndarray
    delay: np.ndarray
    ahead: np.ndarray
    noise: np.ndarray
    d: np.ndarray
    believed_rates: np.ndarray
    believed_travel: np.ndarray
    grip: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    demand: np.ndarray
    brakes: np.ndarray
    answer: np.ndarray
    bias: np.ndarray
    integral: np.ndarray


@inlined
def _recall(row, parts):  # type: ignore[no-untyped-def]
    """The `Memory` of the vehicle of this row."""
    return Memory(
        filters=by_blocks(part(row, parts, 0), 6, 3),
        rates=part(row, parts, 1),
        commands=by_rows(part(row, parts, 2), 2),
        delay=part(row, parts, 3),
        ahead=part(row, parts, 4),
        noise=by_rows(part(row, parts, 5), 3),
        d=part(row, parts, 6),
        believed_rates=part(row, parts, 7),
        believed_travel=part(row, parts, 8),
        grip=part(row, parts, 9),
        offset=part(row, parts, 10),
        spread=by_rows(part(row, parts, 11), 3),
        demand=part(row, parts, 12),
        brakes=part(row, parts, 13),
        answer=part(row, parts, 14),
        bias=part(row, parts, 15),
        integral=part(row, parts, 16),
    )


class Constants(NamedTuple):
    """What kernels read of a `CarCompensator`: channels own [3], rates [3], curvature [K] and reference [K] with their places
    ahead [K] m; sd [3] of the nominal accelerations; arms over the wheelbase, yaw_arm in m of I_z / m over it; forces
    over the mass, m/s², that the rear axle may use of its nominal friction, and that it brakes with at full brakes; spare,
    what a grip counts for the governor as a multiple of itself, where the road asks for less of it than CarTrack."""

    own: np.ndarray
    rates: np.ndarray
    curvature: np.ndarray
    reference: np.ndarray
    ahead: np.ndarray
    sd: np.ndarray
    dt: float
    front_arm: float
    rear_arm: float
    yaw_arm: float
    rear_friction: float
    rear_brakes: float
    damping: float
    answered: float
    answer_s: float
    authority: float
    most_sideslip: float
    no_grip: float
    full_grip: float
    spare: float
    grip_wander: float
    doubt: float
    raised_s: float
    offset_wander: np.ndarray
    bias_s: float
    integral_gain: float
    integral_limit: float
    integral_window: float


@helper
def _constants_of(packed):  # type: ignore[no-untyped-def]
    """The `Constants` that were packed."""
    return Constants(
        own=integers(packed, 0),
        rates=integers(packed, 1),
        curvature=integers(packed, 2),
        reference=integers(packed, 3),
        ahead=reals(packed, 4),
        sd=reals(packed, 5),
        dt=real(packed, 6),
        front_arm=real(packed, 7),
        rear_arm=real(packed, 8),
        yaw_arm=real(packed, 9),
        rear_friction=real(packed, 10),
        rear_brakes=real(packed, 11),
        damping=real(packed, 12),
        answered=real(packed, 13),
        answer_s=real(packed, 14),
        authority=real(packed, 15),
        most_sideslip=real(packed, 16),
        no_grip=real(packed, 17),
        full_grip=real(packed, 18),
        spare=real(packed, 19),
        grip_wander=real(packed, 20),
        doubt=real(packed, 21),
        raised_s=real(packed, 22),
        offset_wander=reals(packed, 23),
        bias_s=real(packed, 24),
        integral_gain=real(packed, 25),
        integral_limit=real(packed, 26),
        integral_window=real(packed, 27),
    )


@kernel
def unbias(c, parts, rows, freed):  # type: ignore[no-untyped-def]
    """freed [N, O] comes as the observation, and is rid of the biases that are believed."""
    c = _constants_of(c)
    for n in range(rows.shape[0]):
        bias = _recall(rows[n], parts).bias
        freed[n, c.rates[_LATERAL]] -= bias[0]
        freed[n, c.rates[_YAW]] -= bias[1]


@kernel
def see_rows(c, demand, parts, rows, shown):  # type: ignore[no-untyped-def]
    """Show the cars where the states `rows` [N, S] believe them (`predict_rows`), asked for no more speed than their
    grip allows, with their answer: shown [N, O] comes as the observation and is written."""
    c, demand = _constants_of(c), demand_of(demand)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        speed, sideslip = s.believed_rates[_FORWARD], s.answer[2]
        _move_on(c, s.believed_rates, s.believed_travel, s.ahead[0] * c.dt * speed, shown[n])
        shown[n, c.own[0]] += s.integral[0]
        shown[n, c.own[1]] += sideslip / max(speed, 1.0)
        shown[n, c.rates[_LATERAL]] -= sideslip
        lower(demand, s.demand[0], shown[n])


@kernel
def correct_rows(parts, rows, wish):  # type: ignore[no-untyped-def]
    """`CarCompensator.correct`: wish [N, 2] comes as the policy's action and is written."""
    for n in range(rows.shape[0]):
        add(_recall(rows[n], parts).answer[:2], wish[n])
    limit_brakes(parts, rows, wish)


@kernel
def limit_brakes(parts, rows, wish):  # type: ignore[no-untyped-def]
    """`CarCompensator.limit_brakes`: wish [N, 2] comes as the action and is written."""
    for n in range(rows.shape[0]):
        wish[n, _DRIVE] = max(wish[n, _DRIVE], -_recall(rows[n], parts).brakes[0])


@helper
def _move_on(c, rates, travel, ahead, shown):  # type: ignore[no-untyped-def]
    """Show [O] the car of `rates` [3] where it is after `travel` [3], which is so far `ahead`, m, of where the road is seen from."""
    curvature, reference = vector(c.ahead.shape[0]), vector(c.ahead.shape[0])
    for k in range(c.ahead.shape[0]):
        curvature[k] = shown[c.curvature[k]]
        reference[k] = shown[c.reference[k]]
    # The way is short: the road bends evenly, and the course is that of its middle.
    turned = travel[_YAW] - _at(c.ahead, curvature, 0.5 * ahead) * travel[_FORWARD]
    course = shown[c.own[1]] + 0.5 * turned
    shown[c.own[0]] += travel[_LATERAL] + travel[_FORWARD] * np.sin(course)
    shown[c.own[1]] += turned
    for k in range(c.ahead.shape[0]):
        shown[c.curvature[k]] = _at(c.ahead, curvature, c.ahead[k] + ahead)
        shown[c.reference[k]] = _at(c.ahead, reference, c.ahead[k] + ahead)
    shown[c.own[2]] += rates[_FORWARD] - shown[c.rates[_FORWARD]] + reference[0] - shown[c.reference[0]]
    for i in range(3):
        shown[c.rates[i]] = rates[i]


@helper
def _at(places, values, place):  # type: ignore[no-untyped-def]
    """The values [K] at a place, between theirs [K] linear, beyond the last as there."""
    k = 0
    while k < places.shape[0] - 2 and places[k + 1] < place:
        k += 1
    share = (place - places[k]) / (places[k + 1] - places[k])
    share = min(max(share, 0.0), 1.0)
    return (1.0 - share) * values[k] + share * values[k + 1]


@kernel
def learn_rows(  # type: ignore[no-untyped-def]
    network, c, before, learns, observation, following, saturated, fresh, dt, undone, parts, rows
):
    """Learn from a transition without biases (`unbias`) that the estimator has learned from: before [N, S] are the
    states before it did, learns [N] says which tell of the grip, undone [N] is the share that integrals lose, and rows
    [N, S] are written."""
    network, c = network_of(network), _constants_of(c)
    z, first, second, f = rooms(network, 4)
    believed, change, gain, wanted = vector(3), vector(3), scratch((3, 3), np.float64), vector(3)
    for n in range(rows.shape[0]):
        s = _recall(rows[n], parts)
        filtered(_recall(before[n], parts).filters, believed, 0)
        arrange(network, believed, believed[:0], s.commands, int(s.delay[0]), z[0])
        _arrange_around(network, s.rates, s.commands, z[1:])
        forward(network, z, first, second, f)
        if learns[n]:
            filtered(s.filters, change, 0)
            for i in range(3):
                change[i] = (change[i] - believed[i]) / dt[n]
            _learn_grip(c, believed, change, f[0], s.noise, dt[n], s.grip, s.offset, s.spread)
            _learn_bias(c, observation[n], following[n], dt[n], s.bias)
        front = s.grip[0] + c.doubt * np.sqrt(s.spread[0, 0])
        rear = s.grip[1] + c.doubt * np.sqrt(s.spread[1, 0])
        wanted_speed = safe_scale(c.spare * front, c.spare * rear)
        s.demand[0] = approach(s.demand[0], wanted_speed, dt[n], DOWN_S, c.raised_s)
        s.brakes[0] = _brakes(c, rear, s.rates)
        _gain(network, first[1], second[1], z, f[1:], gain)
        _answer(c, gain, s.d, wanted)
        left = (limiting_grip(front, rear) - c.no_grip) / (c.full_grip - c.no_grip)
        left = min(max(left, 0.0), 1.0)
        share = min(1.0, dt[n] / c.answer_s)
        for i in range(3):
            most = c.most_sideslip if i == 2 else c.authority
            s.answer[i] += share * (min(max(left * wanted[i], -most), most) - s.answer[i])
        error = min(max(following[n, c.own[0]], -c.integral_window), c.integral_window)
        grown = c.integral_gain * dt[n] * error if fresh[n] and not saturated[n, 0] else 0.0
        integral = max(1.0 - undone[n], 0.0) * s.integral[0] + grown
        s.integral[0] = min(max(integral, -c.integral_limit), c.integral_limit)


@helper
def _learn_grip(c, rates, change, f, noise, dt, grip, offset, spread):  # type: ignore[no-untyped-def]
    """One step of both axles' filters: their grip [2], offset [2] and spread [2, 3].

    Rates [3], their `change` [3] and the f [3] that is predicted from them are of the estimator's filters: the noise of a sample
    in both, prediction and measurement, would look like grip.
    """
    across = rates[_FORWARD] * rates[_YAW]
    for axle in range(2):
        arm, yaw = (c.rear_arm, c.yaw_arm) if axle == 0 else (c.front_arm, -c.yaw_arm)
        expected = arm * (f[_LATERAL] + across) + yaw * f[_YAW]
        measured = arm * (change[_LATERAL] + across) + yaw * change[_YAW]
        variance = _FORCE_VARIANCE
        variance += arm**2 * max(noise[AUTOCOVARIANCE, _LATERAL], 0.0) + yaw**2 * max(noise[AUTOCOVARIANCE, _YAW], 0.0)
        p = spread[axle]
        told = min((expected / _TELLING_FORCE) ** 2, 1.0)
        p[0] = min(p[0] + c.grip_wander**2 * told * dt, _MOST_SPREAD[0])
        p[2] = min(p[2] + c.offset_wander[axle] ** 2 * dt, _MOST_SPREAD[1])
        of_grip, of_offset = p[0] * expected + p[1], p[1] * expected + p[2]
        whole = expected * of_grip + of_offset + variance
        innovation = measured - grip[axle] * expected - offset[axle]
        limit = _SURPRISE * np.sqrt(whole)
        innovation = min(max(innovation, -limit), limit)
        grip[axle] = min(max(grip[axle] + of_grip / whole * innovation, LEAST_GRIP), MOST_GRIP)
        offset[axle] += of_offset / whole * innovation
        p[0] -= of_grip**2 / whole
        p[1] -= of_grip * of_offset / whole
        p[2] -= of_offset**2 / whole


@helper
def _brakes(c, grip, rates):  # type: ignore[no-untyped-def]
    """The most that may be braked with, 0 to 1, by a rear axle of this grip that is to turn the car as it turns."""
    if grip >= TRUSTED:
        return 1.0
    across = c.front_arm * rates[_FORWARD] * rates[_YAW]
    along = np.sqrt(max((grip * c.rear_friction) ** 2 - across**2, 0.0))
    return min(along / c.rear_brakes, 1.0)


@helper
def _learn_bias(c, observation, following, dt, bias):  # type: ignore[no-untyped-def]
    """One step of the biases [2]; the noise of the lateral and the heading error telescopes."""
    lateral, heading = observation[c.own[0]], 0.5 * (observation[c.own[1]] + following[c.own[1]])
    along = 0.5 * (observation[c.rates[_FORWARD]] + following[c.rates[_FORWARD]])
    across = 0.5 * (observation[c.rates[_LATERAL]] + following[c.rates[_LATERAL]])
    turning = 0.5 * (observation[c.rates[_YAW]] + following[c.rates[_YAW]])
    curvature = 0.5 * (observation[c.curvature[0]] + following[c.curvature[0]])
    moved = (following[c.own[0]] - lateral) / dt
    turned = (following[c.own[1]] - observation[c.own[1]]) / dt
    way = (along * np.cos(heading) - across * np.sin(heading)) / (1.0 - curvature * lateral)
    bias[0] += dt / c.bias_s * (along * np.sin(heading) + across * np.cos(heading) - moved)
    bias[1] += dt / c.bias_s * (turning - curvature * way - turned)


@helper
def _arrange_around(network, rates, commands, z):  # type: ignore[no-untyped-def]
    """Inputs z [3, .] at the rates [3], and at more and at less sideslip."""
    for k in range(3):
        arrange(network, rates, rates[:0], commands, 0, z[k])
    z[1, _LATERAL] += _STEP
    z[2, _LATERAL] -= _STEP


@helper
def _gain(network, first, second, z, f, gain):  # type: ignore[no-untyped-def]
    """gain [3, 3]: of the accelerations by steering, by drive, both held, and by lateral velocity, from the accelerations
    f [3, .] of `_arrange_around` and the layers that led to the first; z and f, of `rooms`, are overwritten."""
    for i in range(3):
        gain[i, 2] = (f[1, i] - f[2, i]) / (2.0 * _STEP)
    differentiate(network, first, second, z, f, gain[:, :2])


@helper
def _answer(c, gain, d, out):  # type: ignore[no-untyped-def]
    """out [3]: the share of du and dv_y that is answered with."""
    gram, trace = scratch((3, 3), np.float64), 0.0
    for a in range(3):
        out[a] = 0.0
        for i in range(3):
            out[a] -= c.answered * gain[i, a] * d[i] / c.sd[i] ** 2
        for b in range(a + 1):
            gram[a, b] = 0.0
            for i in range(3):
                gram[a, b] += gain[i, a] * gain[i, b] / c.sd[i] ** 2
        trace += gram[a, a]
    for a in range(3):
        gram[a, a] += c.damping * trace / 3.0 + 1e-12
    solve(gram, out)
