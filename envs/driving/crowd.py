"""Crowd: the other vehicles on a road with several lanes. They keep their lanes and drive by the intelligent-driver model."""

from __future__ import annotations

import numpy as np
from numba import njit

from .intelligent_driver import Driver, advance, desired_acceleration
from .road import Roads, pose_at

LANE_WIDTH = 3.5
"""m"""


class Crowd:
    """K vehicles around the own one in each of N simulations. All are as long and as wide as the own vehicle.

    Lanes are counted from the right, 0 first. Stations are in metres along the centreline, and speeds those of the stations.

    Args:
        num_envs: N.
        vehicles: K.
        lanes: of the road, its half-width `lanes` x LANE_WIDTH / 2.
        size: length and width of every vehicle, m.
    """

    def __init__(self, num_envs: int, vehicles: int, lanes: int, size: tuple[float, float]) -> None:
        self.lanes, self.size = lanes, size
        self.lateral = LANE_WIDTH * (np.arange(lanes) - (lanes - 1) / 2)
        """[lanes] m left of the centreline."""
        self.lane = np.zeros((num_envs, vehicles), dtype=np.int64)
        self.station = np.zeros((num_envs, vehicles))
        self.speed = np.zeros((num_envs, vehicles))
        self.wish = np.ones((num_envs, vehicles))
        """[N, K] m/s, on a free road."""
        self.boxes = np.zeros((num_envs, vehicles, 5))
        """[N, K, 5] where they stand, columns as in `scan.BOX`."""
        self.boxes[..., 3:] = np.array(size) / 2

    def place(
        self,
        index: int,
        start: float,
        own_lane: int,
        spacing: float,
        wish: tuple[float, float],
        rng: np.random.Generator,
    ) -> None:
        """Draw simulation `index`'s vehicles, from behind the own one at `start` m on, as fast as they wish to be.

        Each comes next in the lane that is emptiest so far, 0.6 to 1.4 `spacing` m behind its leader's place; in the own
        lane nobody is nearer to the own vehicle than that.
        """
        at = start - spacing * rng.uniform(0.6, 1.4, self.lanes)
        for k in range(self.lane.shape[1]):
            lane = int(np.argmin(at))
            self.lane[index, k], self.station[index, k] = lane, at[lane]
            step = spacing * rng.uniform(0.6, 1.4)
            behind = lane == own_lane and at[lane] < start
            at[lane] = start + step if behind else at[lane] + step
        self.wish[index] = rng.uniform(*wish, self.lane.shape[1])
        self.speed[index] = self.wish[index]

    def drive(
        self, duration: np.ndarray, own_station: np.ndarray, own_lateral: np.ndarray, own_speed: np.ndarray
    ) -> None:
        """Move all vehicles on by `duration` [N] s, behind those ahead of them, the own vehicle at that place included."""
        _drive(
            Driver(),
            duration,
            self.lateral,
            self.size,
            own_station,
            own_lateral,
            own_speed,
            self.lane,
            self.station,
            self.speed,
            self.wish,
        )

    def stand(self, ids: np.ndarray, roads: Roads, road_index: np.ndarray) -> None:
        """Put the boxes of the simulations `ids` where their vehicles are."""
        _stand(
            ids, roads.table, roads.spacing, roads.closed, road_index, self.lateral, self.lane, self.station, self.boxes
        )

    def neighbours(
        self,
        ids: np.ndarray,
        own_station: np.ndarray,
        own_lateral: np.ndarray,
        own_speed: np.ndarray,
        sight: float,
    ) -> np.ndarray:
        """[n, 3, 2, 2] of the lane to the left, the own one and the one to the right, who is nearest ahead and behind: the gap
        from bumper to bumper, m, at least 0, and the speed less the own one, m/s.

        Where nobody is within `sight` m they are `sight` and 0; in a lane that does not exist 0 and 0. The own lane is that
        of the centre; who is alongside is ahead if its centre is.
        """
        out = np.empty((len(ids), 3, 2, 2))
        length = self.size[0]
        lanes = self.lanes_of(own_lateral)
        _neighbours(
            ids, lanes, self.lanes, length, own_station, own_speed, sight, self.lane, self.station, self.speed, out
        )
        return out

    def lanes_of(self, lateral: np.ndarray) -> np.ndarray:
        """[N] the lane that is nearest to so many m left of the centreline."""
        lane = np.rint(lateral / LANE_WIDTH + (self.lanes - 1) / 2).astype(np.int64)
        return np.clip(lane, 0, self.lanes - 1)


@njit(cache=True)
def _drive(
    driver: Driver,
    duration: np.ndarray,
    lateral: np.ndarray,
    size: tuple[float, float],
    own_station: np.ndarray,
    own_lateral: np.ndarray,
    own_speed: np.ndarray,
    lane: np.ndarray,
    station: np.ndarray,
    speed: np.ndarray,
    wish: np.ndarray,
) -> None:
    vehicles = lane.shape[1]
    acceleration = np.empty(vehicles)
    for n in range(lane.shape[0]):
        for k in range(vehicles):
            ahead, approach = np.inf, 0.0
            for other in range(vehicles):
                distance = station[n, other] - station[n, k]
                if lane[n, other] == lane[n, k] and 0.0 < distance < ahead:
                    ahead, approach = distance, speed[n, k] - speed[n, other]
            distance = own_station[n] - station[n, k]
            # The own vehicle blocks every lane that it reaches into.
            inside = abs(own_lateral[n] - lateral[lane[n, k]]) < 0.5 * (LANE_WIDTH + size[1])
            if inside and 0.0 < distance < ahead:
                ahead, approach = distance, speed[n, k] - own_speed[n]
            acceleration[k] = desired_acceleration(driver, speed[n, k], wish[n, k], ahead - size[0], approach)
        for k in range(vehicles):
            station[n, k], speed[n, k] = advance(station[n, k], speed[n, k], acceleration[k], duration[n])


@njit(cache=True)
def _stand(
    ids: np.ndarray,
    table: np.ndarray,
    spacing: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    lateral: np.ndarray,
    lane: np.ndarray,
    station: np.ndarray,
    boxes: np.ndarray,
) -> None:
    for n in ids:
        for k in range(lane.shape[1]):
            pose = pose_at(table, spacing, closed, road_index[n], station[n, k], lateral[lane[n, k]])
            boxes[n, k, 0], boxes[n, k, 1], boxes[n, k, 2] = pose


@njit(cache=True)
def _neighbours(
    ids: np.ndarray,
    own_lane: np.ndarray,
    lanes: int,
    length: float,
    own_station: np.ndarray,
    own_speed: np.ndarray,
    sight: float,
    lane: np.ndarray,
    station: np.ndarray,
    speed: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(ids.shape[0]):
        n = ids[row]
        for place in range(3):
            exists = 0 <= own_lane[n] + 1 - place < lanes
            out[row, place, :, 0] = sight if exists else 0.0
            out[row, place, :, 1] = 0.0
        for k in range(lane.shape[1]):
            place = own_lane[n] + 1 - lane[n, k]
            if not 0 <= place <= 2:
                continue
            distance = station[n, k] - own_station[n]
            side = 0 if distance >= 0.0 else 1
            gap = max(abs(distance) - length, 0.0)
            if gap < out[row, place, side, 0]:
                out[row, place, side, 0] = gap
                out[row, place, side, 1] = speed[n, k] - own_speed[n]
