"""DroneTrack: follow a trajectory in three axes, heading along world x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from ..signals import Signals
from .base import AXES, BODY_RATES, ROTATION, DroneEnv, effort
from .looks import WAY, draw_ghost
from .physics import rotation
from .trajectory import Waypoints, make_trajectory

PREVIEW_S = np.array([0.15, 0.30, 0.60])
"""The reference is shown this far ahead, s."""
DRAWN_S = 2.0
"""Pictures show the reference this far behind and ahead, s."""

SUCCESS_DISTANCE = 0.05
"""Nearer than that to its reference the drone is said to follow it, m."""

_TERMS = ("tracking", "heading", "smoothness", "body_rates", "crash")


def _channels(actions: tuple[str, ...]) -> dict[str, float]:
    return {
        **{f"position_error_{a}": 0.5 for a in AXES},
        **{f"velocity_error_{a}": 1.4 for a in AXES},
        **dict.fromkeys(ROTATION, 1.0),
        **dict.fromkeys(BODY_RATES, 4.0),
        **{f"previous_action_{a}": 1.0 for a in actions},
        **{f"reference_velocity_{a}": 3.0 for a in AXES},
        **{f"preview_{s:.2f}_{a}": 1.0 for s in PREVIEW_S for a in AXES},
    }


def _signals(actions: tuple[str, ...]) -> Signals:
    return Signals(
        rates={
            **{f"velocity_{a}": (f"velocity_error_{a}", f"reference_velocity_{a}") for a in AXES},
            **{channel: (channel,) for channel in BODY_RATES},
        },
        context=ROTATION,
        tracking={f"velocity_{a}": f"position_error_{a}" for a in AXES},
        preview=tuple((float(s), tuple(f"preview_{s:.2f}_{a}" for a in AXES)) for s in PREVIEW_S),
        previous_action=tuple(f"previous_action_{a}" for a in actions),
        # The share s of the way back, at sqrt(s) of the speed, takes the same acceleration to stop.
        demand={
            **{f"position_error_{a}": ("", 1.0) for a in AXES},
            **{f"velocity_error_{a}": ("", 0.5) for a in AXES},
        },
    )


class DroneTrack(DroneEnv):
    """A quadrotor follows a trajectory under sensor noise, heading along world x.

    Observation (34, SI units, world frame unless said): position and velocity error (state minus reference), attitude
    as the rotation matrix from body to world (row-major), body rates (body frame), the previous action, reference
    velocity, and the reference position 0.15, 0.30 and 0.60 s ahead relative to the present one. The default sensors
    add white noise: 1 cm, 3 cm/s, 0.01 per matrix entry, 0.05 rad/s. An accelerometer and a clock add their channels.

    Action: see `DroneEnv`. By default collective thrust (0 hovers the nominal mass, 1 is 2.5 times its weight) and body
    rates (8, 8 and 3 rad/s at 1), tracked by a 250 Hz inner loop.

    Reward: 0.45 exp(-e / 6 cm) + 0.45 exp(-e / 40 cm) + 0.1 exp(-|heading| / 0.5 rad), less 0.04 |change of action|²
    and 0.004 |body rates|² (capped at 0.4); -5 on a crash.

    An episode starts off its reference: by 0.3 m, 0.4 m/s, 0.2 rad of tilt, 0.4 rad of heading and 0.2 rad/s (one
    standard deviation per axis), so that the way back is part of what is learned.

    Terminated: further than `crash_distance` from the reference, or tipped more than 107° from upright.
    Truncated: after `episode_s`. `info["success"]`: within 5 cm of the reference.

    Args:
        num_envs: simulations in the batch.
        trajectory: "random" (sums of sinusoids, up to 4 m/s and 6 m/s², another in each episode), "figure_eight"
            (2.5 x 1.5 m in 6.28 s), "spiral", or `Waypoints` (or a mapping of its fields).
        crash_distance: m.
        shared: what all drone tasks share; see `DroneEnv`.

    Raises:
        ValueError: an argument is out of range, or the vehicle cannot fly the trajectory.
    """

    id = "undrift/DroneTrack-v0"

    def __init__(
        self,
        num_envs: int = 1,
        *,
        trajectory: str | Waypoints | Mapping[str, Any] = "random",
        crash_distance: float = 2.5,
        **shared: Any,
    ) -> None:
        if not crash_distance > 0:
            raise ValueError(f"crash_distance is {crash_distance}: give a distance in m above 0.")
        super().__init__(
            num_envs,
            channels=_channels,
            signals=_signals,
            task={
                "trajectory": asdict(trajectory) if isinstance(trajectory, Waypoints) else trajectory,
                "crash_distance": crash_distance,
            },
            **shared,
        )
        self.trajectory = make_trajectory(trajectory, num_envs, self.vehicle)
        self.crash_distance = crash_distance

    def draw(self, canvas: Canvas, index: int) -> None:
        super().draw(canvas, index)
        now = self.time[[index]]
        around = np.linspace(-min(now[0], DRAWN_S), DRAWN_S, 81)
        points, _ = self.trajectory.reference(np.array([index]), now, around)
        canvas.lines(points[0, 1:], WAY, 1.0 - np.abs(around) / DRAWN_S, 3.0)
        draw_ghost(canvas, self.vehicle, self.qpos[index], points[0, 0])

    def _start(self, index: int, rng: np.random.Generator) -> None:
        self.trajectory.start(index, rng)
        points, speed = self.trajectory.reference(np.array([index]), np.zeros(1), np.zeros(0))
        offset, drift = rng.normal(0.0, [[0.3, 0.4]] * 3).T
        tilt = np.array([1.0, *rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.2)])
        self.place(index, points[0, 0] + offset, speed[0] + drift, tilt, rng.normal(0.0, 0.2, 3))

    def _observe_task(self, ids: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
        points, speed = self.trajectory.reference(ids, self.time[ids], PREVIEW_S)
        observation = np.empty((len(ids), 22 + 3 + 3 * len(PREVIEW_S)), dtype=np.float32)
        _observe(ids, truth, error, points, speed, self.action, observation)
        return observation

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        n = self.num_envs
        points, _ = self.trajectory.reference(self._all, self.time, np.zeros(0))
        reference = points[:, 0]
        error, terms, crashed = np.empty(n), np.empty((n, len(_TERMS))), np.empty(n, dtype=np.bool_)
        _score(
            self.qpos, self.qvel, reference, self.action, self.action_before, self.crash_distance, error, terms, crashed
        )
        info = {
            "position_error": error,
            "reference_position": reference,
            "success": error < SUCCESS_DISTANCE,
        }
        return self._scored(_TERMS, terms, crashed, info)


@njit(cache=True)
def _observe(
    ids: np.ndarray,
    truth: np.ndarray,
    error: np.ndarray,
    points: np.ndarray,
    speed: np.ndarray,
    action: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(ids.shape[0]):
        for axis in range(3):
            here = points[row, 0, axis]
            out[row, axis] = truth[row, axis] - here + error[row, axis]
            out[row, 3 + axis] = truth[row, 3 + axis] - speed[row, axis] + error[row, 3 + axis]
            out[row, 22 + axis] = speed[row, axis]
            for k in range(1, points.shape[1]):
                out[row, 22 + 3 * k + axis] = points[row, k, axis] - here
        for j in range(6, 18):
            out[row, j] = truth[row, j] + error[row, j]
        for j in range(4):
            out[row, 18 + j] = action[ids[row], j]


@njit(cache=True)
def _score(
    qpos: np.ndarray,
    qvel: np.ndarray,
    reference: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    crash_distance: float,
    error: np.ndarray,
    terms: np.ndarray,
    crashed: np.ndarray,
) -> None:
    attitude = np.empty(9)
    for n in range(qpos.shape[0]):
        squared = 0.0
        for axis in range(3):
            squared += (qpos[n, axis] - reference[n, axis]) ** 2
        error[n] = np.sqrt(squared)
        rotation(qpos[n], attitude)
        heading = np.arctan2(attitude[3], attitude[0])
        # A simulation that diverges has crashed as well: no comparison with NaN is true.
        crashed[n] = not (error[n] <= crash_distance and attitude[8] >= -0.3)
        terms[n, 0] = 0.45 * tolerance(error[n], 0.06) + 0.45 * tolerance(error[n], 0.4)
        terms[n, 1] = 0.1 * tolerance(heading, 0.5)
        terms[n, 2], terms[n, 3] = effort(action[n], action_before[n], qvel[n, 3:])
        terms[n, 4] = -5.0 if crashed[n] else 0.0
