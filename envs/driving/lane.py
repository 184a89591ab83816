"""CarLane: keep a full-size car in its lane, at road speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from .follow import FollowRoad
from .road import Road
from .roads import Patch, lane
from .vehicle import Car

MIN_RADIUS = 120.0
"""Random lanes bend no tighter, m."""


class CarLane(FollowRoad):
    """A passenger car keeps to the middle of its lane, on another winding road in each episode, at 90 to 120 km/h.

    Observation (26, SI units): lateral error (m, left of the lane's middle positive), heading error (rad), speed error
    (forward velocity less the speed reference), forward and lateral velocity and yaw rate (body frame), the previous
    action, and the road's curvature (1/m, left positive) and speed reference at 9 places from the car to 80 m ahead of it.
    The sensors add white noise; see `CarEnv`. A clock adds its channel.

    Action: see `CarEnv`.

    Speed reference: the road's profile (`speed_profile`) for `share` of the friction limit and at most `top_speed`, times
    `pace` and `speed_scale`; see `speed_limits`.

    Reward: 0.4 x (way made along the road in this step / way at the speed reference, within 0 and 1)
    + 0.25 exp(-|e| / 20 cm) + 0.25 exp(-|e| / 1 m), e the lateral error, + 0.1 exp(-|heading error| / 0.5 rad), less
    0.4 (1 - exp(-over / 3 m/s)) for going faster than the reference and 0.1 |change of action|²; -10 on a crash.

    An episode starts off the lane's middle by up to 0.53 m and 0.05 rad, at 85 to 100 % of the speed reference.

    Terminated: see `CarEnv`; the lane is 3.5 m wide. Truncated: after `episode_s`, or where the road ends.

    `info["success"]`: since 2 s after the start the root mean square of the lateral error (`info["lateral_rmse"]`) is at
    most 10 cm, at least 95 % of the way that the speed reference asks for is driven, and the car is still in its lane.

    Args:
        num_envs: simulations in the batch.
        road: "random" (`lane`: 1.2 km, bends of clothoid and arc with radii from 120 m up, drawn from each episode's own
            stream), a `Road`, its `to_dict`, or the CSV file of an open centreline (`from_csv`).
        patches: stretches of other grip on it (`Patch` or its fields); the speed reference does not know of them.
        share: of the friction limit, that the speed profile uses.
        top_speed: of the profile, m/s.
        vehicle: as for `CarEnv`.
        episode_s: time limit, s of the regular clock.
        shared: what all car tasks share; see `CarEnv`.

    Raises:
        ValueError: an argument is out of range, or the vehicle cannot follow the road's bends.
    """

    id = "undrift/CarLane-v0"

    PREVIEW = (0.0, 4.0, 8.0, 13.0, 19.0, 27.0, 38.0, 55.0, 80.0)
    TYPICAL: ClassVar[Mapping[str, float]] = {
        "lateral_error": 0.4,
        "heading_error": 0.05,
        "speed_error": 2.0,
        "forward_velocity": 25.0,
        "lateral_velocity": 0.4,
        "yaw_rate": 0.2,
        "curvature": 0.005,
        "reference_speed": 25.0,
    }
    NEAR, FAR, OVERSPEED = 0.2, 1.0, 3.0
    START = (0.3, 0.05, 0.85)
    SUCCESS_RMSE = 0.1

    def __init__(
        self,
        num_envs: int = 1,
        *,
        road: str | Path | Mapping[str, Any] | Road = "random",
        patches: Sequence[Patch | Mapping[str, Any]] = (),
        share: float = 0.5,
        top_speed: float = 33.0,
        vehicle: str | Path | Mapping[str, Any] | Car = "sedan",
        episode_s: float = 20.0,
        **shared: Any,
    ) -> None:
        super().__init__(
            num_envs,
            road=road,
            draw=lambda rng: lane(rng, min_radius=MIN_RADIUS),
            tightest=1.0 / MIN_RADIUS,
            closed=False,
            vehicle=vehicle,
            patches=patches,
            share=share,
            top_speed=top_speed,
            episode_s=episode_s,
            **shared,
        )
