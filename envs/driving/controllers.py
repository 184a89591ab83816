"""Reference controllers of a car, with SB3's `predict`: baselines, and experts to imitate.

They know the nominal vehicle, and the steady turn in which its centre of mass follows the road. In a bend of curvature κ at
speed v each axle bears its share of m v² κ, at the slip angle at which the magic formula gives that force,

    α_i = tan(asin(v² κ / (μ_i g)) / C) / B_i,    with at most GRIP of the friction in use,

so the front wheels stand at δ = L κ + α_f - α_r and the car points β = l_r κ - α_r to the right of where it goes. The two
controllers differ in how they steer back to that turn. Their speed loop is one: a PI on the speed error, with the
acceleration of the reference, v dv/ds from the preview, and what air, rolling and the bend take fed forward.

Body x forward, y left; angles and errors are positive to the left; SI units.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from ..reference import ReferenceController, State, batch_of, find_channels
from .base import CarEnv
from .vehicle import GRAVITY, Car

GRIP = 0.9
"""Share of the friction up to which a steady turn is believed: beyond, more steering hardly gives more force."""

_STEPS = 25  # of the preview controller's horizon
_STATES = 5  # of its model


@dataclass(frozen=True)
class Gains:
    """What `Gains.of` makes of a car's size.

    Args:
        convergence: rate at which Stanley steers a lateral error away, 1/s.
        yaw_damping: Stanley's steering against a yaw rate that is not the road's, s.
        lateral_tolerance: error that the preview controller minds as much as each of the next two, m.
        course_tolerance: rad.
        steering_tolerance: off the steering of the steady turn, rad.
        horizon: of the preview controller, s.
        speed: proportional gain of the speed loop, 1/s.
        speed_integral: 1/s².
    """

    convergence: float
    yaw_damping: float
    lateral_tolerance: float
    course_tolerance: float
    steering_tolerance: float
    horizon: float
    speed: float
    speed_integral: float

    @staticmethod
    def of(car: Car) -> Gains:
        """One rule for cars of all sizes, by Froude's similarity: lengths go as the wheelbase L, times as √(L / g)."""
        time = float(np.sqrt(car.wheelbase / GRAVITY))
        return Gains(
            convergence=1.0 / time,
            yaw_damping=0.15 * time,
            lateral_tolerance=0.3 * car.wheelbase,
            course_tolerance=0.1,
            steering_tolerance=0.2,
            horizon=3.3 * time,
            speed=0.6 / time,
            speed_integral=0.1 / time**2,
        )


@dataclass(frozen=True)
class Seen:
    """What a controller reads in observations of N cars; [N] unless said."""

    lateral_error: np.ndarray
    heading_error: np.ndarray
    speed_error: np.ndarray
    forward: np.ndarray
    left: np.ndarray
    yaw_rate: np.ndarray
    curvature: np.ndarray
    """[N, K] 1/m, at the preview's places."""
    reference_speed: np.ndarray
    """[N, K] m/s, likewise."""
    dt: np.ndarray
    """s, what the last control step took."""


class Reader:
    """Finds the named channels in an environment's observation.

    Raises:
        ValueError: one is missing.
    """

    def __init__(self, env: CarEnv) -> None:
        shown = [name for name in env.observation_names if name.startswith("curvature_")]
        own = ("lateral_error", "heading_error", "speed_error", "forward_velocity", "lateral_velocity", "yaw_rate")
        self._own = find_channels(env, own)
        self._curvature = find_channels(env, shown or ["curvature_0m"])
        self._speed = find_channels(env, [name.replace("curvature", "reference_speed") for name in shown])
        self._dt = env.dt
        self._clock = find_channels(env, ["step_duration"]) if env.clock is not None else None
        self.ahead = np.array([float(name.removeprefix("curvature_").removesuffix("m")) for name in shown])
        """[K] how far ahead the preview's places are, m."""

    def read(self, rows: np.ndarray) -> Seen:
        """What there is in observations [N, O], float64."""
        lateral_error, heading_error, speed_error, forward, left, yaw_rate = rows[:, self._own].T
        return Seen(
            lateral_error=lateral_error,
            heading_error=heading_error,
            speed_error=speed_error,
            forward=forward,
            left=left,
            yaw_rate=yaw_rate,
            curvature=rows[:, self._curvature],
            reference_speed=rows[:, self._speed],
            dt=np.full(len(rows), self._dt) if self._clock is None else rows[:, self._clock[0]],
        )


@dataclass(frozen=True)
class SteadyTurn:
    """A steady turn of the centre of mass, for any shape of curvatures and speeds."""

    steering: np.ndarray
    """δ, rad."""
    sideslip: np.ndarray
    """β, rad: direction of travel less heading."""
    front_stiffness: np.ndarray
    """Lateral force of both front tyres per further slip angle, N/rad."""
    rear_stiffness: np.ndarray

    @staticmethod
    def of(car: Car, curvature: np.ndarray, speed: np.ndarray) -> SteadyTurn:
        lateral = speed**2 * curvature
        front, front_stiffness = _axle(
            lateral, car.mass * car.rear_axle / car.wheelbase, car.friction_front, car.stiffness_front, car.tyre_shape
        )
        rear, rear_stiffness = _axle(
            lateral, car.mass * car.front_axle / car.wheelbase, car.friction_rear, car.stiffness_rear, car.tyre_shape
        )
        return SteadyTurn(
            steering=car.wheelbase * curvature + front - rear,
            sideslip=car.rear_axle * curvature - rear,
            front_stiffness=front_stiffness,
            rear_stiffness=rear_stiffness,
        )


def _axle(
    lateral: np.ndarray, mass: float, friction: float, stiffness: float, shape: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slip angle at which an axle that bears `mass` accelerates it by `lateral`, rad, and its force per further slip, N/rad."""
    used = np.clip(lateral / (friction * GRAVITY), -GRIP, GRIP)
    deflected = np.arcsin(used) / shape
    slope = shape * stiffness * np.sqrt(1 - used**2) * np.cos(deflected) ** 2
    return np.tan(deflected) / stiffness, mass * GRAVITY * friction * slope


class TrackingController(ReferenceController[Seen]):
    """What the two controllers share: reading, the speed loop, the servo's model, the action.

    The front wheels are never turned further off their way than to the slip angle of the largest force.

    Args:
        env: the environment whose observations are read and whose actions are made: a `CarEnv` that shows the road's
            curvature and speed ahead, or its Gymnasium or vectorised face.
        gains: None takes `Gains.of` the vehicle.

    Raises:
        ValueError: the environment is none of cars, or its observation lacks a channel.
    """

    def __init__(self, env: Any, gains: Gains | None = None) -> None:
        cars = batch_of(env, CarEnv)  # type: ignore[type-abstract]
        self.vehicle, self.dt = cars.vehicle, cars.dt
        self.gains = gains or Gains.of(self.vehicle)
        self._slow = 0.1 * np.sqrt(GRAVITY * self.vehicle.wheelbase)
        self._most_slip = np.tan(np.pi / (2 * self.vehicle.tyre_shape)) / self.vehicle.stiffness_front
        self._reader = self._look(cars)

    def _look(self, cars: CarEnv) -> Reader:
        """Where the controller reads what it goes by."""
        return Reader(cars)

    def _read(self, rows: np.ndarray) -> Seen:
        return self._reader.read(rows)

    def _start(self, seen: Seen) -> State:
        """Integral of the speed error, m, and the angle of the front wheels as the nominal servo has it, rad; [N] each."""
        return np.zeros_like(seen.forward), SteadyTurn.of(self.vehicle, seen.curvature[:, 0], seen.forward).steering

    def _act(self, seen: Seen, state: State) -> tuple[np.ndarray, State]:
        integral, steering = state
        drive, integral = self._speed_loop(seen, integral)
        car = self.vehicle
        rolling = np.arctan2(seen.left + car.front_axle * seen.yaw_rate, np.maximum(seen.forward, self._slow))
        wanted = np.clip(self._steer(seen, steering), rolling - self._most_slip, rolling + self._most_slip)
        wanted = np.clip(wanted, -car.steering_range, car.steering_range)
        change = (wanted - steering) * (1 - np.exp(-self.dt / car.steering_lag))
        most = car.steering_rate * self.dt
        steering = steering + np.clip(change, -most, most)
        return np.stack([wanted / car.steering_range, drive], axis=1), (integral, steering)

    @abstractmethod
    def _steer(self, seen: Seen, steering: np.ndarray) -> np.ndarray:
        """The front wheels' angle to ask for, rad [N], where they stand at `steering` [N] now."""

    def _speed_loop(self, seen: Seen, integral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The drive's action [N] and the next integral of the speed error, m [N]; it stands while the action is at its bounds."""
        car = self.vehicle
        speed, curvature = np.maximum(seen.forward, 0.0), self._at(seen.curvature, 0.5 * self.dt * seen.forward)
        grown = integral + seen.dt * seen.speed_error
        asked = self._wanted_acceleration(seen, grown)
        lateral = np.minimum(speed**2 * np.abs(curvature), GRIP * car.friction_rear * GRAVITY)
        left_over = np.sqrt((car.friction_rear * GRAVITY) ** 2 - lateral**2)
        turn = SteadyTurn.of(car, curvature, speed)
        bend = speed**2 * curvature * (turn.steering * car.rear_axle / car.wheelbase - turn.sideslip)
        wheels = 4 * car.wheel_inertia / car.wheel_radius**2
        force = (car.mass + wheels) * np.clip(asked, -left_over, left_over) + car.mass * bend
        force += car.drag[0] * speed**2 + car.rolling_resistance * car.weight
        most = np.minimum(car.max_drive_force, car.max_power / np.maximum(speed, 1e-3))
        drive = np.where(force > 0, force / most, force / car.max_brake_force)
        bounded = np.clip(drive, -1.0, 1.0)
        return bounded, np.where((drive == bounded) & (np.abs(asked) < left_over), grown, integral)

    def _wanted_acceleration(self, seen: Seen, integral: np.ndarray) -> np.ndarray:
        """[N] m/s², the integral of the speed error being `integral` [N] m."""
        gains = self.gains
        return self._reference_acceleration(seen) - gains.speed * seen.speed_error - gains.speed_integral * integral

    def _reference_acceleration(self, seen: Seen) -> np.ndarray:
        """v dv/ds [N] of the reference, m/s², the mean from here to where the car is in three control steps."""
        here = seen.reference_speed[:, 0]
        ahead = np.maximum(3 * self.dt * seen.forward, self._reader.ahead[1])
        return (self._at(seen.reference_speed, ahead) ** 2 - here**2) / (2 * ahead)

    def _at(self, preview: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """The preview's values [N, K] at other places, [N] or [N, M] m ahead: between its places linear, beyond the last."""
        shown = self._reader.ahead
        places = np.clip(ahead, shown[0], shown[-1])
        after = np.clip(np.searchsorted(shown, places, side="right"), 1, len(shown) - 1)
        share = (places - shown[after - 1]) / (shown[after] - shown[after - 1])
        rows = np.arange(len(preview)).reshape(-1, *[1] * (np.ndim(ahead) - 1))
        return (1 - share) * preview[rows, after - 1] + share * preview[rows, after]


class StanleyController(TrackingController):
    """Stanley's steering (Hoffmann, Tomlin, Montemerlo and Thrun 2007; Thrun et al. 2006), about the steady turn.

        δ = δ_ss(κ, v) - (ψ + β_ss) - atan(k e_f / v) - k_d (r - v κ),    e_f = e + l_f sin(ψ + β_ss)

    κ is the road's where the car is when the servo has followed. As in the paper the error is the front axle's, and the
    heading in the steady turn is no error. Unlike there the steady turn is the one that has the centre of mass on the line,
    not the front axle, and its steering is fed forward.
    """

    def _steer(self, seen: Seen, steering: np.ndarray) -> np.ndarray:
        car, gains = self.vehicle, self.gains
        speed = np.maximum(seen.forward, self._slow)
        curvature = self._at(seen.curvature, (car.steering_lag + 0.5 * self.dt) * speed)
        turn = SteadyTurn.of(car, curvature, speed)
        heading = seen.heading_error + turn.sideslip
        front = seen.lateral_error + car.front_axle * np.sin(heading)
        damping = gains.yaw_damping * (seen.yaw_rate - speed * seen.curvature[:, 0])
        return turn.steering - heading - np.arctan(gains.convergence * front / speed) - damping


class PreviewController(TrackingController):
    """A linear time-varying quadratic regulator along the preview: Falcone et al. 2007 without constraints.

    The dynamic bicycle model in road coordinates (Rajamani 2012, chapter 2), x = [lateral error, heading error, lateral
    velocity, yaw rate, steering], is linearised about the steady turns x̄_k that the preview shows at the times k h to come,
    at the speed there. With z = x - x̄ and w the steering asked for less that of the steady turn,

        z_(k+1) = A_k z_k + B_k w_k + x̄_k - x̄_(k+1),    minimise Σ (e / e₀)² + (ψ + v_y / v)² / c₀² + (w / w₀)²,

    by Riccati's recursion backwards along the horizon; the first steering is sent. A, B are the matrix exponentials over h.
    """

    def _steer(self, seen: Seen, steering: np.ndarray) -> np.ndarray:
        car, gains = self.vehicle, self.gains
        least, step = 0.5 * np.sqrt(GRAVITY * car.wheelbase), gains.horizon / _STEPS
        # The reference's changes of speed are driven, its present error is kept.
        ahead = step * np.arange(_STEPS) * np.maximum(seen.forward, least)[:, None]
        speed = self._at(seen.reference_speed, ahead) + seen.speed_error[:, None]
        speed = np.maximum(speed, least)
        curvature = self._at(seen.curvature, ahead)
        turn = SteadyTurn.of(car, curvature, speed)
        steady = np.stack(
            [np.zeros_like(speed), -turn.sideslip, speed * turn.sideslip, speed * curvature, turn.steering], axis=2
        )
        state = np.stack([seen.lateral_error, seen.heading_error, seen.left, seen.yaw_rate, steering], axis=1)
        tolerances = np.array([gains.lateral_tolerance, gains.course_tolerance, gains.steering_tolerance])
        figures = np.array([car.mass, car.yaw_inertia, car.front_axle, car.rear_axle, car.steering_lag])
        wanted = np.empty(len(speed))
        _regulate(
            state, steady, speed, turn.front_stiffness, turn.rear_stiffness, figures, step, tolerances**-2.0, wanted
        )
        return wanted


@njit(cache=True)
def _regulate(
    state: np.ndarray,
    steady: np.ndarray,
    speed: np.ndarray,
    front_stiffness: np.ndarray,
    rear_stiffness: np.ndarray,
    car: np.ndarray,
    step: float,
    weights: np.ndarray,
    wanted: np.ndarray,
) -> None:
    """The first steering of each row's optimal sequence, `wanted` [N] rad; see `PreviewController`.

    Args:
        state: [N, 5] x now.
        steady: [N, M, 5] x̄.
        speed: [N, M] m/s.
        front_stiffness: [N, M] N/rad.
        rear_stiffness: [N, M] N/rad.
        car: [5] mass, yaw inertia, front and rear axle, steering lag.
        step: h, s.
        weights: [3] of lateral error, course error and steering.
    """
    size, last = _STATES + 1, speed.shape[1] - 1
    # Of [z, 1], in which the cost to go has one quadratic form, and of [z, 1, w], which the motion maps to the next [z, 1].
    cost, motion = np.zeros((size, size)), np.zeros((size, size + 1))
    half, value = np.zeros((size, size + 1)), np.zeros((size + 1, size + 1))
    motion[size - 1, size - 1] = 1.0
    for n in range(state.shape[0]):
        _stage_cost(weights, speed[n, last], cost)
        for k in range(last, -1, -1):
            _discretise(car, speed[n, k], front_stiffness[n, k], rear_stiffness[n, k], step, motion)
            for i in range(_STATES):
                motion[i, _STATES] = steady[n, k, i] - steady[n, k + 1, i] if k < last else 0.0
            _multiply(cost, motion, 1.0, half)
            _multiply(motion.T, half, 1.0, value)
            curvature = value[size, size] + weights[2]
            _stage_cost(weights, speed[n, k], cost)
            for i in range(size):
                for j in range(size):
                    cost[i, j] += value[i, j] - value[i, size] * value[size, j] / curvature
        wanted[n] = steady[n, 0, _STATES - 1] - value[size, _STATES] / curvature
        for i in range(_STATES):
            wanted[n] -= value[size, i] * (state[n, i] - steady[n, 0, i]) / curvature


@njit(cache=True)
def _stage_cost(weights: np.ndarray, speed: float, out: np.ndarray) -> None:
    """[6, 6] the quadratic form in [z, 1] of lateral error and course error, heading error + lateral velocity / speed."""
    out[:] = 0.0
    out[0, 0] = weights[0]
    out[1, 1] = weights[1]
    out[1, 2] = out[2, 1] = weights[1] / speed
    out[2, 2] = weights[1] / speed**2


@njit(cache=True)
def _discretise(
    car: np.ndarray, speed: float, front_stiffness: float, rear_stiffness: float, step: float, out: np.ndarray
) -> None:
    """A into the first five columns of `out` [6, 7] and B into its last, over `step`.

    They are parts of exp([[A_c, B_c], [0, 0]] step), found by Taylor's series of an eighth of it, squared thrice.
    """
    mass, inertia, front, rear, lag = car
    rate = np.zeros((_STATES + 1, _STATES + 1))
    rate[0, 1], rate[0, 2], rate[1, 3] = speed, 1.0, 1.0
    rate[2, 2] = -(front_stiffness + rear_stiffness) / (mass * speed)
    rate[2, 3] = -(front_stiffness * front - rear_stiffness * rear) / (mass * speed) - speed
    rate[2, 4] = front_stiffness / mass
    rate[3, 2] = -(front_stiffness * front - rear_stiffness * rear) / (inertia * speed)
    rate[3, 3] = -(front_stiffness * front**2 + rear_stiffness * rear**2) / (inertia * speed)
    rate[3, 4] = front_stiffness * front / inertia
    rate[4, 4], rate[4, 5] = -1.0 / lag, 1.0 / lag
    size, halvings = _STATES + 1, 3
    whole, term, product = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for i in range(size):
        whole[i, i] = term[i, i] = 1.0
    for order in range(1, 5):
        _multiply(term, rate, step / (order * 2**halvings), product)
        for i in range(size):
            for j in range(size):
                term[i, j] = product[i, j]
                whole[i, j] += term[i, j]
    for _ in range(halvings):
        _multiply(whole, whole, 1.0, product)
        whole, product = product, whole
    for i in range(_STATES):
        out[i, size] = whole[i, _STATES]
        for j in range(_STATES):
            out[i, j] = whole[i, j]


@njit(cache=True)
def _multiply(a: np.ndarray, b: np.ndarray, scale: float, out: np.ndarray) -> None:
    """scale a b, without BLAS, whose sums depend on the machine."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(b.shape[0]):
                total += a[i, k] * b[k, j]
            out[i, j] = scale * total
