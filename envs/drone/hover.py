"""DroneHover: from any attitude to a standstill over one point, heading along world x."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from ..signals import Signals
from .base import AXES, BODY_RATES, ROTATION, DroneEnv, effort, state_signals
from .looks import draw_ghost
from .physics import rotation

SETPOINT = np.array([0.0, 0.0, 5.0])
"""Where to hover, m: high enough to turn over from upside down."""
SUCCESS_DISTANCE = 0.1
"""Nearer than that the drone is said to hover, m."""

_TERMS = ("position", "heading", "smoothness", "body_rates", "crash")


def _channels(actions: tuple[str, ...]) -> dict[str, float]:
    return {
        **{f"position_error_{a}": 0.5 for a in AXES},
        **{f"velocity_{a}": 2.0 for a in AXES},
        **dict.fromkeys(ROTATION, 1.0),
        **dict.fromkeys(BODY_RATES, 4.0),
        **{f"previous_action_{a}": 1.0 for a in actions},
    }


def _signals(actions: tuple[str, ...]) -> Signals:
    return state_signals(actions, {f"velocity_{a}": f"position_error_{a}" for a in AXES})


class DroneHover(DroneEnv):
    """A quadrotor thrown into the air in any attitude comes to a standstill over one point, heading along world x.

    Observation (22, SI units, world frame unless said): position error (state minus setpoint), velocity, attitude as the
    rotation matrix from body to world (row-major), body rates (body frame) and the previous action. An accelerometer and
    a clock add their channels.

    Action: see `DroneEnv`. By default collective thrust and body rates.

    Reward: 0.45 exp(-e / 6 cm) + 0.45 exp(-e / 1 m) + 0.1 exp(-|heading| / 0.5 rad), less 0.04 |change of action|² and
    0.004 |body rates|² (capped at 0.4); -5 on a crash.

    An episode starts with an attitude uniform over all rotations, 0.5 m off the setpoint, at 1 m/s and turning with 1 rad/s
    (one standard deviation per axis).

    Terminated: the drone touches the floor, or is further than `crash_distance` from the setpoint.
    Truncated: after `episode_s`. `info["success"]`: within 10 cm of the setpoint.

    Args:
        num_envs: simulations in the batch.
        crash_distance: m.
        episode_s: time limit, s.
        shared: what all drone tasks share; see `DroneEnv`.

    Raises:
        ValueError: an argument is out of range.
    """

    id = "undrift/DroneHover-v0"

    def __init__(
        self, num_envs: int = 1, *, crash_distance: float = 6.0, episode_s: float = 8.0, **shared: Any
    ) -> None:
        if not crash_distance > 0:
            raise ValueError(f"crash_distance is {crash_distance}: give a distance in m above 0.")
        super().__init__(
            num_envs,
            channels=_channels,
            signals=_signals,
            task={"crash_distance": crash_distance},
            episode_s=episode_s,
            **shared,
        )
        self.crash_distance = crash_distance

    def draw(self, canvas: Canvas, index: int) -> None:
        super().draw(canvas, index)
        draw_ghost(canvas, self.vehicle, self.qpos[index], SETPOINT)

    def _start(self, index: int, rng: np.random.Generator) -> None:
        # a normalised Gaussian quaternion is uniform over all rotations
        offset, velocity, rates = rng.normal(0.0, [[0.5, 1.0, 1.0]] * 3).T
        self.place(index, SETPOINT + offset, velocity, rng.normal(size=4), rates)

    def _observe_task(self, ids: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
        seen = truth[:, :18] + error[:, :18]
        seen[:, :3] -= SETPOINT
        return np.concatenate([seen, self.action[ids]], axis=1, dtype=np.float32)

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        n = self.num_envs
        error, terms, crashed = np.empty(n), np.empty((n, len(_TERMS))), np.empty(n, dtype=np.bool_)
        _score(
            self.qpos,
            self.qvel,
            SETPOINT,
            self.action,
            self.action_before,
            self.contact,
            self.crash_distance,
            error,
            terms,
            crashed,
        )
        info = {
            "position_error": error,
            "reference_position": np.tile(SETPOINT, (n, 1)),
            "success": error < SUCCESS_DISTANCE,
        }
        return self._scored(_TERMS, terms, crashed, info)


@njit(cache=True)
def _score(
    qpos: np.ndarray,
    qvel: np.ndarray,
    setpoint: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    contact: np.ndarray,
    crash_distance: float,
    error: np.ndarray,
    terms: np.ndarray,
    crashed: np.ndarray,
) -> None:
    attitude = np.empty(9)
    for n in range(qpos.shape[0]):
        squared = 0.0
        for axis in range(3):
            squared += (qpos[n, axis] - setpoint[axis]) ** 2
        error[n] = np.sqrt(squared)
        rotation(qpos[n], attitude)
        # A simulation that diverges has crashed as well: no comparison with NaN is true.
        crashed[n] = contact[n] or not error[n] <= crash_distance
        terms[n, 0] = 0.45 * tolerance(error[n], 0.06) + 0.45 * tolerance(error[n], 1.0)
        terms[n, 1] = 0.1 * tolerance(np.arctan2(attitude[3], attitude[0]), 0.5)
        terms[n, 2], terms[n, 3] = effort(action[n], action_before[n], qvel[n, 3:])
        terms[n, 4] = -5.0 if crashed[n] else 0.0
