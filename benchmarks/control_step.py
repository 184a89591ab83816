"""Time of one control step of one vehicle: policy and adapter, `act` and `learn`, in a closed loop under wind.

A drone, and for the adapter `car` a car.

`p50_us` and `p99_us` are by the clock, other load on the machine included; `cpu_p99_us` is processor time, without it.
"""

from __future__ import annotations

import time

import numpy as np
from _report import Row, arguments, report

from undrift import envs
from undrift.agents.adaptation import ADAPTERS
from undrift.agents.run import Run


def control_steps_us(run: Run, adapter: str, steps: int) -> np.ndarray:
    """Microseconds of each control step, without the environment's share: by the clock and of processor, [steps, 2]."""
    env = envs.make_batch(run.env_id, 1, seed=0, shifts=(envs.Wind(speed=6.0),))
    controller = run.controller(adapter)
    observation = env.reset()
    controller.reset(1)
    times = np.empty((steps, 4, 2))
    for step in range(steps):
        times[step, 0] = now()
        action = controller.act(observation, env.dt)
        times[step, 1] = now()
        observation, reward, terminated, truncated, _ = env.step(action)
        times[step, 2] = now()
        controller.learn(observation, reward, terminated, truncated)
        times[step, 3] = now()
        if terminated[0] or truncated[0]:
            observation = env.reset()
            controller.reset(1)
    return 1e6 * (times[:, 1] - times[:, 0] + times[:, 3] - times[:, 2])


def now() -> tuple[float, float]:
    """Seconds: of the clock, and of processor time that this thread was given."""
    return time.perf_counter(), time.thread_time()


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=5000, help="control steps measured for each row")
    parser.add_argument("--run", default="reference", help="run to fly")
    parser.add_argument("--car", default="reference-car-track-governed-s0", help="run that the adapter `car` flies")
    options = parser.parse_args()

    drone, car = Run.load(options.run), Run.load(options.car)
    rows: list[Row] = []
    for adapter in ADAPTERS:
        run = car if adapter == "car" else drone
        control_steps_us(run, adapter, 100)  # compiles, fills the caches
        (p50, _), (p99, cpu_p99) = np.percentile(control_steps_us(run, adapter, options.steps), [50, 99], axis=0)
        rows.append({"name": adapter, "p50_us": float(p50), "p99_us": float(p99), "cpu_p99_us": float(cpu_p99)})
    report(rows, options.json)


if __name__ == "__main__":
    main()
