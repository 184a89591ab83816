"""Time of one control step of one vehicle: policy and adapter, `act` and `learn`, in a closed loop under wind.

A drone, and for the adapter `car` a car.

The rows are flown in turn, round by round: what slows the machine for a while slows them alike. `p50_us` and `p99_us` are by the
clock, whatever interrupts the process included. Two columns tell what of that is the machine's. Each row flies the same flight in
each round, so that step k does the same in all of them: `steps_p99_us` is the p99 over the steps, each by the median of its
repetitions, and keeps what is always slow. `machine_p99_us` is the clock's p99 of a busy loop that needs no memory and takes as long as
the row's median, run after each step.
"""

from __future__ import annotations

import time

import numba
import numpy as np
from _report import Row, arguments, report

from undrift import envs
from undrift.agents.adaptation import ADAPTERS
from undrift.agents.run import Run

ROUNDS = 10
WARM_UP = 50
"""Steps at the beginning of a round that are not counted: another row's code and weights are in the caches."""


@numba.njit
def busy(loops: int) -> int:
    """Nothing but time; each loop waits for the last one."""
    x = 1
    for _ in range(loops):
        x = (x * 25214903917 + 11) ^ (x >> 7)
    return x


def busy_loops_per_us() -> float:
    """How many loops of `busy` take a microsecond, when nothing interrupts them."""
    loops = 10_000
    times = []
    for _ in range(100):
        begin = time.perf_counter()
        busy(loops)
        times.append(1e6 * (time.perf_counter() - begin))
    return loops / min(times)


def steps_us(run: Run, adapter: str, steps: int, loops: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds [steps] of each control step, without the environment's share, and of `busy` after it."""
    env = envs.make_batch(run.env_id, 1, seed=0, shifts=(envs.Wind(speed=6.0),))
    controller = run.controller(adapter)
    observation = env.reset()
    controller.reset(1)
    times, dt, clock = np.empty((WARM_UP + steps, 5)), env.dt, time.perf_counter
    for step in range(WARM_UP + steps):
        seen = clock()
        action = controller.act(observation, dt)
        acted = clock()
        observation, reward, terminated, truncated, _ = env.step(action)
        followed = clock()
        controller.learn(observation, reward, terminated, truncated)
        learned = clock()
        busy(loops)
        times[step] = seen, acted, followed, learned, clock()
        if terminated[0] or truncated[0]:
            observation = env.reset()
            controller.reset(1)
    act, _, learn, waited = 1e6 * np.diff(times[WARM_UP:]).T
    return act + learn, waited


def figures(control: np.ndarray, waited: np.ndarray) -> Row:
    """The columns of one row, from the times [rounds, steps] of its steps and of the busy loop after them."""
    p50, p99 = np.percentile(control, [50, 99])
    steps, machine = np.percentile(np.median(control, axis=0), 99), np.percentile(waited, 99)
    return {"p50_us": float(p50), "p99_us": float(p99), "steps_p99_us": float(steps), "machine_p99_us": float(machine)}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=10000, help="control steps measured for each row")
    parser.add_argument("--run", default="reference", help="run to fly")
    parser.add_argument("--car", default="reference-car-track-governed-s0", help="run that the adapter `car` flies")
    options = parser.parse_args()

    drone, car = Run.load(options.run), Run.load(options.car)
    runs = {adapter: car if adapter == "car" else drone for adapter in ADAPTERS}
    loops, per_us = {}, busy_loops_per_us()
    for adapter, run in runs.items():
        steps_us(run, adapter, 0)  # compiles
        loops[adapter] = int(per_us * np.median(steps_us(run, adapter, 200)[0]))
    each = options.steps // ROUNDS
    rounds = [
        {adapter: steps_us(run, adapter, each, loops[adapter]) for adapter, run in runs.items()} for _ in range(ROUNDS)
    ]
    rows: list[Row] = [
        {"name": adapter, **figures(*np.stack([flown[adapter] for flown in rounds], axis=1))} for adapter in runs
    ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
