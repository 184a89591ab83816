"""Reference controllers of a quadrotor, with SB3's `predict`: baselines, and experts to imitate.

Both share one outer loop. With e and e' the position and velocity error (state minus reference) they ask for the force

    F = m (a_ref - drag(v_ref) - k_x e - k_v e' + augmentation + g),    k_x = wn², k_v = 2 zeta wn

drag being the nominal vehicle's, per mass, in still air. They differ in how they turn the vehicle until its thrust makes
that force. Acceleration and jerk of the reference come from the observation's previews: with K of them the polynomial

    p(t) = v_ref t + a t²/2 + j t³/6 + s t⁴/24 ...   (K unknowns: a, j, s, ...)

passes through them all; without previews both are zero.

World frame z up, body x forward, y left, z up; SI units. R turns body into world.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

from ..reference import ReferenceController, State, batch_of, find_channels
from .base import AXES, BODY_RATES, ROTATION, DroneEnv
from .vehicle import GRAVITY, ROTORS, Vehicle


@dataclass(frozen=True)
class Gains:
    """Gains as natural frequencies and damping ratios, from which the vehicle's own figures make the rest.

    Args:
        position_bandwidth: wn of the position loop, rad/s.
        position_damping: zeta of the position loop.
        attitude_gains: body rate per attitude error about body x, y and z, 1/s.
        integral_rate: reciprocal of the integral's reset time, 1/s.
        l1_bandwidth: cut-off of the L1 augmentation's low-pass filter, rad/s.
    """

    position_bandwidth: float
    position_damping: float
    attitude_gains: tuple[float, float, float]
    integral_rate: float
    l1_bandwidth: float

    @staticmethod
    def of(vehicle: Vehicle) -> Gains:
        """Each loop a fixed share of the one inside it; the innermost is the vehicle's rate loop, of gain k.

        An attitude gain of k / (4 zeta²) damps roll, pitch and yaw by zeta = 0.85. Half of that for wn leaves the
        integral its margin: from 0.7 on it oscillates in the strongest wind of `benchmarks/controllers.py`.
        """
        roll, pitch, yaw = (gain / (4 * 0.85**2) for gain in vehicle.rate_gains)
        bandwidth = 0.5 * min(roll, pitch)
        return Gains(bandwidth, 0.9, (roll, pitch, yaw), 0.3 * bandwidth, 3.0 * bandwidth)


@dataclass(frozen=True)
class Seen:
    """What a controller reads in observations of N vehicles; [N, 3] unless said."""

    error: np.ndarray
    error_rate: np.ndarray
    rotation: np.ndarray
    """[N, 3, 3] body to world."""
    body_rates: np.ndarray
    reference_velocity: np.ndarray
    bend: np.ndarray
    """[N, K, 3] m: each preview less where the present reference velocity would lead."""
    dt: np.ndarray
    """[N] s, what the last control step took."""

    @property
    def velocity(self) -> np.ndarray:
        return self.error_rate + self.reference_velocity

    def reference_derivative(self, weights: np.ndarray) -> np.ndarray:
        """[N, 3], from the `derivative_weights` of the previews."""
        return (weights[:, None] * self.bend).sum(axis=1)


class Reader:
    """Finds the named channels in an environment's observation.

    A reference that moves shows "reference_velocity_x" and "velocity_error_x"; one that stands still, "velocity_x".
    """

    def __init__(self, env: DroneEnv) -> None:
        self._dt = env.dt
        self._clock = find_channels(env, ["step_duration"]) if env.clock is not None else None
        self._error = find_channels(env, [f"position_error_{a}" for a in AXES])
        self._rotation = find_channels(env, ROTATION)
        self._body_rates = find_channels(env, BODY_RATES)
        moving = "reference_velocity_x" in env.observation_names
        self._error_rate = find_channels(env, [f"{'velocity_error' if moving else 'velocity'}_{a}" for a in AXES])
        self._reference_velocity = find_channels(env, [f"reference_velocity_{a}" for a in AXES]) if moving else None
        previews = env.signals.preview if moving else ()
        self.ahead = np.array([ahead for ahead, _ in previews])
        self._preview = find_channels(env, [channel for _, channels in previews for channel in channels])

    def read(self, rows: np.ndarray) -> Seen:
        """What there is in observations [N, O], float64."""
        n = len(rows)
        still = self._reference_velocity is None
        velocity = np.zeros((n, 3)) if still else rows[:, self._reference_velocity]
        return Seen(
            error=rows[:, self._error],
            error_rate=rows[:, self._error_rate],
            rotation=rows[:, self._rotation].reshape(n, 3, 3),
            body_rates=rows[:, self._body_rates],
            reference_velocity=velocity,
            bend=rows[:, self._preview].reshape(n, -1, 3) - self.ahead[:, None] * velocity[:, None],
            dt=np.full(n, self._dt) if self._clock is None else rows[:, self._clock[0]],
        )


def derivative_weights(ahead: np.ndarray, order: int, delay: float) -> np.ndarray:
    """Weights [K] of the previews, less v_ref `ahead`, in the reference's derivative of `order` 2 or 3, `delay` s from now.

    Args:
        ahead: [K] s, how far ahead each preview looks.
        order: 2 for the acceleration, 3 for the jerk.
        delay: s.
    """
    powers = np.arange(2, 2 + len(ahead))
    basis = ahead[:, None] ** powers / [factorial(k) for k in powers]
    taylor = [delay ** (k - order) / factorial(k - order) if k >= order else 0.0 for k in powers]
    return np.array(taylor) @ np.linalg.inv(basis)


class _Augmentation(ABC):
    """Estimates what the outer loop's model leaves out, and answers it with an acceleration."""

    def __init__(self, vehicle: Vehicle, gains: Gains, period: float) -> None:
        self.vehicle, self.gains, self.period = vehicle, gains, period

    @abstractmethod
    def start(self, seen: Seen) -> State:
        """The state at the start of an episode."""

    @abstractmethod
    def answer(self, state: State, seen: Seen) -> tuple[np.ndarray, State]:
        """Acceleration to add, m/s² [N, 3], and the next state."""

    def sent(self, state: State, seen: Seen, thrust: np.ndarray) -> State:
        """The state once `thrust` [N] N has been commanded."""
        return state


class _Nothing(_Augmentation):
    def start(self, seen: Seen) -> State:
        return ()

    def answer(self, state: State, seen: Seen) -> tuple[np.ndarray, State]:
        return np.zeros_like(seen.error), state


class _Integral(_Augmentation):
    """-k_v p ∫ s dt of the composite error s (Goodarzi, Lee & Leok 2013, Geometric nonlinear PID control on SE(3)).

    Anti-windup: s is clipped to what 0.5 m of position error makes of it, the answer to 1 g along each axis.
    """

    window = 0.5

    def start(self, seen: Seen) -> State:
        return (np.zeros_like(seen.error),)

    def answer(self, state: State, seen: Seen) -> tuple[np.ndarray, State]:
        g = self.gains
        slope = g.position_bandwidth / (2 * g.position_damping)
        gain = 2 * g.position_damping * g.position_bandwidth * g.integral_rate
        composite = np.clip(seen.error_rate + slope * seen.error, -slope * self.window, slope * self.window)
        integral = np.clip(state[0] - gain * seen.dt[:, None] * composite, -GRAVITY, GRAVITY)
        return integral, (integral,)


class _L1(_Augmentation):
    """L1 adaptive augmentation with the piecewise-constant law (Hovakimyan & Cao 2010, L1 Adaptive Control Theory, 3.3;
    Wu et al. 2022, L1 adaptive augmentation for geometric tracking control of quadrotors), on the velocity v:

        predictor   d v^/dt = T / m R e3 - g + drag(v) + sigma - a (v^ - v)
        adaptation  sigma = -a e^(-a dt) / (1 - e^(-a dt)) (v^ - v), constant over a control step
        answer      -C(s) sigma, C a first-order low-pass filter

    Discretised exactly, the law cancels the prediction error within the step, so each prediction begins at the measured
    v. Thrust T follows its command with the rotors' nominal lag; R e3 is taken at the middle of the step. All three axes
    are answered: to the outer loop, lateral forces are matched through the attitude.

    State: last velocity [N, 3] m/s, the model's acceleration since [N, 3] m/s², T [N] N, C(s) sigma [N, 3] m/s².
    """

    predictor_rate = 1.0
    """a, 1/s. Of a constant disturbance the law finds the share e^(-a dt): a slow predictor misses little."""

    def start(self, seen: Seen) -> State:
        zero = np.zeros_like(seen.error)
        return seen.velocity, zero, np.full(len(zero), self.vehicle.weight), zero

    def answer(self, state: State, seen: Seen) -> tuple[np.ndarray, State]:
        before, acceleration, thrust, filtered = state
        dt = seen.dt[:, None]
        predicted = before + dt * acceleration
        decay = np.exp(-self.predictor_rate * dt)
        sigma = -self.predictor_rate * decay / (1 - decay) * (predicted - seen.velocity)
        filtered = filtered + (1 - np.exp(-self.gains.l1_bandwidth * dt)) * (sigma - filtered)
        return -filtered, (seen.velocity, acceleration, thrust, filtered)

    def sent(self, state: State, seen: Seen, thrust: np.ndarray) -> State:
        velocity, _, before, filtered = state
        lag = self.vehicle.motor_time_constant
        share = np.exp(-self.period / lag)
        mean = thrust + (1 - share) * lag / self.period * (before - thrust)
        # Body z turns with the rates: R (e3 + dt/2 Omega x e3).
        x, y, z = np.moveaxis(seen.rotation, 2, 0)
        up = z + 0.5 * self.period * (seen.body_rates[:, 1:2] * x - seen.body_rates[:, 0:1] * y)
        acceleration = (mean / self.vehicle.mass)[:, None] * up + still_air_drag(self.vehicle, velocity, seen.rotation)
        acceleration[:, 2] -= GRAVITY
        return velocity, acceleration, thrust + share * (before - thrust), filtered


AUGMENTATIONS: dict[str | None, type[_Augmentation]] = {None: _Nothing, "integral": _Integral, "l1": _L1}


def still_air_drag(vehicle: Vehicle, velocity: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The nominal vehicle's drag per mass in still air, m/s² [N, 3], its rotors turning as in hover.

    Args:
        vehicle: see `Vehicle` for the model.
        velocity: [N, 3] m/s, world.
        rotation: [N, 3, 3] body to world.
    """
    speed = np.sqrt((velocity**2).sum(axis=1))[:, None]
    rotor_speed = ROTORS * np.sqrt(vehicle.weight / ROTORS / vehicle.thrust_coefficient)
    body = (rotation * velocity[:, :, None]).sum(axis=1)
    rotors = (rotation * (rotor_speed * np.array(vehicle.rotor_drag) * body)[:, None, :]).sum(axis=2)
    return -((vehicle.linear_drag + vehicle.quadratic_drag * speed) * velocity + rotors) / vehicle.mass


class TrackingController(ReferenceController[Seen]):
    """What the two controllers share: reading, the outer loop, its limits, the action.

    The force asked for keeps to the vehicle: at least a fifth of the weight upwards, at most `max_tilt` from upright
    and at most the collective thrust that the action can ask for, height before sideways. A far target is approached
    at no more than `max_velocity`. The heading is held along world x.

    Args:
        env: the environment whose observations are read and whose actions are made: a `DroneEnv`, or its Gymnasium or
            vectorised face. Interface "rates" or "motors".
        augmentation: None, "integral" or "l1".
        gains: None takes `Gains.of` the vehicle.

    Raises:
        ValueError: an unknown augmentation, an interface it cannot speak, or a channel that the observation lacks.
    """

    def __init__(self, env: Any, augmentation: str | None = None, gains: Gains | None = None) -> None:
        drone = batch_of(env, DroneEnv)  # type: ignore[type-abstract]
        if augmentation not in AUGMENTATIONS:
            raise ValueError(
                f"unknown augmentation {augmentation!r}; there are: {', '.join(map(repr, AUGMENTATIONS))}."
            )
        if drone.interface not in ("rates", "motors"):
            raise ValueError(f"the controller speaks the interfaces 'rates' and 'motors', not {drone.interface!r}.")
        self.vehicle, self.interface = drone.vehicle, drone.interface
        self.gains = gains or Gains.of(self.vehicle)
        self._reader = self._look(drone)
        self._augmentation = AUGMENTATIONS[augmentation](self.vehicle, self.gains, drone.dt)
        strongest = ROTORS * self.vehicle.max_rotor_thrust
        self._max_thrust = min(strongest, (1 + self.vehicle.thrust_range) * self.vehicle.weight)
        # What is fed forward is asked for early, by half a control step and the lag of what has to follow it.
        delay, rate_lag = 0.5 * drone.dt, 1 / min(self.vehicle.rate_gains[:2])
        self._to_acceleration = derivative_weights(self._reader.ahead, 2, delay + self.vehicle.motor_time_constant)
        self._to_jerk = derivative_weights(self._reader.ahead, 3, delay + rate_lag)

    def _read(self, rows: np.ndarray) -> Seen:
        return self._reader.read(rows)

    def _start(self, seen: Seen) -> State:
        return self._augmentation.start(seen)

    def _act(self, seen: Seen, state: State) -> tuple[np.ndarray, State]:
        extra, state = self._augmentation.answer(state, seen)
        force = self._limited(self._force(seen, extra))
        thrust, rates = self._attitude_loop(force, seen)
        action, thrust = self._action(thrust, rates, seen)
        return action, self._augmentation.sent(state, seen, thrust)

    def _look(self, drone: DroneEnv) -> Reader:
        """Where the controller reads what it goes by."""
        return Reader(drone)

    @abstractmethod
    def _attitude_loop(self, force: np.ndarray, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Collective thrust N [N] and body rates rad/s [N, 3] that make `force` N [N, 3]."""

    def _force(self, seen: Seen, extra: np.ndarray) -> np.ndarray:
        g = self.gains
        slope = g.position_bandwidth / (2 * g.position_damping)
        approach = np.array(self.vehicle.max_velocity)
        composite = seen.error_rate + np.clip(slope * seen.error, -approach, approach)
        acceleration = seen.reference_derivative(self._to_acceleration)
        acceleration -= still_air_drag(self.vehicle, seen.reference_velocity, seen.rotation)
        acceleration += extra - 2 * g.position_damping * g.position_bandwidth * composite
        acceleration[:, 2] += GRAVITY
        return self.vehicle.mass * acceleration

    def _limited(self, force: np.ndarray) -> np.ndarray:
        up = np.clip(force[:, 2], 0.2 * self.vehicle.weight, self._max_thrust)
        most = np.minimum(up * np.tan(self.vehicle.max_tilt), np.sqrt(self._max_thrust**2 - up**2))
        sideways = np.sqrt(force[:, 0] ** 2 + force[:, 1] ** 2)
        share = np.minimum(1.0, most / np.maximum(sideways, 1e-9))
        return np.stack([share * force[:, 0], share * force[:, 1], up], axis=1)

    def _action(self, thrust: np.ndarray, rates: np.ndarray, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """The action [N, 4] in [-1, 1], and the collective thrust that it commands, N [N]."""
        vehicle = self.vehicle
        if self.interface == "rates":
            lift = (thrust / vehicle.weight - 1) / vehicle.thrust_range
            action = np.concatenate([lift[:, None], rates / vehicle.max_rates], axis=1).clip(-1.0, 1.0)
            return action, vehicle.weight * (1 + vehicle.thrust_range * action[:, 0])
        inertia = np.array(vehicle.inertia)
        spin = inertia * seen.body_rates
        gyroscopic = np.cross(seen.body_rates, spin)
        moment = inertia * np.array(vehicle.rate_gains) * (rates - seen.body_rates) + gyroscopic
        arms = np.array([vehicle.arm, vehicle.arm, vehicle.torque_per_thrust])
        wanted = np.concatenate([thrust[:, None], moment / arms], axis=1)
        rotors = (vehicle.mixer * wanted[:, None]).sum(axis=2) / ROTORS
        rotors = rotors.clip(0.0, vehicle.max_rotor_thrust)
        hover = vehicle.weight / ROTORS
        reach = np.where(rotors < hover, hover, vehicle.max_rotor_thrust - hover)
        return (rotors - hover) / reach, rotors.sum(axis=1)


class GeometricController(TrackingController):
    """Geometric tracking on SE(3) (Lee, Leok & McClamroch 2010): global, it recovers from upside down.

        thrust = F . R e3
        R_d = [b1, b2, F / |F|], heading along world x;   Q = R_d^T R
        rates = R^T w_ref - K e_R,   e_R = (Q - Q^T)^v / sqrt(1 + tr Q)
        moment (interface "motors") = J k (rates - W) + W x J W

    e_R is 2 sin(angle / 2) along the axis of rotation: the error of Lee 2011 (Geometric tracking control of the attitude
    dynamics of a rigid body on SO(3)), which unlike that of 2010 does not fade towards 180°. w_ref turns R_d with the
    reference's jerk; its angular acceleration is not fed forward. With k the rate gains of the vehicle, k K and k are
    Lee's k_R / J and k_W / J; the rates interface leaves the moment law to the vehicle's own rate loop.
    """

    def _attitude_loop(self, force: np.ndarray, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        thrust = np.maximum((force * seen.rotation[:, :, 2]).sum(axis=1), 0.0)
        size = np.sqrt((force**2).sum(axis=1))[:, None]
        up = force / size
        left = np.stack([np.zeros(len(up)), up[:, 2], -up[:, 1]], axis=1)
        left /= np.sqrt((left**2).sum(axis=1))[:, None]
        wanted = np.stack([np.cross(left, up), left, up], axis=2)
        turn = np.cross(up, self.vehicle.mass * seen.reference_derivative(self._to_jerk) / size)
        rates = (seen.rotation * turn[:, :, None]).sum(axis=1)
        return thrust, rates - np.array(self.gains.attitude_gains) * attitude_error(wanted, seen.rotation)


class CascadedPID(TrackingController):
    """The autopilots' cascade: position P, velocity PID, attitude P on Euler angles, body rates.

        roll, pitch from F, heading along world x;   Euler rates = K (angles asked for - angles)
        thrust = F_z / cos(tilt), none while the vehicle hangs upside down

    The integral of the velocity loop is the augmentation "integral". The reference's jerk is not fed forward. Euler
    angles are singular at 90° of pitch: it flies near upright.
    """

    def _attitude_loop(self, force: np.ndarray, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        r, size = seen.rotation, np.sqrt((force**2).sum(axis=1))
        roll, yaw = np.arctan2(r[:, 2, 1], r[:, 2, 2]), np.arctan2(r[:, 1, 0], r[:, 0, 0])
        pitch = np.arcsin(np.clip(-r[:, 2, 0], -1.0, 1.0))
        off = np.stack(
            [roll + np.arcsin(force[:, 1] / size), pitch - np.arctan2(force[:, 0], force[:, 2]), yaw], axis=1
        )
        euler_rates = -np.array(self.gains.attitude_gains) * ((off + np.pi) % (2 * np.pi) - np.pi)
        thrust = np.where(r[:, 2, 2] > 0, force[:, 2] / np.maximum(r[:, 2, 2], 0.5), 0.0)
        return thrust, _body_rates(euler_rates, roll, pitch)


def _body_rates(euler_rates: np.ndarray, roll: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Body rates [N, 3] of roll, pitch and yaw rates (z-y-x angles)."""
    x, y, z = euler_rates.T
    across, down = z * np.cos(pitch), np.cos(roll)
    return np.stack([x - z * np.sin(pitch), y * down + across * np.sin(roll), across * down - y * np.sin(roll)], axis=1)


def attitude_error(wanted: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(Q - Q^T)^v / sqrt(1 + tr Q), Q = wanted^T rotation: 2 sin(angle / 2) along the axis, body frame, [N, 3].

    At 180° that is 0 / 0; there Q + I = 2 axis axis^T tells the axis, up to its sign.
    """
    q = (wanted[:, :, :, None] * rotation[:, :, None, :]).sum(axis=1)
    vee = np.stack([q[:, 2, 1] - q[:, 1, 2], q[:, 0, 2] - q[:, 2, 0], q[:, 1, 0] - q[:, 0, 1]], axis=1)
    trace = 1 + q[:, 0, 0] + q[:, 1, 1] + q[:, 2, 2]
    error = vee / np.sqrt(np.maximum(trace, 1e-6))[:, None]
    for n in np.flatnonzero(trace < 1e-6):
        column = (q[n] + np.eye(3))[:, np.diag(q[n]).argmax()]
        error[n] = 2 * column / np.sqrt((column**2).sum())
    return error
