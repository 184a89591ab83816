"""The environments by id, and how to build them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium

from .drift import Shifts
from .driving.controllers import PreviewController
from .driving.lane import CarLane
from .driving.lidar import CarLidar
from .driving.pilots import LidarPilot, TrafficPilot
from .driving.track import CarTrack
from .driving.traffic import CarTraffic
from .drone.controllers import GeometricController
from .drone.gates import DroneGates
from .drone.hover import DroneHover
from .drone.pilots import GatePilot, PillarPilot
from .drone.reach import DroneReach
from .drone.track import DroneTrack
from .scenario import Scenario
from .shifted import Shifted
from .simulation import BatchEnv, GymEnv

ENVIRONMENTS: dict[str, type[BatchEnv]] = {
    env.id: env for env in (DroneHover, DroneTrack, DroneGates, DroneReach, CarTrack, CarLane, CarLidar, CarTraffic)
}

EXPERTS: dict[str, Callable[[Any], Any]] = {
    DroneHover.id: GeometricController,
    DroneTrack.id: GeometricController,
    DroneGates.id: GatePilot,
    DroneReach.id: PillarPilot,
    CarTrack.id: PreviewController,
    CarLane.id: PreviewController,
    CarLidar.id: LidarPilot,
    CarTraffic.id: TrafficPilot,
}
"""What solves an environment without learning, by its id: a controller with Stable-Baselines3's `predict`, made from the
environment. Those of DroneGates, DroneReach, CarLidar and CarTraffic see the true state."""


def full_id(name: str) -> str:
    """The registered id of "DroneTrack", "undrift/DroneTrack-v0" or "undrift.envs:undrift/DroneTrack-v0".

    Raises:
        ValueError: unknown; the message lists the ids.
    """
    if (known := own_id(name)) is None:
        raise ValueError(f"unknown environment {name!r}; the environments are: {', '.join(sorted(ENVIRONMENTS))}.")
    return known


def own_id(name: str) -> str | None:
    """As `full_id`; None for an environment that is not undrift's."""
    name = name.removeprefix("undrift.envs:")
    for known in ENVIRONMENTS:
        if name in (known, known.removeprefix("undrift/"), known.removeprefix("undrift/").removesuffix("-v0")):
            return known
    return None


def make_batch(env_id: str, num_envs: int = 1, seed: int | None = None, shifts: Shifts = (), **kwargs: Any) -> BatchEnv:
    """A batch of `num_envs` simulations of `env_id`, to step together.

    Raises:
        ValueError: unknown id, or a constructor argument that the environment does not have.
    """
    kind = ENVIRONMENTS[full_id(env_id)]
    try:
        return kind(num_envs, seed=seed, shifts=shifts, **kwargs)  # type: ignore[call-arg, arg-type]
    except TypeError as error:
        raise ValueError(f"{kind.id}: {error}. Its arguments are documented in {kind.__module__}.") from error


def make_scenario(scenario: Scenario, **kwargs: Any) -> gymnasium.Env:
    """The environment of a scenario, ours or any other of Gymnasium's, with its shifts; `kwargs` go to `gymnasium.make`.

    Raises:
        ValueError: a shift does not fit the environment.
    """
    env_id = own_id(scenario.env_id) or scenario.env_id
    return Shifted(gymnasium.make(env_id, **scenario.env_kwargs, **kwargs), *scenario.shifts)


def _make_gym(
    env_id: str,
    render_mode: str | None = None,
    camera_name: str = "chase",
    width: int | None = None,
    height: int | None = None,
    **kwargs: Any,
) -> GymEnv:
    return GymEnv(make_batch(env_id, 1, **kwargs), render_mode, camera_name, width, height)


def register() -> None:
    """Tell Gymnasium of every environment. The time limit is the environment's own: batches need it as well."""
    for env_id in ENVIRONMENTS:
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=f"{__name__}:_make_gym", kwargs={"env_id": env_id})
