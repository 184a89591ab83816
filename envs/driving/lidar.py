"""CarLidar: drive a closed track seen by a range scan, around obstacles, without knowing what comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from . import looks
from .base import SENSORS
from .plant import ACTUATORS
from .road import HALF_WIDTH, SPEED, pose_at, value_at
from .scan import Borders, car_boxes, fan, hits, outline
from .track import CarTrack

RANGE = 10.0
"""Of the scanner, m: what is further away reads as this."""
RANGE_NOISE = 0.02
"""Standard deviation of a range, m: half the accuracy of ±40 mm that Hokuyo states for the UST-10LX."""
SUCCESS_SHARE = 0.7
"""A success takes at most as long as the reference at this share of its speed."""

_ASIDE = (0.3, 0.6)  # obstacles stand so far from the centreline, in half-widths
_FREE = 2.0  # car widths that must be left beside an obstacle
_TERMS = ("progress", "overspeed", "clearance", "smoothness", "crash")


class CarLidar(CarTrack):
    """A 1:10 car drives a closed track, another in each episode, among obstacles, and sees it by a range scan only.

    Observation (6 + `beams`, SI units): forward and lateral velocity and yaw rate (body frame), `pace` (the share of the
    speed profile that is asked for, times `speed_scale`), the previous action, and the distances from the centre of mass to
    the nearest border or obstacle in `beams` directions, from right to left and denser ahead (`scan.fan`), at most 10 m. They have white noise of 20 mm.
    Nothing tells where on the track the car is, nor what comes. A clock adds its channel.

    Action: see `CarEnv`. Track and speed reference: see `CarTrack`.

    Reward: 0.7 (way made along the track in this step / way at the speed reference, within ±1), less
    0.4 (1 - exp(-over / 1 m/s)) for going faster than the reference, 0.3 exp(-gap / 20 cm), the smallest gap between the
    car's outline and what the beams meet, and 0.1 |change of action|²; -10 on a crash.

    An episode draws its obstacles: square boxes as wide as the car, evenly spread over the lap but for a quarter of their
    distance to either side, 0.3 to 0.6 half-widths left or right of the centreline, turned at random. It starts midway
    between two of them, off the centreline by up to 0.2 half-widths and 0.2 rad, at 50 to 100 % of the speed reference.

    Terminated: the car's outline touches a border or an obstacle; or see `CarEnv`. Truncated: after `episode_s`.

    `info["success"]`: a lap is done, the way so far took at most as long as it takes at 70 % of the speed reference, and the
    car has touched nothing. `info["laps"]`: laps driven.

    Args:
        num_envs: simulations in the batch.
        obstacles: how many there are, 0 to 12.
        beams: of the scan, at least 2.
        field_of_view: of the scan, rad.
        episode_s: time limit, s of the regular clock.
        shared: those of `CarTrack`.

    Raises:
        ValueError: an argument is out of range, or the track is too narrow for obstacles.
    """

    id = "undrift/CarLidar-v0"

    TRACKING: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        num_envs: int = 1,
        *,
        obstacles: int = 4,
        beams: int = 33,
        field_of_view: float = 4.7,
        episode_s: float = 18.0,
        **shared: Any,
    ) -> None:
        if not 0 <= obstacles <= 12:
            raise ValueError(f"obstacles is {obstacles}: a track takes 0 to 12.")
        self.angles = fan(beams, field_of_view)
        """[beams] rad, counterclockwise from straight ahead."""
        super().__init__(
            num_envs,
            channels={
                **{name: self.TYPICAL[name] for name in ("forward_velocity", "lateral_velocity", "yaw_rate")},
                "pace": 0.3,
                **{f"previous_action_{name}": 1.0 for name in ACTUATORS},
                **{f"range_{k}": 3.0 for k in range(beams)},
            },
            task={"obstacles": obstacles, "beams": beams, "field_of_view": field_of_view},
            noises=beams,
            episode_s=episode_s,
            **shared,
        )
        self.boxes = np.zeros((num_envs, obstacles, 5))
        """[N, obstacles, 5] where they stand, columns as in `scan.BOX`."""
        self.ranges = np.zeros((num_envs, beams))
        """[N, beams] m, without noise."""
        self._borders = Borders(self.roads)
        self._outline = outline(self.vehicle, self.angles)
        self._due = np.zeros(num_envs)  # s that the way so far takes at the speed reference

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        super().recall(began, time, moment)
        self._look(self._all)

    def draw_world(self, canvas: Canvas, index: int) -> None:
        super().draw_world(canvas, index)
        looks.draw_boxes(canvas, self.boxes[index], self.vehicle.height)

    def draw(self, canvas: Canvas, index: int) -> None:
        super().draw(canvas, index)
        looks.draw_rays(canvas, self.qpos[index], self.angles, self.ranges[index], 0.7 * self.vehicle.height)

    def _road_laid(self, index: int) -> None:
        self._borders.lay(index)

    def _start_task(self, index: int, rng: np.random.Generator) -> None:
        self.way[index] = self._due[index] = 0.0
        obstacles = self.boxes.shape[1]
        roads = self.roads.table, self.roads.spacing, self.roads.closed, self.road_index[index]
        lap = self.roads.length[self.road_index[index]]
        start, apart = self._draw_station(index, rng), lap / max(obstacles, 1)
        for k in range(obstacles):
            station = start + (k + 0.5 + rng.uniform(-0.25, 0.25)) * apart
            half_width = value_at(*roads, station, HALF_WIDTH)
            aside = rng.uniform(*_ASIDE) * half_width
            self._require_room(half_width + aside)
            x, y, heading = pose_at(*roads, station, rng.choice([-aside, aside]))
            yaw = heading + rng.uniform(0.0, 0.5 * np.pi)
            self.boxes[index, k] = x, y, yaw, 0.5 * self.vehicle.width, 0.5 * self.vehicle.width
        lateral = rng.uniform(-0.2, 0.2) * value_at(*roads, start, HALF_WIDTH)
        speed = rng.uniform(0.5, 1.0) * value_at(*roads, start, SPEED) * self.pace[index]
        self.place(index, start, lateral, rng.uniform(-0.2, 0.2), speed)

    def _require_room(self, width: float) -> None:
        """That beside an obstacle, which stands so far, m, from the border beyond it, the car can pass."""
        free = width - np.sqrt(0.5) * self.vehicle.width
        if free < _FREE * self.vehicle.width:
            raise ValueError(
                f"the track leaves {free:.2f} m beside an obstacle, and a car {self.vehicle.width:.2f} m wide needs "
                f"{_FREE:g} times its width: give a wider road, or obstacles=0."
            )

    def _begin(self, ids: np.ndarray) -> None:
        super()._begin(ids)
        self._look(ids)

    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        super()._advance(actions, lengths)
        self._look(self._all)

    def _look(self, ids: np.ndarray) -> None:
        self.ranges[ids] = self._borders.scan(
            ids, self.road_index, self._nearest, self.qpos, self.angles, RANGE, self.boxes
        )

    def _observe_task(self, ids: np.ndarray, measured: np.ndarray) -> np.ndarray:
        velocities, noise = measured[:, 2 : len(SENSORS)], RANGE_NOISE * measured[:, len(SENSORS) :]
        pace = (self.pace * self.speed_scale)[ids, None]
        ranges = np.clip(self.ranges[ids] + noise, 0.0, RANGE)
        return np.concatenate([velocities, pace, self.action[ids], ranges], axis=1, dtype=np.float32)

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        own = car_boxes(self.vehicle, self.qpos)
        touching = self._borders.touched(self.road_index, self._nearest, own) | hits(own, self.boxes)
        crashed = self._crashes() | touching
        terms = np.empty((self.num_envs, len(_TERMS)))
        _score(
            self.progress,
            self.speed_reference,
            self.step_duration,
            self.ranges,
            self._outline,
            self.action,
            self.action_before,
            crashed,
            self.OVERSPEED,
            self.way,
            self._due,
            terms,
        )
        laps = self.way / self.roads.length[self.road_index]
        in_time = self._due >= SUCCESS_SHARE * self.time
        info = {"laps": laps, "success": (laps >= 1.0) & in_time & ~crashed}
        return self._scored(_TERMS, terms, crashed, self._errors() | info)


@njit(cache=True)
def _score(
    progress: np.ndarray,
    speed_reference: np.ndarray,
    duration: np.ndarray,
    ranges: np.ndarray,
    outline: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    crashed: np.ndarray,
    overspeed: float,
    way: np.ndarray,
    due: np.ndarray,
    terms: np.ndarray,
) -> None:
    for n in range(progress.shape[0]):
        reference = max(speed_reference[n], 0.1)  # m/s; a governor may ask for standing
        way[n] += progress[n]
        due[n] += progress[n] / reference
        gap = np.inf
        for b in range(ranges.shape[1]):
            gap = min(gap, ranges[n, b] - outline[b])
        steering, drive = action[n, 0] - action_before[n, 0], action[n, 1] - action_before[n, 1]
        terms[n, 0] = 0.7 * min(max(progress[n] / (reference * duration[n]), -1.0), 1.0)
        terms[n, 1] = 0.4 * (tolerance(max(progress[n] / duration[n] - reference, 0.0), overspeed) - 1.0)
        terms[n, 2] = -0.3 * tolerance(max(gap, 0.0), 0.2)
        terms[n, 3] = -0.1 * (steering * steering + drive * drive)
        terms[n, 4] = -10.0 if crashed[n] else 0.0
