"""Flights under fixed actions, to see what a shift makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np

from undrift.envs import BatchEnv, Shift, make_batch
from undrift.envs.drone import physics
from undrift.envs.drone.model import drone_spec


def actions(env: BatchEnv, step: int) -> np.ndarray:
    """[N, A] small, the same in every simulation and every environment of as many actions."""
    row = np.random.default_rng(step).uniform(-0.2, 0.2, len(env.action_names))
    return np.tile(row, (env.num_envs, 1))


def observations(task: str, num_envs: int, steps: int, shifts: Sequence[Any] = (), **kwargs: Any) -> np.ndarray:
    """[steps + 1, num_envs, O] float64 of episodes with the seeds 0, 1, ..."""
    env = make_batch(task, num_envs, shifts=shifts, **kwargs)
    seen = [env.reset(list(range(num_envs)))]
    for step in range(steps):
        seen.append(env.step(actions(env, step))[0])
    return np.array(seen, dtype=float)


def error(num_envs: int, steps: int, *shifts: Shift, **kwargs: Any) -> np.ndarray:
    """[steps + 1, num_envs, 18] what sensing shifts add to position, velocity, attitude and body rates of DroneTrack."""
    shifted, plain = (observations("DroneTrack", num_envs, steps, s, **kwargs) for s in (shifts, ()))
    return (shifted - plain)[:, :, :18]


def aloft(*shifts: Shift, **kwargs: Any) -> BatchEnv:
    """One drone whose rotors obey the actions directly, at rest 50 m up, level, at hovering thrust; `shifts` from step 0 on."""
    env = make_batch(
        "DroneTrack", shifts=shifts, **{"interface": "motors", "noise": 0.0, "crash_distance": 1e9} | kwargs
    )
    env.reset([0])
    env.place(0, [0.0, 0.0, 50.0])
    return env


def fly(env: BatchEnv, actions: np.ndarray) -> np.ndarray:
    """Pose [steps, 7] after each of the `actions` [steps, A]."""
    return np.array([[env.step(action[None]), env.qpos[0].copy()][1] for action in actions])


def fly_compiled(edit: Callable[[mujoco.MjSpec], object], actions: np.ndarray) -> np.ndarray:
    """What `fly` gives for a drone `aloft` whose model was changed by `edit` before it was compiled."""
    env = aloft()
    spec = drone_spec(env.vehicle)
    edit(spec)
    model = spec.compile()
    model.opt.timestep = env.model.opt.timestep
    data = mujoco.MjData(model)
    data.qpos[:], data.act[:] = env.qpos[0], env.vehicle.hover_thrust
    vehicle, plant, still = physics.constants(env.vehicle), env.plant.values, np.zeros((1, 3))
    poses = []
    for action in actions:
        for _ in range(env.substeps):
            physics.drive(
                np.array([0]), physics.MOTORS, action[None], vehicle, data.qpos[None], data.qvel[None], data.act[None],
                plant, still, np.ones(1), model.opt.timestep, False, False, data.ctrl[None], data.qfrc_applied[None],
            )  # fmt: skip
            mujoco.mj_step(model, data)
        poses.append(data.qpos.copy())
    return np.array(poses)
