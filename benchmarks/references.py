"""How well the committed policies solve the tasks they were trained for: nominal world, report seeds, frozen.

Those trained under random shifts fly once more under these.

An episode is solved if its goal is met when it ends (`info["success"]`, which each task's page defines) without a crash on
the way. A task is solved if at least 90 % of the episodes are.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _report import Row, arguments, report

from undrift.agents import Run
from undrift.agents.evaluation.seeds import REPORTS_FROM
from undrift.agents.evaluation.statistics import wilson
from undrift.envs import make_batch
from undrift.envs.shifts import shift_from_dict

RUNS = (
    "reference-hover-s0",
    "reference-gates-s0",
    "reference-reach-s0",
    "reference-s0",
    "reference-s1",
    "reference-s2",
    "reference-randomised-s0",
    "reference-car-track-s0",
    "reference-car-track-s1",
    "reference-car-track-s2",
    "reference-car-track-governed-s0",
    "reference-car-track-governed-s1",
    "reference-car-track-governed-s2",
    "reference-car-track-randomised-s0",
    "reference-car-lane-s0",
    "reference-car-lidar-s0",
    "reference-car-traffic-s0",
)
EPISODES = 100


def fly(run: Run, randomised: bool) -> Row:
    shifts = [shift_from_dict(values) for values in run.config["recipe"]["randomised"]] if randomised else []
    env = make_batch(run.env_id, EPISODES, shifts=shifts)
    controller = run.controller("frozen")
    controller.reset(EPISODES)
    observation = env.reset(list(range(REPORTS_FROM, REPORTS_FROM + EPISODES)))
    crashed, errors = np.zeros(EPISODES, dtype=bool), []
    for _ in range(env.max_episode_steps):
        observation, reward, terminated, truncated, info = env.step(controller.act(observation, env.step_duration))
        controller.learn(observation, reward, terminated, truncated)
        crashed |= terminated
        errors.append(info["position_error"])
    solved = info["success"] & ~crashed
    share = wilson(int(solved.sum()), EPISODES)
    settled = np.array(errors)[round(2.0 / env.dt) :, ~crashed]
    return {
        "name": run.name + (" randomised" if randomised else ""),
        "task": run.env_id,
        "solved_percent": 100 * share.estimate,
        "solved_low": 100 * share.low,
        "solved_high": 100 * share.high,
        "crashed": int(crashed.sum()),
        "final_error_cm": 100 * float(np.median(settled[-1])),
        "rmse_after_2s_cm": 100 * float(np.sqrt(np.mean(settled**2))),
        "rmse_median_cm": 100 * float(np.median(np.sqrt(np.mean(settled**2, axis=0)))),
        "trained_steps": run.config["recipe"]["total_timesteps"],
    }


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    runs = [Run.load(name) for name in RUNS]
    rows = [fly(run, randomised=False) for run in runs]
    rows += [fly(run, randomised=True) for run in runs if run.config["recipe"].get("randomised")]
    report(rows, options.json)


if __name__ == "__main__":
    main()
