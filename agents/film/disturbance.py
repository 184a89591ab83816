"""What disturbed a flight, and what the adapter believed of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ...envs import make_batch
from ...envs.driving.base import CarEnv
from ...envs.drone.base import DroneEnv
from ...envs.drone.vehicle import GRAVITY
from ..episode import Episode

AXES = {DroneEnv: ("along x", "along y", "upwards"), CarEnv: ("forwards", "to the left")}
"""Of the linear accelerations, in the order of an environment's rates."""


@dataclass(frozen=True)
class Disturbance:
    """An acceleration that the nominal vehicle would not have had, along one axis, m/s².

    Args:
        axis: its direction in words.
        true: [T] of what happened, less what the nominal vehicle does from the same state under the same action.
        estimate: [T] what the adapter believed it to be.
    """

    axis: str
    true: np.ndarray
    estimate: np.ndarray


def strongest_disturbance(episode: Episode) -> Disturbance | None:
    """The disturbance along the axis in which it was strongest after the shift; None where the adapter estimates none."""
    names = episode.meta.get("estimate_names", [])
    rates = [name for name in names if name.startswith("disturbance/")]
    if not rates:
        return None
    env = make_batch(episode.meta["env_id"], 1, **episode.meta["env_kwargs"])
    axes = next(axes for kind, axes in AXES.items() if isinstance(env, kind))
    true = true_disturbance(episode)[:, : len(axes)]
    after = episode.time > (episode.onset_s or 0.0)
    strongest = int(np.abs(np.median(true[after if after.any() else slice(None)], axis=0)).argmax())
    believed = episode.estimate[:, names.index(rates[0]) + strongest].astype(float)
    if "thrust effectiveness" in names and isinstance(env, DroneEnv):
        believed = believed + _lost_thrust(episode, env)[:, strongest]
    return Disturbance(axes[strongest], true[:, strongest], believed)


def true_disturbance(episode: Episode) -> np.ndarray:
    """[T, R] acceleration of every rate, in the order of the environment's: what happened less what the nominal vehicle does.

    The nominal vehicle takes each recorded control step by itself: from the recorded state before it, under the recorded
    action, without shifts, in still air. Its actuators are those of its own steps before.
    """
    meta = episode.meta
    nominal = make_batch(meta["env_id"], 1, **meta["env_kwargs"])
    nominal.reset([meta["seed"]])
    healthy = {"wind": np.zeros(3), "payload": 0.0, "motor_effectiveness": 1.0}
    predicted = np.empty(episode.qvel.shape)
    began = np.concatenate([[0.0], episode.time[:-1]])
    for k, action in enumerate(episode.action):
        if k > 0:
            before = {name: array[k - 1] for name, array in episode.scene.items()}
            state = {"qpos": episode.qpos[k - 1], "qvel": episode.qvel[k - 1]}
            nominal.recall(began[k - 1], began[k], before | state | healthy)
        nominal.step(action[None])
        predicted[k] = nominal.qvel[0]
    acceleration = (episode.qvel - predicted) / (episode.time - began)[:, None]
    if isinstance(nominal, CarEnv):
        cosine, sine = np.cos(episode.qpos[:, 2]), np.sin(episode.qpos[:, 2])
        x, y = acceleration[:, 0].copy(), acceleration[:, 1].copy()
        acceleration[:, 0], acceleration[:, 1] = cosine * x + sine * y, cosine * y - sine * x
    return acceleration


def _lost_thrust(episode: Episode, env: DroneEnv) -> np.ndarray:
    """[T, 3] the acceleration that `DroneCompensator` holds for lost thrust, rho a_T b, and takes from its disturbance."""
    rho = episode.estimate[:, episode.meta["estimate_names"].index("thrust effectiveness")]
    thrust = GRAVITY * (1 + env.vehicle.thrust_range * episode.action[:, 0])
    up = Rotation.from_quat(episode.qpos[:, 3:7], scalar_first=True).as_matrix()[:, :, 2]
    return (rho * thrust)[:, None] * up
