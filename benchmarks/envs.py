"""Control steps per second of every environment, beside MuJoCo's own step and other simulators of drones and cars.

`outside_mujoco` is the share of the time that is not spent in MuJoCo's step.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import gymnasium
import numpy as np
from _report import Row, arguments, report

from undrift import envs
from undrift.envs.drone.clearance import IN_FREE_FLIGHT
from undrift.envs.registry import ENVIRONMENTS

BATCH = 64
REPEATS = 5

Workload = tuple[Callable[[], bool], Callable[[], object]]
"""A step, which says whether the episode is over, and what begins the next one (not timed)."""


def steps_per_s(workload: Workload, per_call: int, seconds: float) -> float:
    """Best rate over REPEATS stretches of `seconds` in all: other load on the machine only ever slows a stretch."""
    step, reset = workload
    reset()
    step()
    best = 0.0
    for _ in range(REPEATS):
        calls, elapsed = 0, 0.0
        while elapsed < seconds / REPEATS:
            begin = time.perf_counter()
            over = step()
            elapsed += time.perf_counter() - begin
            calls += 1
            if over:
                reset()
        best = max(best, calls * per_call / elapsed)
    return best


def own(env_id: str, seconds: float) -> list[Row]:
    """The rows of one of our environments: a batch on one thread and on two, and a single one."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", env_id.removeprefix("undrift/").removesuffix("-v0")).lower()
    rows = []
    for threads, suffix in ((1, "batch64-1thread"), (2, "batch64-2threads")):
        env = envs.make_batch(env_id, BATCH, seed=0, threads=threads)
        rate = steps_per_s(as_trained(env), BATCH, seconds)
        rows.append({"name": f"{name}-{suffix}", "steps_per_s": rate, "outside_mujoco": outside_mujoco(env, seconds)})
    single = gymnasium.make(f"undrift.envs:{env_id}", disable_env_checker=True)
    rate = steps_per_s(one(single), 1, seconds)
    share = outside_mujoco(single.unwrapped.batch_env, seconds)
    return [*rows, {"name": f"{name}-single", "steps_per_s": rate, "outside_mujoco": share}]


def as_trained(env: envs.BatchEnv) -> Workload:
    """Steps under small actions; the resets of the simulations that end are part of the step."""
    actions = np.random.default_rng(0).uniform(-0.2, 0.2, (env.num_envs, len(env.action_names)))

    def step() -> bool:
        _, _, terminated, truncated, _ = env.step(actions)
        done = np.flatnonzero(terminated | truncated)
        if done.size:
            env.reset(ids=done)
        return False

    return step, env.reset


def outside_mujoco(env: envs.BatchEnv, seconds: float) -> float:
    """Share of the time of `as_trained` that is not spent in MuJoCo's step."""
    (step, reset), mujoco_step, inside = as_trained(env), env.batch.step, 0.0

    def timed(*args: object, **kwargs: object) -> None:
        nonlocal inside
        begin = time.perf_counter()
        mujoco_step(*args, **kwargs)
        inside += time.perf_counter() - begin

    env.batch.step = timed  # type: ignore[method-assign]
    reset()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds / REPEATS:
        step()
    elapsed = time.perf_counter() - begin
    del env.batch.step
    return 1.0 - inside / elapsed


def one(env: gymnasium.Env) -> Workload:
    """One environment through Gymnasium's interface, under a small constant action, or any where actions are numbered."""
    env.action_space.seed(0)
    sampled = env.action_space.sample()
    action = 0.2 * sampled if isinstance(env.action_space, gymnasium.spaces.Box) else sampled

    def step() -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    return step, env.reset


def mujoco_alone(threads: int, flags: int) -> Workload:
    """DroneTrack's model and nothing else: as many physics steps per control step, hovering."""
    env = envs.make_batch("DroneTrack", BATCH, seed=0, threads=threads)
    for index in range(BATCH):
        env.place(index, np.array([0.0, 0.0, 3.0]))
    env.batch.expand("opt.disableflags")[:] = flags

    def step() -> bool:
        env.batch.step(nstep=env.substeps)
        return False

    return step, lambda: None


def gym_pybullet_drones() -> Workload:
    from gym_pybullet_drones.envs.HoverAviary import HoverAviary

    return one(HoverAviary(gui=False))


def pyflyt() -> Workload:
    import PyFlyt.gym_envs  # noqa: F401  registers

    hover = max(name for name in gymnasium.registry if name.startswith("PyFlyt/QuadX-Hover"))
    return one(gymnasium.make(hover, disable_env_checker=True))


def highway(env_id: str) -> Workload:
    """A road of highway-env; its actions are those of its default configuration."""
    import highway_env  # noqa: F401  registers

    return one(gymnasium.make(env_id, disable_env_checker=True))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Bullet prints from C at every reset: send that nowhere."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=5.0, help="measuring time for each row")
    options = parser.parse_args()

    rows = [row for env_id in ENVIRONMENTS for row in own(env_id, options.seconds)]
    for threads, suffix in ((1, "1thread"), (2, "2threads")):
        for flags, world in ((0, "contacts"), (IN_FREE_FLIGHT, "free-flight")):
            rate = steps_per_s(mujoco_alone(threads, flags), BATCH, options.seconds)
            rows.append({"name": f"mujoco-step-alone-{world}-batch64-{suffix}", "steps_per_s": rate})
    skipped = {}
    peers: dict[str, Callable[[], Workload]] = {
        "gym-pybullet-drones": gym_pybullet_drones,
        "pyflyt": pyflyt,
        **{f"highway-env-{env_id}": partial(highway, env_id) for env_id in ("racetrack-v0", "highway-fast-v0")},
    }
    for name, build in peers.items():
        try:
            with quiet():
                rate = steps_per_s(build(), 1, options.seconds)
            rows.append({"name": name, "steps_per_s": rate})
        except ImportError as error:
            skipped[name] = f"not installed ({error})"
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
