"""Control steps per second of the environments, beside MuJoCo's own step and other drone simulators. One thread."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
from _report import Row, arguments, report
from mujoco.batch import Batch

from undrift import envs
from undrift.envs.drone import physics

BATCH = 64
CONTROL_HZ = 50
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


def batch_of_64() -> Workload:
    """DroneTrack as training steps it: 64 simulations; the resets of those that end are part of the step."""
    env = envs.make_batch("DroneTrack", BATCH, seed=0)
    actions = np.random.default_rng(0).uniform(-0.2, 0.2, (BATCH, 4))

    def step() -> bool:
        _, _, terminated, truncated, _ = env.step(actions)
        done = np.flatnonzero(terminated | truncated)
        if done.size:
            env.reset(ids=done)
        return False

    return step, env.reset


def one(env: gymnasium.Env) -> Workload:
    """One environment through Gymnasium's interface, under a small constant action."""
    env.action_space.seed(0)
    action = 0.2 * env.action_space.sample()

    def step() -> bool:
        _, _, terminated, truncated, _ = env.step(action)
        return bool(terminated or truncated)

    return step, env.reset


def drone_track() -> Workload:
    return one(gymnasium.make("undrift.envs:undrift/DroneTrack-v0", disable_env_checker=True))


def mujoco_alone() -> Workload:
    """The drone's model and nothing else: as many physics steps per control step, hovering."""
    model = physics.load_model()
    batch = Batch(model, nsim=BATCH, nthread=1)
    batch.bind("ctrl")[:] = 0.25 * physics.MASS * physics.GRAVITY
    substeps = round(1 / (CONTROL_HZ * model.opt.timestep))

    def step() -> bool:
        batch.step(nstep=substeps)
        return False

    return step, lambda: None


def gym_pybullet_drones() -> Workload:
    from gym_pybullet_drones.envs.HoverAviary import HoverAviary

    return one(HoverAviary(gui=False))


def pyflyt() -> Workload:
    import PyFlyt.gym_envs  # noqa: F401  registers

    hover = max(name for name in gymnasium.registry if name.startswith("PyFlyt/QuadX-Hover"))
    return one(gymnasium.make(hover, disable_env_checker=True))


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

    rows: list[Row] = [
        {"name": name, "steps_per_s": steps_per_s(workload, per_call, options.seconds)}
        for name, workload, per_call in (
            ("drone-track-batch64-1thread", batch_of_64(), BATCH),
            ("drone-track-single", drone_track(), 1),
            ("mujoco-step-alone-batch64-1thread", mujoco_alone(), BATCH),
        )
    ]
    skipped = {}
    for name, build in {"gym-pybullet-drones": gym_pybullet_drones, "pyflyt": pyflyt}.items():
        try:
            with quiet():
                rate = steps_per_s(build(), 1, options.seconds)
            rows.append({"name": name, "steps_per_s": rate})
        except ImportError as error:
            skipped[name] = f"not installed ({error})"
    report(rows, options.json, skipped)


if __name__ == "__main__":
    main()
