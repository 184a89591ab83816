"""How long a picture of each task takes: chase and top camera at 640 x 480, first-person camera at 64 x 64.

Pictures only, the steps between them are not counted. `cpu` is the time of all threads of the process, what a picture
takes while others load the machine as well; `wall` and `fps` are what a user waits.
"""

from __future__ import annotations

import re
import time

import gymnasium
import numpy as np
from _report import Row, arguments, report

from undrift.envs import ENVIRONMENTS, Wind
from undrift.envs.rendering import CAMERAS


def measure(env_id: str, camera: str, pictures: int) -> Row:
    env = gymnasium.make(env_id, render_mode="rgb_array", camera_name=camera, shifts=(Wind(),))
    env.reset(seed=0)
    env.render()
    wall, cpu = np.zeros(pictures), np.zeros(pictures)
    for k in range(pictures):
        if any(env.step(np.zeros(env.action_space.shape, dtype=np.float32))[2:4]):
            env.reset()
        wall[k], cpu[k] = -time.perf_counter(), -time.process_time()
        env.render()
        wall[k] += time.perf_counter()
        cpu[k] += time.process_time()
    env.close()
    task = re.sub("(?<=[a-z])(?=[A-Z])", "-", env_id.removeprefix("undrift/").removesuffix("-v0")).lower()
    median = float(np.median(wall))
    return {
        "name": f"{task}-{camera}",
        "wall ms": 1e3 * median,
        "cpu ms": 1e3 * float(np.median(cpu)),
        "fps": 1 / median,
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--pictures", type=int, default=100, help="pictures for each figure, of which the median is taken"
    )
    options = parser.parse_args()
    report([measure(env_id, camera, options.pictures) for env_id in ENVIRONMENTS for camera in CAMERAS], options.json)


if __name__ == "__main__":
    main()
