"""How closely the reference controllers follow a figure-eight in the winds of Neural-Fly's table, on each vehicle.

2.5 x 1.5 m in 6.28 s (DroneTrack, trajectory="figure_eight"), 50 Hz, body-rate interface: RMS of the position error in
cm over three laps after one to settle, over all episodes. Each episode draws the wind's heading and its own start. The
wind blows from the first step.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from _report import Row, arguments, report

from undrift.envs import make_batch
from undrift.envs.drone.controllers import AUGMENTATIONS, CascadedPID, GeometricController
from undrift.envs.drone.vehicle import VEHICLES
from undrift.envs.drone.wind import ConstantWind, OscillatingWind

LAP_S = 2 * np.pi
LAPS = 3
CONTROLLERS = {"geometric": GeometricController, "pid": CascadedPID}
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


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--episodes", type=int, default=8, help="episodes for each figure")
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
    report(rows, options.json)


if __name__ == "__main__":
    main()
