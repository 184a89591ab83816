"""Pilots: experts for the tasks that show no line to follow. They see the true state of the environment."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numba import njit

from ..reference import batch_of
from .base import CarEnv
from .controllers import Gains, PreviewController, Reader, Seen
from .crowd import LANE_WIDTH
from .follow import speed_limits
from .intelligent_driver import Driver, desired_acceleration
from .lidar import CarLidar
from .road import CURVATURE, HALF_WIDTH, HEADING, SPEED, Road, Roads, X, Y, preview, project
from .roads import through
from .traffic import SIGHT, CarTraffic

OWN_DRIVER = Driver(headway=0.3, jam_gap=2.0, acceleration=4.0, deceleration=4.0)
"""More agile than the others: who overtakes cannot keep their distances."""

Task = TypeVar("Task", bound=CarEnv)


class Sight(Reader, Generic[Task]):
    """What a pilot sees in place of the observation, of which only the number of rows counts: the true state.

    Args:
        env: the task.
        ahead: [K] how far ahead it looks, m.
    """

    def __init__(self, env: Task, ahead: np.ndarray) -> None:
        self._env, self.ahead = env, ahead

    def read(self, rows: np.ndarray) -> Seen:
        if len(rows) != self._env.num_envs:
            raise ValueError(
                f"{len(rows)} observations of {self._env.num_envs} simulations: a pilot drives all of its environment."
            )
        env = self._env
        lateral_error, heading_error, curvature, reference_speed = self._look_ahead(env)
        forward, left = env.body_velocity.T
        return Seen(
            lateral_error=lateral_error,
            heading_error=heading_error,
            speed_error=forward - reference_speed[:, 0],
            forward=forward,
            left=left,
            yaw_rate=env.qvel[:, 2],
            curvature=curvature,
            reference_speed=reference_speed,
            dt=env.step_duration,
        )

    @abstractmethod
    def _look_ahead(self, env: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Off the line that the pilot wants to drive: m [N] and rad [N]; its curvature 1/m and speed m/s ahead, [N, K] each."""


class LidarPilot(PreviewController):
    """Drives CarLidar's track around the obstacles, all of which it sees, along a line laid at the start of an episode.

    The line is the centreline moved sideways by

        d(s) = Σ_k w_k d_k / max(1, Σ_k w_k),   w_k = h((HOLD + RAMP - |s - s_k|) / RAMP),   h(x) = x³ (10 - 15 x + 6 x²)

    h held at 0 below 0 and at 1 above 1: s_k is where obstacle k stands, and d_k the middle between it and the border that
    is further from it. The speed is the profile of the line itself (`speed_profile`), times `pace` and `speed_scale`.

    Privileged: `predict` looks at the environment itself, so it answers for all its simulations, in their present state.

    Args:
        env: `CarLidar`, or its Gymnasium or vectorised face.
        share: of the friction limit, that the speed profile uses, above 0 and at most 1.
        gains: None takes `Gains.of` the vehicle.

    Raises:
        ValueError: another task, or a share out of range.
    """

    HOLD = 0.4
    """So far before and after an obstacle the line is at its side, m."""
    RAMP = 2.4
    """So long the line takes to get there, m."""
    KNOTS = 0.3
    """Distance of the points that the line is a spline through, m."""

    def __init__(self, env: Any, share: float = 0.62, gains: Gains | None = None) -> None:
        cars = batch_of(env, CarLidar)
        self.limits = speed_limits(cars.vehicle, share, cars.top_speed)
        super().__init__(cars, gains)

    def _look(self, cars: CarEnv) -> Reader:
        assert isinstance(cars, CarLidar)
        reach = self.gains.horizon * cars.top_speed
        return _LineAhead(cars, np.linspace(0.0, reach, 21), self)


class _LineAhead(Sight[CarLidar]):
    def __init__(self, env: CarLidar, ahead: np.ndarray, pilot: LidarPilot) -> None:
        super().__init__(env, ahead)
        self._pilot = pilot
        n = env.num_envs
        self._known = np.full((n, env.roads.table.shape[2] + env.boxes[0].size), np.nan)
        self.lines = Roads([env.roads[0]] * n)
        """The lines to drive."""
        self._nearest = np.full(n, -1)

    def _look_ahead(self, env: CarLidar) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        n = env.num_envs
        # A new episode is one whose road or obstacles are others.
        now = np.concatenate([env.roads.table[env.road_index, 0], env.boxes.reshape(n, -1)], axis=1)
        for i in np.flatnonzero((now != self._known).any(axis=1)).tolist():
            self.lines[i] = self._lay(env, i)
            self._known[i], self._nearest[i] = now[i], -1
        ids, lines = np.arange(n), (self.lines.table, self.lines.spacing, True, np.arange(n))
        station, lateral_error, heading_error = np.empty((3, n))
        project(ids, *lines, env.qpos, self._nearest, station, lateral_error, heading_error)
        curvature, speed = np.empty((2, n, len(self.ahead)))
        preview(ids, *lines, station, self.ahead, CURVATURE, curvature)
        preview(ids, *lines, station, self.ahead, SPEED, speed)
        return lateral_error, heading_error, curvature, speed * (env.pace * env.speed_scale)[:, None]

    def _lay(self, env: CarLidar, index: int) -> Road:
        """The line of simulation `index`, with as many points as its road."""
        road, boxes = int(env.road_index[index]), env.boxes[index]
        table, count = env.roads.table[road], len(boxes)
        at, aside, turned = np.empty((3, count))
        place = env.roads.table, env.roads.spacing, True, np.full(count, road)
        project(np.arange(count), *place, boxes[:, :3], np.full(count, -1), at, aside, turned)
        station = np.arange(len(table)) * env.roads.spacing[road]
        lap = env.roads.length[road]
        way = np.abs((station[:, None] - at + 0.5 * lap) % lap - 0.5 * lap)
        weight = _smooth((self._pilot.HOLD + self._pilot.RAMP - way) / self._pilot.RAMP)
        reach = np.hypot(boxes[:, 3], boxes[:, 4])
        beside = 0.5 * np.sign(aside) * (np.abs(aside) - reach - table[:, HALF_WIDTH, None])
        moved = (weight * beside).sum(axis=1) / np.maximum(weight.sum(axis=1), 1.0)
        normal = np.stack([-np.sin(table[:, HEADING]), np.cos(table[:, HEADING])], axis=1)
        apart = max(round(self._pilot.KNOTS / env.roads.spacing[road]), 1)
        points = (table[:, [X, Y]] + moved[:, None] * normal)[::apart]
        line = through(points)
        return through(points, spacing=line.length / len(table)).driven_within(self._pilot.limits)


class TrafficPilot(PreviewController):
    """Drives CarTraffic by the intelligent-driver model, and changes lanes by MOBIL (Kesting, Treiber and Helbing 2007).

    It wants to change lanes where the model's acceleration there is larger than here by ADVANTAGE (MOBIL without politeness),
    and where neither it nor the follower there would have to brake harder than SAFE. Once under way, further than SETTLED from
    the lane's middle and heading away from it, it returns if it would lose more than ADVANTAGE by going on; it begins no
    further change before it has settled. So what it does depends on where the car is and heads, not on what was decided
    before. While it changes it keeps its distance from both leaders.

    It sees whom the observation lists, see `Crowd.neighbours`, and is privileged in seeing them without noise: `predict` looks
    at the environment itself, so it answers for all its simulations, in their present state.

    Args:
        env: `CarTraffic`, or its Gymnasium or vectorised face.
        driver: the own car's figures in the intelligent-driver model.
        gains: None takes `Gains.of` the vehicle.

    Raises:
        ValueError: another task.
    """

    ADVANTAGE = 0.1
    """m/s²"""
    SAFE = 4.0
    """m/s²"""
    SETTLED = 0.6
    """m"""
    SLANT = 0.9
    """The error from the wanted lane's middle that it steers against is limited to that, so that it goes there on a slant, m."""

    def __init__(self, env: Any, driver: Driver = OWN_DRIVER, gains: Gains | None = None) -> None:
        self.driver = driver
        super().__init__(batch_of(env, CarTraffic), gains)

    def _look(self, cars: CarEnv) -> Reader:
        assert isinstance(cars, CarTraffic)
        self._sight = _LanesAhead(cars, np.linspace(0.0, 60.0, 13), self)
        return self._sight

    def _wanted_acceleration(self, seen: Seen, integral: np.ndarray) -> np.ndarray:
        return self._sight.acceleration


class _LanesAhead(Sight[CarTraffic]):
    def __init__(self, env: CarTraffic, ahead: np.ndarray, pilot: TrafficPilot) -> None:
        super().__init__(env, ahead)
        self._figures = np.array([pilot.ADVANTAGE, pilot.SAFE, pilot.SETTLED])
        self._driver, self._slant = pilot.driver, pilot.SLANT
        self.acceleration = np.zeros(env.num_envs)
        """[N] m/s²"""

    def _look_ahead(self, env: CarTraffic) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        n, roads, forward = env.num_envs, env.roads, env.body_velocity[:, 0]
        side, curvature = np.empty(n), np.empty((n, len(self.ahead)))
        place = env.lane_offset, env.heading_error, env.neighbours
        _decide(self._driver, Driver(), self._figures, forward, env.speed_reference, *place, side, self.acceleration)
        road = roads.table, roads.spacing, roads.closed, env.road_index
        preview(np.arange(n), *road, env.station, self.ahead, CURVATURE, curvature)
        off = np.clip(env.lane_offset - LANE_WIDTH * side, -self._slant, self._slant)
        return off, env.heading_error, curvature, np.repeat(forward[:, None], len(self.ahead), axis=1)


@njit(cache=True)
def _decide(
    driver: Driver,
    others: Driver,
    figures: np.ndarray,
    speed: np.ndarray,
    wish: np.ndarray,
    offset: np.ndarray,
    heading: np.ndarray,
    neighbours: np.ndarray,
    side: np.ndarray,
    acceleration: np.ndarray,
) -> None:
    """The lane to drive in, `side` [N] 1 to the left and -1 to the right of the nearest, and the `acceleration` [N] m/s²."""
    advantage, safe, settled = figures
    for n in range(speed.shape[0]):
        stay = _behind(driver, speed[n], wish[n], neighbours[n, 1, 0])
        side[n], best, acceleration[n] = 0.0, advantage, stay
        for place, way in ((0, 1.0), (2, -1.0)):
            under_way = way * offset[n] > settled and way * heading[n] > 0.0
            if abs(offset[n]) > settled and not under_way:  # on its way back, or from there
                continue
            there = _behind(driver, speed[n], wish[n], neighbours[n, place, 0])
            gap, faster = neighbours[n, place, 1]
            follower = speed[n] + faster
            braking = desired_acceleration(others, max(follower, 0.0), max(follower, 1.0), gap, faster)
            if there < -safe or braking < -safe:
                continue
            gained = there - stay + (2.0 * advantage if under_way else 0.0)
            if gained > best:
                side[n], best, acceleration[n] = way, gained, min(stay, there)


@njit(cache=True)
def _behind(driver: Driver, speed: float, wish: float, leader: np.ndarray) -> float:
    """The acceleration, m/s², behind a leader, its gap m and its relative speed m/s; at SIGHT there is none."""
    gap = leader[0] if leader[0] < SIGHT else np.inf
    return desired_acceleration(driver, max(speed, 0.0), max(wish, 0.1), gap, -leader[1])


def _smooth(x: np.ndarray) -> np.ndarray:
    """From 0 to 1 over 0 to 1, with two continuous derivatives."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 + x * (6.0 * x - 15.0))
