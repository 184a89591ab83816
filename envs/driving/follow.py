"""FollowRoad: what the tasks have in common in which a car keeps to its road's centreline, at the road's speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numba import njit

from ..reward import tolerance
from ..signals import Signals
from .base import CarEnv
from .plant import ACTUATORS
from .road import CURVATURE, HALF_WIDTH, SPEED, Limits, Road, value_at
from .roads import Patch, from_csv, with_patches
from .vehicle import GRAVITY, Car, load_car

SETTLED_S = 2.0
"""The figures that decide on success leave out how an episode begins, s."""
SPEED_KEPT = 0.95
"""A success drives at least this share of the way that its speed reference asks for."""

_TERMS = ("progress", "tracking", "heading", "overspeed", "smoothness", "crash")
_RATES = ("forward_velocity", "lateral_velocity", "yaw_rate")
_STANDING = 0.1  # m/s; a reference below that asks for no way


class FollowRoad(CarEnv):
    """Cars that keep to the centreline of their roads, at the roads' speed. A task names its scales and its random roads.

    Reward: 0.4 x (way made along the road in this step / way at the speed reference, within 0 and 1)
    + 0.25 exp(-|e| / NEAR) + 0.25 exp(-|e| / FAR), e the lateral error, + 0.1 exp(-|heading error| / 0.5 rad), less
    0.4 (1 - exp(-over / OVERSPEED)), where `over` is how much faster than the reference the car goes along the road, and
    0.1 |change of action|²; -10 on a crash.
    """

    PREVIEW: ClassVar[tuple[float, ...]]
    """The road's curvature and speed are shown so far ahead, m."""
    TYPICAL: ClassVar[Mapping[str, float]]
    """Typical magnitudes of the observation's quantities."""
    TRACKING: ClassVar[Mapping[str, str]] = {"lateral_velocity": "lateral_error"}
    """What adapters are told to keep small; see `Signals`."""
    NEAR: ClassVar[float]
    """m"""
    FAR: ClassVar[float]
    """m"""
    OVERSPEED: ClassVar[float]
    """m/s"""
    START: ClassVar[tuple[float, float, float]]
    """How an episode starts at worst: off by this share of the half-width, by this angle, rad, at this share of the speed."""
    SUCCESS_RMSE: ClassVar[float]
    """m"""

    def __init__(
        self,
        num_envs: int,
        *,
        road: str | Path | Mapping[str, Any] | Road,
        draw: Callable[[np.random.Generator], Road],
        tightest: float,
        closed: bool,
        vehicle: str | Path | Mapping[str, Any] | Car,
        patches: Sequence[Patch | Mapping[str, Any]],
        share: float,
        top_speed: float,
        channels: Mapping[str, float] | None = None,
        task: Mapping[str, Any] | None = None,
        **shared: Any,
    ) -> None:
        """`draw` draws a "random" road, of curvatures up to `tightest`, 1/m; `closed` says what a road from a file is.

        `channels` in place of `road_channels`, with an `_observe_task` to match, and `task` for arguments of its own.
        """
        car = load_car(vehicle)
        limits = speed_limits(car, share, top_speed)
        laid = tuple(patch if isinstance(patch, Patch) else Patch(**patch) for patch in patches)
        given = None if road == "random" else _given(road, closed)
        _check_bends(car, tightest if given is None else float(np.abs(given.curvature).max()))

        def lay(bare: Road) -> Road:
            return with_patches(bare, laid).driven_within(limits)

        super().__init__(
            num_envs,
            road=(lambda rng: lay(draw(rng))) if given is None else lay(given),
            channels=road_channels(self.PREVIEW, self.TYPICAL) if channels is None else channels,
            signals=Signals(
                rates={name: (name,) for name in _RATES},
                context=(),
                tracking=self.TRACKING,
                preview=(),
                previous_action=tuple(f"previous_action_{name}" for name in ACTUATORS),
                demand={
                    "speed_error": ("forward_velocity", 1.0),
                    **{_ahead("reference_speed", place): ("", 1.0) for place in self.PREVIEW},
                },
            ),
            task={
                **(task or {}),
                "road": "random" if given is None else given.to_dict(),
                "patches": [asdict(patch) for patch in laid],
                "share": share,
                "top_speed": top_speed,
            },
            vehicle=vehicle,
            **shared,
        )
        self.top_speed = top_speed
        self.way = np.zeros(num_envs)
        """[N] driven along the road in the episode, m."""
        self._sums = np.zeros((num_envs, 4))  # since SETTLED_S: steps, lateral error², way, way at the speed reference
        self._ahead = np.array(self.PREVIEW)

    def _start_task(self, index: int, rng: np.random.Generator) -> None:
        self.way[index], self._sums[index] = 0.0, 0.0
        station = self._draw_station(index, rng)
        place = self.roads.table, self.roads.spacing, self.roads.closed, self.road_index[index], station
        aside, turned, slowest = self.START
        lateral = rng.uniform(-aside, aside) * value_at(*place, HALF_WIDTH)
        speed = rng.uniform(slowest, 1.0) * value_at(*place, SPEED) * self.pace[index]
        self.place(index, station, lateral, rng.uniform(-turned, turned), speed)

    def _draw_station(self, index: int, rng: np.random.Generator) -> float:
        """Where on its road an episode starts, m."""
        length = self.roads.length[self.road_index[index]]
        if not self.roads.closed:  # what the episode needs is left ahead, where the road is long enough
            length = max(length - self.top_speed * self.max_episode_steps * self.dt, 0.0)
        return rng.uniform(0.0, length)

    def _observe_task(self, ids: np.ndarray, measured: np.ndarray) -> np.ndarray:
        roads = self.roads
        observation = np.empty((len(ids), 8 + 2 * len(self._ahead)), dtype=np.float32)
        _observe(
            ids,
            measured,
            self.speed_reference,
            self.action,
            (roads.table, roads.spacing, roads.closed),
            self.road_index,
            self.station,
            self.pace * self.speed_scale,
            self._ahead,
            observation,
        )
        return observation

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        crashed = self._crashes()
        asked = self.speed_reference * self.step_duration
        self.way += self.progress
        entries = np.stack([np.ones(self.num_envs), self.lateral_error**2, self.progress, asked], axis=1)
        self._sums += np.where(self.time > SETTLED_S, 1.0, 0.0)[:, None] * entries
        steps, squared, way, way_asked = self._sums.T
        rmse = np.sqrt(squared / np.maximum(steps, 1.0))
        kept = (steps > 0) & (way >= SPEED_KEPT * way_asked)
        self._end_with_road()
        terms = np.empty((self.num_envs, len(_TERMS)))
        _score(
            self.lateral_error,
            self.heading_error,
            self.progress,
            asked,
            self.step_duration,
            self.action,
            self.action_before,
            crashed,
            (self.NEAR, self.FAR, self.OVERSPEED),
            terms,
        )
        info = {"lateral_rmse": rmse, "success": kept & (rmse <= self.SUCCESS_RMSE) & ~crashed}
        return self._scored(_TERMS, terms, crashed, self._errors() | info)

    def _end_with_road(self) -> None:
        """Truncate the episodes whose road has ended."""
        if not self.roads.closed:
            over = self.station >= self.roads.length[self.road_index]
            self._limit = np.where(over, np.minimum(self._limit, self.elapsed), self._limit)


def road_channels(preview: Sequence[float], typical: Mapping[str, float]) -> dict[str, float]:
    """The observation that shows the road: names and typical magnitudes."""
    return {
        **{name: typical[name] for name in ("lateral_error", "heading_error", "speed_error", *_RATES)},
        **{f"previous_action_{name}": 1.0 for name in ACTUATORS},
        **{_ahead(name, place): typical[name] for name in ("curvature", "reference_speed") for place in preview},
    }


def _ahead(name: str, place: float) -> str:
    """The channel that shows a quantity of the road so far ahead, m."""
    return f"{name}_{place:g}m"


def speed_limits(car: Car, share: float, top_speed: float) -> Limits:
    """What the speed profile asks of a car: `share` of what its tyres hold on dry level ground, and no more than its motor.

    Across: μ g, of the axle that grips less. Along, on a straight: the acceleration at which the first axle slips under its
    part of the force, wheel loads shifted; the motor's at `top_speed` where that is less.

    Raises:
        ValueError: the share is not within 0 to 1, or the speed not within what the car reaches.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}: give a share of the friction limit, above 0 and at most 1.")
    if not 0 < top_speed < car.max_speed:
        raise ValueError(f"top_speed is {top_speed}: {car.name} takes m/s above 0 and below {car.max_speed:g}.")
    grip = GRAVITY * min(car.friction_front, car.friction_rear)
    motor = min(car.max_drive_force, car.max_power / top_speed) / car.mass
    return Limits(
        lateral=share * grip,
        drive=share * min(motor, _axle_limit(car, grip, car.drive_front, 1.0)),
        brake=share * min(car.max_brake_force / car.mass, _axle_limit(car, grip, car.brake_front, -1.0)),
        top=top_speed,
    )


def _axle_limit(car: Car, grip: float, front: float, way: float) -> float:
    """The acceleration, m/s², at which the first axle slips: `front` of the force is in front; braking has `way` -1.

    An axle that bears the part w of the weight and c of the force slips at a c = grip (w ± a h / (g wheelbase)).
    """
    shifted = way * grip * car.mass_height / (GRAVITY * car.wheelbase)
    axles = (front, car.rear_axle, shifted), (1.0 - front, car.front_axle, -shifted)
    return min((grip * arm / car.wheelbase / (c + s) for c, arm, s in axles if c + s > 0), default=np.inf)


def _given(road: str | Path | Mapping[str, Any] | Road, closed: bool) -> Road:
    if isinstance(road, Road):
        return road
    if isinstance(road, Mapping):
        return Road.from_dict(road)
    if not Path(road).is_file():
        raise ValueError(f'no road {str(road)!r}: give "random", a Road, or the path of a CSV file (see from_csv).')
    return from_csv(road, closed=closed)


def _check_bends(car: Car, tightest: float) -> None:
    least = car.wheelbase / np.tan(min(car.steering_range, car.max_steering))
    if tightest * least >= 1:
        raise ValueError(
            f"{car.name} turns on a radius of at least {least:.3g} m, and the road bends down to {1 / tightest:.3g} m: "
            "give it a road that it can follow."
        )


@njit(cache=True)
def _observe(
    ids: np.ndarray,
    measured: np.ndarray,
    speed_reference: np.ndarray,
    action: np.ndarray,
    roads: tuple[np.ndarray, np.ndarray, bool],
    road_index: np.ndarray,
    station: np.ndarray,
    share: np.ndarray,
    ahead: np.ndarray,
    out: np.ndarray,
) -> None:
    table, spacing, closed = roads
    count = ahead.shape[0]
    for row in range(ids.shape[0]):
        n = ids[row]
        out[row, 0], out[row, 1] = measured[row, 0], measured[row, 1]
        out[row, 2] = measured[row, 2] - speed_reference[n]
        out[row, 3], out[row, 4], out[row, 5] = measured[row, 2], measured[row, 3], measured[row, 4]
        out[row, 6], out[row, 7] = action[n, 0], action[n, 1]
        for k in range(count):
            place = station[n] + ahead[k]
            out[row, 8 + k] = value_at(table, spacing, closed, road_index[n], place, CURVATURE)
            speed = value_at(table, spacing, closed, road_index[n], place, SPEED)
            out[row, 8 + count + k] = share[n] * speed


@njit(cache=True)
def _score(
    lateral_error: np.ndarray,
    heading_error: np.ndarray,
    progress: np.ndarray,
    asked: np.ndarray,
    duration: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    crashed: np.ndarray,
    margins: tuple[float, float, float],
    terms: np.ndarray,
) -> None:
    near, far, overspeed = margins
    for n in range(lateral_error.shape[0]):
        least = max(asked[n], _STANDING * duration[n])
        over = max(progress[n] - asked[n], 0.0) / duration[n]
        terms[n, 0] = 0.4 * min(max(progress[n], 0.0), asked[n]) / least
        terms[n, 1] = 0.25 * tolerance(lateral_error[n], near) + 0.25 * tolerance(lateral_error[n], far)
        terms[n, 2] = 0.1 * tolerance(heading_error[n], 0.5)
        terms[n, 3] = 0.4 * (tolerance(over, overspeed) - 1.0)
        steering, drive = action[n, 0] - action_before[n, 0], action[n, 1] - action_before[n, 1]
        terms[n, 4] = -0.1 * (steering * steering + drive * drive)
        terms[n, 5] = -10.0 if crashed[n] else 0.0
