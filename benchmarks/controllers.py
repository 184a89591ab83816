"""How closely the reference controllers follow: drones a figure-eight in wind, cars their roads at full pace.

Drones, in the winds of Neural-Fly's table, on each vehicle: 2.5 x 1.5 m in 6.28 s (DroneTrack, trajectory="figure_eight"), 50 Hz, body-rate interface: RMS of the position error in
cm over three laps after one to settle, over all episodes. Each episode draws the wind's heading and its own start. The
wind blows from the first step.

Cars (CarTrack, CarLane), each episode on a road of its own: RMS of the lateral error in mm from 2 s after the start, over
all episodes that stayed on the road, and of the worst of them; the share of episodes that left it; and the way made, as a
share of that at the speed reference.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from _report import Row, arguments, report

from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.envs import make_batch
from undrift.envs.driving.controllers import PreviewController, StanleyController
from undrift.envs.driving.follow import SETTLED_S
from undrift.envs.drone.controllers import AUGMENTATIONS, CascadedPID, GeometricController
from undrift.envs.drone.vehicle import VEHICLES
from undrift.envs.drone.wind import ConstantWind, OscillatingWind

LAP_S = 2 * np.pi
LAPS = 3
CONTROLLERS = {"geometric": GeometricController, "pid": CascadedPID}
DRIVERS = {"stanley": StanleyController, "preview": PreviewController}
ROADS = {"track": "CarTrack", "lane": "CarLane"}
WINDS = {
    **{f"{speed:g} m/s": ConstantWind(speed=speed) for speed in (0.0, 4.2, 8.5, 12.1)},
    "8.5 + 2.4 sin t": OscillatingWind(),
}


def tracking_error(
    controller: str, augmentation: str | None, episodes: int, interface: str = "rates", **env_kwargs: Any
) -> tuple[float, int]:
    """RMS position error after the first lap, cm, over the episodes that did not crash, and how many did."""
    duration = (1 + LAPS) * LAP_S
    env = make_batch(
        "DroneTrack", episodes, trajectory="figure_eight", episode_s=duration, interface=interface, **env_kwargs
    )
    fly = CONTROLLERS[controller](env, augmentation)
    observation, state = env.reset(list(range(episodes))), None
    crashed, squares, counted = np.zeros(episodes, dtype=bool), np.zeros(episodes), 0
    for step in range(env.max_episode_steps):
        action, state = fly.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        crashed |= terminated
        if (step + 1) * env.dt > LAP_S:
            squares += info["position_error"] ** 2
            counted += 1
    flown = ~crashed
    rms = 100 * float(np.sqrt(squares[flown].mean() / counted)) if flown.any() else float("nan")
    return rms, int(crashed.sum())


def driving_error(env_id: str, driver: str, noise: float, episodes: int) -> Row:
    """Figures of one controller on `episodes` roads, each from a seed for reports."""
    env = make_batch(env_id, episodes, noise=noise)
    drive = DRIVERS[driver](env)
    observation, state = env.reset(list(range(REPORTS_FROM, REPORTS_FROM + episodes))), None
    driving, off = np.ones(episodes, dtype=bool), np.zeros(episodes, dtype=bool)
    time, squares, way, way_asked = np.zeros((4, episodes))
    for _ in range(env.max_episode_steps):
        action, state = drive.predict(observation, state)
        observation, _, terminated, truncated, info = env.step(action)
        off |= driving & terminated
        driving &= ~terminated
        passed = np.where(driving & (env.time > SETTLED_S), info["dt"], 0.0)
        time += passed
        squares += passed * info["lateral_error"] ** 2
        way += np.where(passed > 0, env.progress, 0.0)
        way_asked += passed * env.speed_reference
        driving &= ~truncated
        if not driving.any():
            break
    rms = 1000 * np.sqrt(squares[~off] / time[~off])
    return {
        "RMS, mm": float(np.sqrt((rms**2).mean())),
        "worst, mm": float(rms.max()),
        "off the road, %": 100 * float(off.mean()),
        "way, %": 100 * float(way.sum() / way_asked.sum()),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--episodes", type=int, default=8, help="episodes for each figure of the drones")
    parser.add_argument("--roads", type=int, default=100, help="episodes for each figure of the cars")
    parser.add_argument("--vehicle", choices=VEHICLES, action="append", help="this vehicle only (may be repeated)")
    options = parser.parse_args()

    rows: list[Row] = []
    for vehicle, controller, augmentation in product(options.vehicle or VEHICLES, CONTROLLERS, AUGMENTATIONS):
        for noise in (0.0, 1.0):
            row: Row = {"name": f"{vehicle}-{controller}-{augmentation or 'plain'}{'-noise' if noise else ''}"}
            crashes = 0
            for label, wind in WINDS.items():
                row[label], crashed = tracking_error(
                    controller, augmentation, options.episodes, vehicle=vehicle, wind=wind, noise=noise
                )
                crashes += crashed
            rows.append(row | {"crashed": crashes})
    for (road, env_id), driver, noise in product(ROADS.items(), DRIVERS, (0.0, 1.0)):
        name = f"car-{road}-{driver}{'-noise' if noise else ''}"
        rows.append({"name": name} | driving_error(env_id, driver, noise, options.roads))
    report(rows, options.json)


if __name__ == "__main__":
    main()
