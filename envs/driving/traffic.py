"""CarTraffic: make way on a road with several lanes, among slower vehicles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from . import looks
from .base import SENSORS
from .crowd import LANE_WIDTH, Crowd
from .follow import FollowRoad, road_channels
from .road import HALF_WIDTH, SPEED, Road, value_at
from .roads import Patch, lane
from .scan import Borders, car_boxes, fan, hits
from .vehicle import Car

VIEWS = ("neighbours", "rays")
SIGHT = 120.0
"""So far ahead and behind other vehicles are seen, m."""
RANGE_NOISE = 0.1
"""Standard deviation of gaps and ranges, m."""
SPEED_NOISE = 0.1
"""Standard deviation of relative speeds, m/s."""
WISHES = (0.4, 0.6)
"""The other vehicles wish to drive at these shares of the road's top speed."""
SUCCESS_SHARE = 0.75
"""Of the speed reference: a success is on average at least as fast, and so faster than the others wish to be."""

_LENGTH, _MIN_RADIUS, _POINTS = 1800.0, 500.0, 901  # of random roads, m, m
_SPACING = 240.0  # m, mean distance of two vehicles in a lane
_TERMS = ("progress", "lane", "headway", "approach", "overspeed", "smoothness", "crash")
_NEIGHBOURS = {
    f"{lane}_{side}_{quantity}": size
    for lane in ("left", "own", "right")
    for side in ("ahead", "behind")
    for quantity, size in (("gap", 40.0), ("speed", 5.0))
}
_NEIGHBOUR_NOISE = np.tile([RANGE_NOISE, SPEED_NOISE], 6)


class CarTraffic(FollowRoad):
    """A passenger car makes its way on a road with several lanes, among vehicles that keep their lanes and are slower.

    Observation (SI units): lateral error (m, left of the road's centreline positive), heading error (rad), speed error
    (forward velocity less the speed reference), forward and lateral velocity and yaw rate (body frame), the previous action,
    the road's curvature and speed reference at 4 places from the car to 60 m ahead of it, the offset from the middle of the
    nearest lane (m, left positive), and the others, by `view`:

    - "neighbours" (29 channels in all): who is nearest ahead and behind in the lane to the left, the own one and the one to
      the right, each by the gap from bumper to bumper and by its speed less the own one. Where nobody is within 120 m they
      are 120 m and 0; in a lane that does not exist 0 and 0. White noise of 10 cm and 10 cm/s.
    - "rays" (17 + `rays`): the distances from the centre of mass to the nearest vehicle or border of the road in `rays`
      directions all around, from right to left and denser ahead (`scan.fan`), at most 120 m. White noise of 10 cm.

    A clock adds its channel.

    Action: see `CarEnv`. Speed reference, the wished speed: the road's profile for `share` of the friction limit and at most
    `top_speed`, times `pace` and `speed_scale`.

    Reward: 0.6 (way made along the road in this step / way at the speed reference, within 0 and 1)
    + 0.2 exp(-|offset from the lane's middle| / 0.5 m), less 0.4 exp(-headway / 0.5 s), the time to where the vehicle ahead
    in the own lane now is, 0.4 (1 - exp(-deceleration / 3 m/s²)), the one it takes not to touch that vehicle (closing
    speed² / 2 gap), 0.4 (1 - exp(-over / 3 m/s)) for going faster than the reference, and 0.1 |change of action|²; -10 on a
    crash.

    An episode draws the road and the vehicles: as large as the own one, in each lane 144 to 336 m behind one another, from
    behind the own one on, with wished speeds of 40 to 60 % of `top_speed`. They drive by the intelligent-driver model
    (`desired_acceleration`), also behind the own vehicle, which blocks every lane that it reaches into. The own vehicle
    starts in the middle of a lane, at 60 to 90 % of the speed reference.

    Terminated: the own vehicle's outline overlaps another's; or see `CarEnv`. Truncated: after `episode_s`, or where the road
    ends.

    `info["success"]`: so far the car has made at least 75 % of the way at the speed reference, and has not crashed: the
    others ahead wish for less, so it takes overtaking but where the way to them is long. `info["overtaken"]`: how many more vehicles are behind it than at the
    start.

    Args:
        num_envs: simulations in the batch.
        lanes: of the road, each 3.5 m wide; 2 to 5.
        vehicles: how many others there are, 0 to 60.
        view: how they are observed, one of VIEWS.
        rays: how many, for that view; at least 2.
        road: "random" (`lane`: 1.8 km, radii from 500 m up, drawn from each episode's own stream), or as for `CarLane`; at
            least as wide as the lanes are together.
        patches: stretches of other grip on it (`Patch` or its fields); the speed reference does not know of them.
        share: of the friction limit, that the speed profile uses.
        top_speed: of the profile, m/s.
        vehicle: as for `CarEnv`.
        episode_s: time limit, s of the regular clock.
        shared: what all car tasks share; see `CarEnv`.

    Raises:
        ValueError: an argument is out of range, or the road is closed, too narrow or too winding.
    """

    id = "undrift/CarTraffic-v0"

    TRACKING: ClassVar[Mapping[str, str]] = {}
    PREVIEW = (0.0, 15.0, 30.0, 60.0)
    TYPICAL: ClassVar[Mapping[str, float]] = {
        "lateral_error": 4.0,
        "heading_error": 0.05,
        "speed_error": 4.0,
        "forward_velocity": 25.0,
        "lateral_velocity": 0.4,
        "yaw_rate": 0.1,
        "curvature": 0.001,
        "reference_speed": 25.0,
    }
    OVERSPEED = 3.0

    def __init__(
        self,
        num_envs: int = 1,
        *,
        lanes: int = 3,
        vehicles: int = 24,
        view: str = "neighbours",
        rays: int = 33,
        road: str | Path | Mapping[str, Any] | Road = "random",
        patches: Sequence[Patch | Mapping[str, Any]] = (),
        share: float = 0.5,
        top_speed: float = 30.0,
        vehicle: str | Path | Mapping[str, Any] | Car = "sedan",
        episode_s: float = 40.0,
        **shared: Any,
    ) -> None:
        if not 2 <= lanes <= 5:
            raise ValueError(f"lanes is {lanes}: a road has 2 to 5.")
        if not 0 <= vehicles <= 60:
            raise ValueError(f"vehicles is {vehicles}: there are 0 to 60 others.")
        if view not in VIEWS:
            raise ValueError(f"unknown view {view!r}; the views are: {', '.join(VIEWS)}.")
        self.view = view
        self.angles = fan(rays, 2.0 * np.pi)
        others = _NEIGHBOURS if view == "neighbours" else {f"range_{k}": 30.0 for k in range(rays)}
        half_width = 0.5 * lanes * LANE_WIDTH
        super().__init__(
            num_envs,
            road=road,
            draw=lambda rng: lane(rng, length=_LENGTH, half_width=half_width, min_radius=_MIN_RADIUS, points=_POINTS),
            tightest=1.0 / _MIN_RADIUS,
            closed=False,
            vehicle=vehicle,
            patches=patches,
            share=share,
            top_speed=top_speed,
            channels={**road_channels(self.PREVIEW, self.TYPICAL), "lane_offset": 0.5, **others},
            task={"lanes": lanes, "vehicles": vehicles, "view": view, "rays": rays},
            noises=len(others),
            episode_s=episode_s,
            **shared,
        )
        if self.roads.closed or self.roads.table[..., HALF_WIDTH].min() < half_width:
            raise ValueError(
                f"{lanes} lanes need an open road with a half-width of at least {half_width:g} m everywhere."
            )
        self.crowd = Crowd(num_envs, vehicles, lanes, (self.vehicle.length, self.vehicle.width))
        self._borders = Borders(self.roads)
        self.neighbours = np.zeros((num_envs, 3, 2, 2))
        """[N, 3, 2, 2] what `Crowd.neighbours` says, without noise."""
        self.lane_offset = np.zeros(num_envs)
        """[N] m left of the middle of the nearest lane."""
        self._asked = np.zeros(num_envs)  # way at the speed reference, m
        self._ahead_at_first = np.zeros(num_envs, dtype=np.int64)

    def record(self) -> dict[str, np.ndarray]:
        return super().record() | {"others_station": self.crowd.station.copy()}

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        super().recall(began, time, moment)
        self.crowd.station[0] = moment["others_station"]
        self._look(self._all)

    def draw_world(self, canvas: Canvas, index: int) -> None:
        super().draw_world(canvas, index)
        between = self.crowd.lateral[:-1] + 0.5 * LANE_WIDTH
        looks.draw_lane_marks(canvas, self.vehicle, self.roads, self.road_index[index], self.station[index], between)
        looks.draw_cars(canvas, self.crowd.boxes[index], self.vehicle.height)

    def _road_laid(self, index: int) -> None:
        self._borders.lay(index)

    def _start_task(self, index: int, rng: np.random.Generator) -> None:
        self.way[index] = self._asked[index] = 0.0
        station = self._draw_station(index, rng)
        own_lane = int(rng.integers(self.crowd.lanes))
        slowest, fastest = WISHES
        wishes = slowest * self.top_speed, fastest * self.top_speed
        self.crowd.place(index, station, own_lane, _SPACING, wishes, rng)
        self._ahead_at_first[index] = (self.crowd.station[index] > station).sum()
        roads, road = self.roads, self.road_index[index]
        reference = value_at(roads.table, roads.spacing, roads.closed, road, station, SPEED) * self.pace[index]
        self.place(index, station, self.crowd.lateral[own_lane], 0.0, rng.uniform(0.6, 0.9) * reference)

    def _begin(self, ids: np.ndarray) -> None:
        super()._begin(ids)
        self._look(ids)

    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        duration = lengths * self._timestep
        self.crowd.drive(duration, *self._own())
        super()._advance(actions, lengths)
        self._look(self._all)

    def _own(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the middle of the own vehicles: station [N] m, lateral place [N] m and speed [N] m/s."""
        middle = 0.5 * (self.vehicle.front_axle - self.vehicle.rear_axle)
        return self.station + middle, self.lateral_error, self.body_velocity[:, 0]

    def _look(self, ids: np.ndarray) -> None:
        self.crowd.stand(ids, self.roads, self.road_index)
        self.neighbours[ids] = self.crowd.neighbours(ids, *self._own(), SIGHT)
        lane_middle = self.crowd.lateral[self.crowd.lanes_of(self.lateral_error[ids])]
        self.lane_offset[ids] = self.lateral_error[ids] - lane_middle

    def _observe_task(self, ids: np.ndarray, measured: np.ndarray) -> np.ndarray:
        road = super()._observe_task(ids, measured)
        offset = self.lane_offset[ids] + measured[:, 0] - self.lateral_error[ids]
        noise = measured[:, len(SENSORS) :]
        if self.view == "neighbours":
            seen = self.neighbours[ids].reshape(len(ids), -1) + _NEIGHBOUR_NOISE * noise
        else:
            seen = self._borders.scan(
                ids, self.road_index, self._nearest, self.qpos, self.angles, SIGHT, self.crowd.boxes
            )
            seen = np.clip(seen + RANGE_NOISE * noise, 0.0, SIGHT)
        return np.concatenate([road, offset[:, None], seen], axis=1, dtype=np.float32)

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        crashed = self._crashes() | hits(car_boxes(self.vehicle, self.qpos), self.crowd.boxes)
        asked = self.speed_reference * self.step_duration
        self.way += self.progress
        self._asked += asked
        self._end_with_road()
        terms = np.empty((self.num_envs, len(_TERMS)))
        _score(
            self.progress,
            asked,
            self.step_duration,
            self.lane_offset,
            self.neighbours[:, 1, 0],
            self.action,
            self.action_before,
            crashed,
            self.OVERSPEED,
            terms,
        )
        ahead = (self.crowd.station > self.station[:, None]).sum(axis=1)
        info = {
            "overtaken": self._ahead_at_first - ahead,
            "success": (self.way >= SUCCESS_SHARE * self._asked) & ~crashed,
        }
        return self._scored(_TERMS, terms, crashed, self._errors() | info)


@njit(cache=True)
def _score(
    progress: np.ndarray,
    asked: np.ndarray,
    duration: np.ndarray,
    offset: np.ndarray,
    leader: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    crashed: np.ndarray,
    overspeed: float,
    terms: np.ndarray,
) -> None:
    for n in range(progress.shape[0]):
        speed = progress[n] / duration[n]
        least = max(asked[n], 0.1 * duration[n])
        terms[n, 0] = 0.6 * min(max(progress[n], 0.0), asked[n]) / least
        terms[n, 1] = 0.2 * tolerance(offset[n], 0.5)
        gap, closing = leader[n, 0], max(-leader[n, 1], 0.0)
        terms[n, 2] = -0.4 * tolerance(gap / max(speed, 1.0), 0.5)
        terms[n, 3] = 0.4 * (tolerance(closing * closing / (2.0 * max(gap, 0.1)), 3.0) - 1.0)
        terms[n, 4] = 0.4 * (tolerance(max(progress[n] - asked[n], 0.0) / duration[n], overspeed) - 1.0)
        steering, drive = action[n, 0] - action_before[n, 0], action[n, 1] - action_before[n, 1]
        terms[n, 5] = -0.1 * (steering * steering + drive * drive)
        terms[n, 6] = -10.0 if crashed[n] else 0.0
