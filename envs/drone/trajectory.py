"""What DroneTrack follows: sums of sinusoids (random, figure-eight, spiral), or a spline through a user's waypoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline

from .vehicle import GRAVITY, ROTORS, Vehicle

MAX_SPEED = 4.0
"""No random trajectory is faster, m/s."""
MAX_ACCELERATION = 6.0
"""No random trajectory accelerates harder, m/s²."""
TERMS = 3
"""Sinusoids per axis."""
_LOWEST_POINT = 1.0
_MINIMUM_ALTITUDE = 3.0
_SLOWEST = 0.25  # rad/s, of figure-eight and spiral


@dataclass(frozen=True, kw_only=True)
class Waypoints:
    """A path through points, flown at about one speed.

    A cubic spline through the points, whose parameter is the time that straight flight at `speed` would take; a closed
    path comes back to its first point and goes round again, an open one begins and ends at rest, and stays there.

    Args:
        points: at least two, [x, y, z] in m, world frame, each unlike the one before it.
        speed: m/s, above 0.
        closed: whether the path goes round.

    Raises:
        ValueError: a field is out of range.
    """

    points: tuple[tuple[float, ...], ...]
    speed: float = 1.5
    closed: bool = True

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=float)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2 or not np.isfinite(points).all():
            raise ValueError(f"waypoints are {self.points!r}: give at least two points [x, y, z] in m.")
        if not (np.isfinite(self.speed) and self.speed > 0):
            raise ValueError(f"the speed of the waypoints is {self.speed}: give m/s above 0.")
        object.__setattr__(self, "points", tuple(map(tuple, points.tolist())))
        if (self._legs == 0).any():
            raise ValueError(f"waypoint {int(np.argmin(self._legs)) + 1} repeats the one before it: leave it out.")

    @property
    def _path(self) -> np.ndarray:
        points = np.array(self.points)
        return np.concatenate([points, points[:1]]) if self.closed else points

    @property
    def _legs(self) -> np.ndarray:
        return np.linalg.norm(np.diff(self._path, axis=0), axis=1)

    def spline(self) -> CubicSpline:
        """Position, m, over time, s, from 0 to the end of the path."""
        times = np.concatenate([[0.0], np.cumsum(self._legs / self.speed)])
        return CubicSpline(times, self._path, bc_type="periodic" if self.closed else "clamped")


NAMED = ("random", "figure_eight", "spiral")


class Trajectory(ABC):
    """The references of a batch: one for each simulation, drawn when its episode begins."""

    @abstractmethod
    def start(self, index: int, rng: np.random.Generator) -> None:
        """Draw simulation `index`'s reference."""

    @abstractmethod
    def reference(self, ids: np.ndarray, time: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the references of `ids` [n] are at `time` [n] s, and `ahead` [K] s later.

        Returns:
            position [n, 1 + K, 3] m, and velocity at `time` [n, 3] m/s.
        """


class Spline(Trajectory):
    """The same waypoints for every simulation."""

    def __init__(self, waypoints: Waypoints) -> None:
        self.closed = waypoints.closed
        self._position = waypoints.spline()
        self._velocity = self._position.derivative()
        self.duration = float(self._position.x[-1])

    def start(self, index: int, rng: np.random.Generator) -> None:
        """Nothing is drawn."""

    def reference(self, ids: np.ndarray, time: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        times = time[:, None] + np.concatenate([[0.0], ahead])
        return self._position(self._on_path(times)), self._velocity(self._on_path(time))

    def _on_path(self, time: np.ndarray) -> np.ndarray:
        return time % self.duration if self.closed else np.minimum(time, self.duration)


class Sinusoids(Trajectory):
    """Sums of sinusoids in each axis, by name; the random ones differ between simulations."""

    def __init__(self, num_envs: int, name: str) -> None:
        self._draw = {"random": draw_trajectory, "figure_eight": _figure_eight, "spiral": _spiral}[name]
        self._coefficients = np.zeros((num_envs, 3, 3 * TERMS + 1))
        self.duration = 2 * np.pi / _SLOWEST

    def start(self, index: int, rng: np.random.Generator) -> None:
        self._coefficients[index] = self._draw(rng)

    def reference(self, ids: np.ndarray, time: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points, speed = np.empty((len(ids), 1 + len(ahead), 3)), np.empty((len(ids), 3))
        _sinusoids(ids, self._coefficients, time, ahead, points, speed)
        return points, speed


def make_trajectory(trajectory: str | Waypoints | Mapping[str, Any], num_envs: int, vehicle: Vehicle) -> Trajectory:
    """What a batch of `num_envs` simulations follows.

    Args:
        trajectory: one of NAMED, `Waypoints`, or a mapping of its fields.
        num_envs: simulations.
        vehicle: the one that is to fly it.

    Raises:
        ValueError: the name is unknown, or the path asks for more than the vehicle can give.
    """
    if isinstance(trajectory, Mapping):
        known = [f.name for f in fields(Waypoints)]
        if unknown := sorted(set(trajectory) - set(known)):
            raise ValueError(f"waypoints have no {unknown[0]!r}; they have: {', '.join(known)}.")
        trajectory = Waypoints(**trajectory)
    if isinstance(trajectory, Waypoints):
        made: Spline | Sinusoids = Spline(trajectory)
    elif trajectory in NAMED:
        made = Sinusoids(num_envs, trajectory)
    else:
        raise ValueError(f"unknown trajectory {trajectory!r}: give one of {', '.join(NAMED)}, or waypoints.")
    # A random trajectory is drawn anew in every episode, within bounds of its own.
    if trajectory != "random":
        _check_flyable(made, made.duration, vehicle)
    return made


def _check_flyable(trajectory: Trajectory, duration: float, vehicle: Vehicle) -> None:
    """Raise the ValueError that says why the vehicle cannot fly this."""
    trajectory.start(0, np.random.default_rng(0))
    time = np.linspace(0.0, duration, 2000)
    position, velocity = trajectory.reference(np.zeros(len(time), dtype=int), time, np.zeros(0))
    speed = np.linalg.norm(velocity, axis=1)
    force = vehicle.mass * (np.gradient(velocity, time, axis=0) + [0.0, 0.0, GRAVITY])
    force += (vehicle.linear_drag + vehicle.quadratic_drag * speed)[:, None] * velocity
    needed, given = np.linalg.norm(force, axis=1).max(), ROTORS * vehicle.max_rotor_thrust
    if needed > given:
        raise ValueError(
            f"{vehicle.name} cannot fly this trajectory: at {speed.max():.1f} m/s it takes a thrust of {needed:.3g} N, "
            f"and its rotors give {given:.3g} N. Lower the speed, or place the waypoints less tightly."
        )
    if (lowest := position[:, 0, 2].min()) < vehicle.radius:
        raise ValueError(
            f"the trajectory comes down to {lowest:.2f} m; {vehicle.name} needs {vehicle.radius:.2f} m of air."
        )


def draw_trajectory(rng: np.random.Generator) -> np.ndarray:
    """A trajectory's coefficients, [3, 3 * TERMS + 1]: per axis amplitudes m, angular frequencies rad/s, phases, offset m.

    Frequencies are uniform in 0.4 to 2.2 rad/s. The bound on acceleration is drawn uniformly from 10 to 100 % of
    MAX_ACCELERATION, so gentle and hard trajectories are equally frequent; speed is bounded by MAX_SPEED. Both bounds
    hold for the sum of the amplitudes, so that they hold at every time. The lowest point is 1 m above the ground.
    """
    frequency = rng.uniform(0.4, 2.2, (3, TERMS))
    phase = rng.uniform(0.0, 2 * np.pi, (3, TERMS))
    amplitude = rng.uniform(-1.0, 1.0, (3, TERMS)) / frequency**1.3
    amplitude[2] *= 0.5
    peak_speed = np.linalg.norm((np.abs(amplitude) * frequency).sum(1))
    peak_acceleration = np.linalg.norm((np.abs(amplitude) * frequency**2).sum(1))
    amplitude *= min(rng.uniform(0.1, 1.0) * MAX_ACCELERATION / peak_acceleration, MAX_SPEED / peak_speed)
    offset = np.zeros((3, 1))
    offset[2] = max(_MINIMUM_ALTITUDE, _LOWEST_POINT + np.abs(amplitude[2]).sum())
    return np.concatenate([amplitude, frequency, phase, offset], axis=1)


def _figure_eight(rng: np.random.Generator) -> np.ndarray:
    """A lemniscate 2.5 m wide along x and 1.5 m tall, once in 6.28 s, as Neural-Fly's (O'Connell et al. 2022):

    x = 1.25 sin(t), z = 2 + 0.75 sin(2 t); at most 1.95 m/s and 3.2 m/s².
    """
    return _coefficients([[(1.25, 1.0, 0.0)], [], [(0.75, 2.0, 0.0)]], [0.0, 0.0, 2.0])


def _spiral(rng: np.random.Generator) -> np.ndarray:
    """A helix that winds out and up, then in and down, in 25.1 s: with w = 1.25 rad/s and s = 0.25 rad/s,

    radius 1 - 0.6 cos(s t), angle w t, z = 2.5 - cos(s t); at most 2.1 m/s.
    """
    turn, slow, mean, swing = 1.25, _SLOWEST, 1.0, 0.3
    sine, cosine = 0.0, np.pi / 2
    around = [(mean, turn), (-swing, turn + slow), (-swing, turn - slow)]
    x, y = ([(*term, phase) for term in around] for phase in (cosine, sine))
    return _coefficients([x, y, [(-1.0, slow, cosine)]], [0.0, 0.0, 2.5])


def _coefficients(terms: Sequence[Sequence[tuple[float, float, float]]], offset: Sequence[float]) -> np.ndarray:
    """[3, 3 * TERMS + 1] from (amplitude m, angular frequency rad/s, phase) of each axis' sinusoids."""
    out = np.zeros((3, 3 * TERMS + 1))
    out[:, 3 * TERMS] = offset
    for axis, own in enumerate(terms):
        for k, term in enumerate(own):
            out[axis, k : 3 * TERMS : TERMS] = term
    return out


@njit(cache=True)
def position(coefficients: np.ndarray, time: float, axis: int) -> float:
    """Reference position along one axis, m."""
    value = coefficients[axis, 3 * TERMS]
    for k in range(TERMS):
        value += coefficients[axis, k] * np.sin(
            coefficients[axis, TERMS + k] * time + coefficients[axis, 2 * TERMS + k]
        )
    return value


@njit(cache=True)
def velocity(coefficients: np.ndarray, time: float, axis: int) -> float:
    """Reference velocity along one axis, m/s."""
    value = 0.0
    for k in range(TERMS):
        frequency = coefficients[axis, TERMS + k]
        value += coefficients[axis, k] * frequency * np.cos(frequency * time + coefficients[axis, 2 * TERMS + k])
    return value


@njit(cache=True)
def _sinusoids(
    ids: np.ndarray,
    coefficients: np.ndarray,
    time: np.ndarray,
    ahead: np.ndarray,
    points: np.ndarray,
    speed: np.ndarray,
) -> None:
    for row in range(ids.shape[0]):
        own = coefficients[ids[row]]
        for axis in range(3):
            points[row, 0, axis] = position(own, time[row], axis)
            speed[row, axis] = velocity(own, time[row], axis)
            for k in range(ahead.shape[0]):
                points[row, 1 + k, axis] = position(own, time[row] + ahead[k], axis)
