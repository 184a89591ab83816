"""CarTrack: drive a closed track at the limit of the tyres' grip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .follow import FollowRoad
from .road import Road
from .roads import Patch, circuit
from .vehicle import Car

MAX_CURVATURE = 1.1
"""Random tracks bend no tighter, 1/m."""


class CarTrack(FollowRoad):
    """A 1:10 car drives a closed track, another in each episode, at a speed near the limit of its tyres' grip.

    Observation (26, SI units): lateral error (m, left of the centreline positive), heading error (rad), speed error
    (forward velocity less the speed reference), forward and lateral velocity and yaw rate (body frame), the previous
    action, and the road's curvature (1/m, left positive) and speed reference at 9 places from the car to 3.4 m ahead of
    it. The sensors add white noise; see `CarEnv`. A clock adds its channel.

    Action: see `CarEnv`.

    Speed reference: the track's profile (`speed_profile`) for `share` of the friction limit and at most `top_speed`, times
    `pace` and `speed_scale`; see `speed_limits`.

    Reward: 0.4 x (way made along the track in this step / way at the speed reference, within 0 and 1)
    + 0.25 exp(-|e| / 5 cm) + 0.25 exp(-|e| / 30 cm), e the lateral error, + 0.1 exp(-|heading error| / 0.5 rad), less
    0.4 (1 - exp(-over / 1 m/s)) for going faster than the reference and 0.1 |change of action|²; -10 on a crash.

    An episode starts anywhere on the track, off it by up to 0.3 m and 0.2 rad, at 60 to 100 % of the speed reference.

    Terminated: see `CarEnv`. Truncated: after `episode_s`, or where an open road ends.

    `info["success"]`: since 2 s after the start the root mean square of the lateral error (`info["lateral_rmse"]`) is at
    most 20 mm, at least 95 % of the way that the speed reference asks for is driven, and the car is still on the track.
    `info["laps"]`: laps driven.

    Args:
        num_envs: simulations in the batch.
        road: "random" (`circuit`: 30 to 46 m, 1.7 m wide, curvature up to 1.1 1/m, drawn from each episode's own stream),
            a `Road`, its `to_dict`, or the CSV file of a closed centreline (`from_csv`).
        patches: stretches of other grip on it (`Patch` or its fields); the speed reference does not know of them.
        share: of the friction limit, that the speed profile uses.
        top_speed: of the profile, m/s.
        vehicle: as for `CarEnv`.
        episode_s: time limit, s of the regular clock.
        shared: what all car tasks share; see `CarEnv`.

    Raises:
        ValueError: an argument is out of range, or the vehicle cannot follow the road's bends.
    """

    id = "undrift/CarTrack-v0"

    PREVIEW = (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.1, 2.7, 3.4)
    TYPICAL: ClassVar[Mapping[str, float]] = {
        "lateral_error": 0.2,
        "heading_error": 0.2,
        "speed_error": 0.5,
        "forward_velocity": 4.0,
        "lateral_velocity": 0.4,
        "yaw_rate": 2.0,
        "curvature": 0.4,
        "reference_speed": 4.0,
    }
    NEAR, FAR, OVERSPEED = 0.05, 0.3, 1.0
    START = (0.35, 0.2, 0.6)
    SUCCESS_RMSE = 0.02

    def __init__(
        self,
        num_envs: int = 1,
        *,
        road: str | Path | Mapping[str, Any] | Road = "random",
        patches: Sequence[Patch | Mapping[str, Any]] = (),
        share: float = 0.85,
        top_speed: float = 5.2,
        vehicle: str | Path | Mapping[str, Any] | Car = "f1tenth",
        episode_s: float = 20.0,
        **shared: Any,
    ) -> None:
        super().__init__(
            num_envs,
            road=road,
            draw=lambda rng: circuit(rng, max_curvature=MAX_CURVATURE),
            tightest=MAX_CURVATURE,
            closed=True,
            vehicle=vehicle,
            patches=patches,
            share=share,
            top_speed=top_speed,
            episode_s=episode_s,
            **shared,
        )

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        reward, crashed, info = super()._score()
        return reward, crashed, info | {"laps": self.way / self.roads.length[self.road_index]}
