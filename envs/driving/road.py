"""Roads: a centreline in steps of equal length, with its width, its grip and the speed at which it is to be driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba import njit

X, Y, HEADING, CURVATURE, SPEED, HALF_WIDTH, FRICTION = range(7)
"""Columns of `Roads.table`."""

_STRAIGHT = 1e-9  # 1/m


class Limits(NamedTuple):
    """What a speed profile asks of a car at most."""

    lateral: float
    """m/s²"""
    drive: float
    """m/s²"""
    brake: float
    """m/s², positive"""
    top: float
    """m/s"""


@dataclass(frozen=True, eq=False)
class Road:
    """A centreline of P points, `spacing` apart along it.

    A closed road goes on from its last point to its first; its lap is P `spacing` long, an open road (P - 1) `spacing`.

    Raises:
        ValueError: an array has the wrong shape or a value out of its range; the message names it.
    """

    position: np.ndarray
    """[P, 2] m, world."""
    heading: np.ndarray
    """[P] rad, the direction of the centreline about world z; continuous, so over a lap it changes by ±2π."""
    curvature: np.ndarray
    """[P] 1/m, positive where the road bends left."""
    half_width: np.ndarray
    """[P] m, from the centreline to either border."""
    friction: np.ndarray
    """[P] the road's factor of the tyres' friction; 1 is dry."""
    speed: np.ndarray
    """[P] m/s, at which the road is to be driven; infinite where nothing bounds it yet."""
    spacing: float
    """m"""
    closed: bool

    def __post_init__(self) -> None:
        points = len(self.position)
        if points < 4 or not (np.isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(
                f"a road of {points} points, {self.spacing} m apart: give at least 4, more than 0 m apart."
            )
        for name in ("position", "heading", "curvature", "half_width", "friction", "speed"):
            array = np.array(getattr(self, name), dtype=np.float64)
            shape = (points, 2) if name == "position" else (points,)
            if array.shape != shape:
                raise ValueError(f"the road's {name} has shape {array.shape}, not {shape}.")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        centreline = np.stack([*self.position.T, self.heading, self.curvature])
        if not np.isfinite(centreline).all():
            raise ValueError(
                f"the road's centreline is not finite at point {int(np.argmin(np.isfinite(centreline).all(0)))}."
            )
        for name in ("half_width", "friction", "speed"):
            if not (positive := getattr(self, name) > 0).all():
                worst = int(np.argmin(positive))
                raise ValueError(
                    f"the road's {name} is {getattr(self, name)[worst]} at point {worst}: it must be above 0."
                )

    @property
    def length(self) -> float:
        """Of a lap, or from the first point to the last, m."""
        return (len(self.position) - (not self.closed)) * self.spacing

    @property
    def station(self) -> np.ndarray:
        """[P] m along the centreline, from 0 on."""
        return np.arange(len(self.position)) * self.spacing

    def driven_within(self, limits: Limits) -> Road:
        """This road with its speed lowered to what `speed_profile` allows."""
        return replace(self, speed=speed_profile(self.curvature, self.spacing, self.closed, limits, self.speed))

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `Road.from_dict` builds an equal road."""
        arrays = ("position", "heading", "curvature", "half_width", "friction", "speed")
        return {
            **{name: getattr(self, name).tolist() for name in arrays},
            "spacing": self.spacing,
            "closed": self.closed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Road:
        """The road whose `to_dict` that is."""
        return cls(**values)


class Roads:
    """Several roads of one kind (all closed or all open) and one number of points, for compiled code.

    `table` [R, P, 7] holds the columns X, Y, HEADING, CURVATURE, SPEED, HALF_WIDTH and FRICTION; `spacing` is [R] m.
    `roads[k] = road` puts a road in place k.

    Raises:
        ValueError: a road is of another kind or another number of points.
    """

    def __init__(self, roads: Sequence[Road]) -> None:
        self.closed = roads[0].closed
        self.table = np.zeros((len(roads), len(roads[0].position), 7))
        self.spacing = np.zeros(len(roads))
        for k, road in enumerate(roads):
            self[k] = road

    def __len__(self) -> int:
        return len(self.table)

    @property
    def length(self) -> np.ndarray:
        """[R] m, as `Road.length`."""
        return (self.table.shape[1] - (not self.closed)) * self.spacing

    def __setitem__(self, index: int, road: Road) -> None:
        points = self.table.shape[1]
        if len(road.position) != points or road.closed != self.closed:
            kinds = {True: "closed", False: "open"}
            raise ValueError(
                f"a road of {len(road.position)} points, {kinds[road.closed]}, among roads of {points}, "
                f"{kinds[self.closed]}: roads of one batch are all closed or all open, with as many points each."
            )
        columns = (road.heading, road.curvature, road.speed, road.half_width, road.friction)
        self.table[index] = np.column_stack([road.position, *columns])
        self.spacing[index] = road.spacing

    def __getitem__(self, index: int) -> Road:
        x, y, heading, curvature, speed, half_width, friction = self.table[index].T
        position = np.stack([x, y], axis=1)
        spacing = float(self.spacing[index])
        return Road(position, heading, curvature, half_width, friction, speed, spacing, self.closed)


@njit(cache=True)
def value_at(table: np.ndarray, spacing: np.ndarray, closed: bool, road: int, station: float, column: int) -> float:
    """A column of road `road` at `station` m, between its points linear; beyond the ends of an open road, that of the end.

    Not for HEADING on a closed road, which jumps by a turn where the lap ends: see `pose_at`.
    """
    points = table.shape[1]
    place = station / spacing[road]
    if closed:
        place %= points
        if place == points:  # the remainder of a place just below 0, rounded
            place = 0.0
        before = int(place)
        after = (before + 1) % points
    else:
        place = min(max(place, 0.0), points - 1.0)
        before = min(int(place), points - 2)
        after = before + 1
    share = place - before
    return (1.0 - share) * table[road, before, column] + share * table[road, after, column]


@njit(cache=True)
def pose_at(
    table: np.ndarray, spacing: np.ndarray, closed: bool, road: int, station: float, lateral: float
) -> tuple[float, float, float]:
    """x m, y m and heading rad of the place `lateral` m left of the centreline at `station` m: `project`'s inverse."""
    points = table.shape[1]
    nearest = int(np.floor(station / spacing[road] + 0.5))
    if not closed:
        nearest = min(max(nearest, 0), points - 1)
    point = table[road, nearest % points]
    along, curvature = station - nearest * spacing[road], point[CURVATURE]
    angle = curvature * along
    if abs(curvature) > _STRAIGHT:
        ahead, left = np.sin(angle) / curvature, 2.0 * np.sin(0.5 * angle) ** 2 / curvature
    else:
        ahead, left = along, 0.0
    ahead -= lateral * np.sin(angle)
    left += lateral * np.cos(angle)
    cosine, sine = np.cos(point[HEADING]), np.sin(point[HEADING])
    x = point[X] + cosine * ahead - sine * left
    y = point[Y] + sine * ahead + cosine * left
    return x, y, point[HEADING] + angle


@njit(cache=True)
def _squared_distance(point: np.ndarray, x: float, y: float) -> float:
    return (point[X] - x) ** 2 + (point[Y] - y) ** 2


@njit(cache=True)
def _nearest_point(road: np.ndarray, closed: bool, hint: int, x: float, y: float) -> int:
    """Index of the point nearest to (x, y): downhill from `hint`; of all points where `hint` is negative."""
    points = road.shape[0]
    if hint < 0:
        best = 0
        for i in range(1, points):
            if _squared_distance(road[i], x, y) < _squared_distance(road[best], x, y):
                best = i
        return best
    best, least = hint, _squared_distance(road[hint], x, y)
    for way in (1, -1):
        while True:
            onward = best + way
            if closed:
                onward %= points
            elif not 0 <= onward < points:
                break
            distance = _squared_distance(road[onward], x, y)
            if not distance < least:
                break
            best, least = onward, distance
    return best


@njit(cache=True)
def project(
    ids: np.ndarray,
    table: np.ndarray,
    spacing: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    qpos: np.ndarray,
    nearest: np.ndarray,
    station: np.ndarray,
    lateral_error: np.ndarray,
    heading_error: np.ndarray,
) -> None:
    """Where the poses of the simulations `ids` are on their roads: writes their rows of the last four arguments.

    The centreline around its nearest point is taken as the circle of that point's heading and curvature, so that the
    figures do not depend on which of two points is nearer; exact on circles and straights.

    Args:
        ids: [n].
        table, spacing, closed: of `Roads`.
        road_index: [N] each simulation's road.
        qpos: [N, 3] x m, y m, yaw rad.
        nearest: [N] index of the nearest point at the last call, from which the search walks on; negative: all points.
        station: [N] m along the centreline, 0 to the lap's length on a closed road.
        lateral_error: [N] m, positive left of the centreline.
        heading_error: [N] rad, yaw less the centreline's heading at `station`, within ±π.
    """
    for n in ids:
        road = table[road_index[n]]
        i = _nearest_point(road, closed, nearest[n], qpos[n, 0], qpos[n, 1])
        nearest[n] = i
        cosine, sine, curvature = np.cos(road[i, HEADING]), np.sin(road[i, HEADING]), road[i, CURVATURE]
        east, north = qpos[n, 0] - road[i, X], qpos[n, 1] - road[i, Y]
        ahead, left = cosine * east + sine * north, cosine * north - sine * east
        # The circle's centre is 1 / curvature to the left. Written so that a straight is no exception.
        across, towards = curvature * ahead, 1.0 - curvature * left
        lateral = 2.0 * left - curvature * (ahead * ahead + left * left)
        lateral_error[n] = lateral / (1.0 + np.sqrt(across * across + towards * towards))
        angle = np.arctan2(across, towards)
        place = i * spacing[road_index[n]] + (angle / curvature if abs(curvature) > _STRAIGHT else ahead)
        station[n] = place % (road.shape[0] * spacing[road_index[n]]) if closed else place
        turned = qpos[n, 2] - road[i, HEADING] - angle
        heading_error[n] = turned - 2.0 * np.pi * np.floor(turned / (2.0 * np.pi) + 0.5)


@njit(cache=True)
def preview(
    ids: np.ndarray,
    table: np.ndarray,
    spacing: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    station: np.ndarray,
    ahead: np.ndarray,
    column: int,
    out: np.ndarray,
) -> None:
    """A column of the roads of `ids` [n], `ahead` [K] m on from `station` [N]; writes `out` [n, K]."""
    for row in range(ids.shape[0]):
        n = ids[row]
        for k in range(ahead.shape[0]):
            out[row, k] = value_at(table, spacing, closed, road_index[n], station[n] + ahead[k], column)


def speed_profile(
    curvature: np.ndarray,
    spacing: float,
    closed: bool,
    limits: Limits,
    most: np.ndarray | float = np.inf,
) -> np.ndarray:
    """The fastest speed [P] m/s along a centreline that keeps within the friction ellipse.

    At every point v² |κ| <= lateral, and from each point to the next the longitudinal acceleration a keeps
    (v² κ / lateral)² + (a / drive)² <= 1, with `brake` in place of `drive` where a < 0: a forward pass bounds how the
    speed rises, a backward pass how it falls (Kapania, Subosits and Gerdes 2016).

    The limits are the profile's, not the car's: for a share σ of the friction limit pass lateral = σ μ g.

    Args:
        curvature: [P] 1/m.
        spacing: m between points.
        closed: whether the last point is followed by the first.
        limits: what is asked of the car at most.
        most: [P] or one, m/s: not faster than that.
    """
    bound = np.sqrt(limits.lateral / np.maximum(np.abs(curvature), _STRAIGHT))
    speed = np.minimum(np.minimum(bound, limits.top), most)
    _bound_rise(speed, np.abs(curvature), spacing, closed, limits.lateral, limits.drive)
    _bound_rise(speed[::-1], np.abs(curvature[::-1]), spacing, closed, limits.lateral, limits.brake)
    return speed


@njit(cache=True)
def _bound_rise(
    speed: np.ndarray, bend: np.ndarray, spacing: float, closed: bool, lateral: float, longitudinal: float
) -> None:
    """Lower `speed` in place until it rises from point to point no faster than the friction ellipse allows."""
    points = speed.shape[0]
    for step in range(1, 2 * points if closed else points):  # the second lap begins at the speed the first ended with
        before, here = (step - 1) % points, step % points
        squared = speed[before] ** 2
        used = min(squared * max(bend[before], bend[here]) / lateral, 1.0)
        rise = longitudinal * np.sqrt(1.0 - used * used)
        speed[here] = min(speed[here], np.sqrt(squared + 2.0 * rise * spacing))
