"""Time of one control step of one vehicle: policy and adapter, `act` and `learn`, in a closed loop under wind.

A drone, and for the adapter `car` a car.

The rows are flown in turn, some steps each, round by round: what slows the machine for a while slows them alike.
`p50_us` and `p99_us` are by the clock, whatever slows the machine included. A machine shared with others is slow in bursts, which
the environment's steps show too: `env_p99` is their p99 over their median, and `steady_p99_us` the p99 of the control steps each
divided by how much longer than its median the environment's step within it took.
"""

from __future__ import annotations

import time

import numpy as np
from _report import Row, arguments, report

from undrift import envs
from undrift.agents.adaptation import ADAPTERS
from undrift.agents.run import Run

ROUNDS = 10
WARM_UP = 50
"""Steps at the beginning of a round that are not counted: another row's code and weights are in the caches."""


def control_steps_us(run: Run, adapter: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds [steps] of each control step, without the environment's share, and of the environment's step within it."""
    env = envs.make_batch(run.env_id, 1, seed=0, shifts=(envs.Wind(speed=6.0),))
    controller = run.controller(adapter)
    observation = env.reset()
    controller.reset(1)
    times, dt, clock = np.empty((WARM_UP + steps, 4)), env.dt, time.perf_counter
    for step in range(WARM_UP + steps):
        seen = clock()
        action = controller.act(observation, dt)
        acted = clock()
        observation, reward, terminated, truncated, _ = env.step(action)
        followed = clock()
        controller.learn(observation, reward, terminated, truncated)
        times[step] = seen, acted, followed, clock()
        if terminated[0] or truncated[0]:
            observation = env.reset()
            controller.reset(1)
    act, env_step, learn = 1e6 * np.diff(times[WARM_UP:]).T
    return act + learn, env_step


def figures(control: np.ndarray, env_step: np.ndarray) -> Row:
    """The columns of one row, from the times of its steps."""
    p50, p99 = np.percentile(control, [50, 99])
    slow = env_step / np.median(env_step)
    steady = np.percentile(control / np.maximum(slow, 1.0), 99)
    env_p99 = np.percentile(slow, 99)
    return {"p50_us": float(p50), "p99_us": float(p99), "steady_p99_us": float(steady), "env_p99": float(env_p99)}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=5000, help="control steps measured for each row")
    parser.add_argument("--run", default="reference", help="run to fly")
    parser.add_argument("--car", default="reference-car-track-governed-s0", help="run that the adapter `car` flies")
    options = parser.parse_args()

    drone, car = Run.load(options.run), Run.load(options.car)
    runs = {adapter: car if adapter == "car" else drone for adapter in ADAPTERS}
    for adapter, run in runs.items():
        control_steps_us(run, adapter, 0)  # compiles
    rounds = [
        {adapter: control_steps_us(run, adapter, options.steps // ROUNDS) for adapter, run in runs.items()}
        for _ in range(ROUNDS)
    ]
    rows: list[Row] = [
        {"name": adapter, **figures(*np.concatenate([flown[adapter] for flown in rounds], axis=1))} for adapter in runs
    ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
