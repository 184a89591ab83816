"""DroneReach: fly to a target among pillars, seen by range finders."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from .base import AXES, BODY_RATES, ROTATION, DroneEnv, effort, state_signals
from .looks import GOAL, draw_ghost
from .physics import rotation

PILLAR_RADIUS = 0.3
"""m."""
CEILING = 4.0
"""Nobody flies over the pillars: the task is lost above this height, m."""
RANGE = 8.0
"""Of the range finders, m: what is further away reads as this."""
SUCCESS_DISTANCE = 0.3
"""Nearer than that the target is reached, m."""

_HALF_LENGTH, _HALF_WIDTH = 6.0, 4.0  # of the field, m
_HEIGHT = 2.0  # of start and target, m
_TERMS = ("position", "heading", "clearance", "smoothness", "body_rates", "crash")


class DroneReach(DroneEnv):
    """A quadrotor flies through a field of pillars, which it sees by range finders only, to a target and stays there.

    Observation (22 + `rays`, SI units, world frame unless said): position error (state minus target), velocity, attitude as
    the rotation matrix from body to world (row-major), body rates (body frame), the previous action, and the distances to
    what is nearest in `rays` level directions, counterclockwise from straight ahead, at most 8 m. The range finders are
    levelled and read without noise. An accelerometer and a clock add their channels.

    Action: see `DroneEnv`. By default collective thrust and body rates.

    Reward: 0.45 exp(-e / 50 cm) + 0.45 exp(-e / 5 m) + 0.1 exp(-|heading| / 0.5 rad), less 0.5 exp(-gap to the nearest thing
    / 30 cm), 0.04 |change of action|² and 0.004 |body rates|² (capped at 0.4); -5 on a crash.

    An episode draws `pillars` of 0.3 m radius between start and target, 12 m apart, no two closer than 1.5 m (centre to
    centre) and none within 1.5 m of start or target.

    Terminated: the drone touches anything, is higher than 4 m (nobody flies over the pillars), or further than 16 m from
    the target. Truncated: after `episode_s`. `info["success"]`: within 30 cm of the target.

    Args:
        num_envs: simulations in the batch.
        pillars: how many there are, 0 to 20.
        rays: how many range finders, at least 4.
        episode_s: time limit, s.
        shared: what all drone tasks share; see `DroneEnv`.

    Raises:
        ValueError: an argument is out of range.
    """

    id = "undrift/DroneReach-v0"

    def __init__(
        self, num_envs: int = 1, *, pillars: int = 12, rays: int = 24, episode_s: float = 12.0, **shared: Any
    ) -> None:
        if not 0 <= pillars <= 20:
            raise ValueError(f"pillars is {pillars}: the field has room for 0 to 20.")
        if rays < 4:
            raise ValueError(f"rays is {rays}: give at least 4.")

        def channels(actions: tuple[str, ...]) -> dict[str, float]:
            return {
                **{f"position_error_{a}": 1.0 for a in AXES},
                **{f"velocity_{a}": 2.0 for a in AXES},
                **dict.fromkeys(ROTATION, 1.0),
                **dict.fromkeys(BODY_RATES, 4.0),
                **{f"previous_action_{a}": 1.0 for a in actions},
                **{f"range_{k}": 3.0 for k in range(rays)},
            }

        super().__init__(
            num_envs,
            channels=channels,
            # The way to the target leads around pillars: its distance is no error to be held at zero.
            signals=state_signals,
            task={"pillars": pillars, "rays": rays},
            build=lambda spec: _add_pillars(spec, pillars),
            episode_s=episode_s,
            **shared,
        )
        self.pillars, self.rays = pillars, rays
        self.target = np.zeros((num_envs, 3))
        """[N, 3] m."""
        self.pillar_centre = self.batch.bind("mocap_pos")
        """[N, pillars, 3] m, world, on the floor."""
        self._azimuth = 2 * np.pi * np.arange(rays) / rays
        self._body = self.model.body("drone").id

    def draw(self, canvas: Canvas, index: int) -> None:
        super().draw(canvas, index)
        draw_ghost(canvas, self.vehicle, self.qpos[index], self.target[index])
        canvas.lines(self.target[index] * [[1, 1, 0], [1, 1, 1]], GOAL, np.ones(2), 3.0)
        size = [SUCCESS_DISTANCE] * 3
        canvas.shape(mujoco.mjtGeom.mjGEOM_SPHERE, size, self.target[index], np.eye(3), (*GOAL, 0.4)).emission = 0.5

    def _start(self, index: int, rng: np.random.Generator) -> None:
        start = np.array([-_HALF_LENGTH, rng.uniform(-_HALF_WIDTH / 2, _HALF_WIDTH / 2), _HEIGHT])
        self.target[index] = [_HALF_LENGTH, rng.uniform(-_HALF_WIDTH / 2, _HALF_WIDTH / 2), _HEIGHT]
        self.pillar_centre[index] = _draw_pillars(rng, self.pillars, start, self.target[index])
        velocity, rates = rng.normal(0.0, [[0.4, 0.2]] * 3).T
        tilt = np.array([1.0, *rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.2)])
        self.place(index, start, velocity, tilt, rates)

    def ranges(self, ids: np.ndarray) -> np.ndarray:
        """[n, rays] m to the nearest floor or pillar in each level direction from the drone's centre."""
        attitude = self.qpos[ids, 3:7]
        w, x, y, z = attitude.T
        heading = np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
        direction = heading[:, None] + self._azimuth
        rays = np.stack([np.cos(direction), np.sin(direction), np.zeros_like(direction)], axis=2)
        distance, _ = self.batch.ray(self.qpos[ids, None, :3], rays, bodyexclude=self._body, ids=ids)
        return np.where(distance < 0, RANGE, np.minimum(distance, RANGE))

    def _observe_task(self, ids: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
        seen = truth[:, :18] + error[:, :18]
        seen[:, :3] -= self.target[ids]
        return np.concatenate([seen, self.action[ids], self.ranges(ids)], axis=1, dtype=np.float32)

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        n = self.num_envs
        error, terms, crashed = np.empty(n), np.empty((n, len(_TERMS))), np.empty(n, dtype=np.bool_)
        _score(
            self.qpos,
            self.qvel,
            self.target,
            self.clearance() - self.vehicle.radius,
            self.action,
            self.action_before,
            self.contact,
            error,
            terms,
            crashed,
        )
        info = {
            "position_error": error,
            "reference_position": self.target.copy(),
            "success": error < SUCCESS_DISTANCE,
        }
        return self._scored(_TERMS, terms, crashed, info)


def _add_pillars(spec: mujoco.MjSpec, pillars: int) -> None:
    for i in range(pillars):
        body = spec.worldbody.add_body(name=f"pillar_{i}", mocap=True)
        body.add_geom(
            name=f"pillar_{i}",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            pos=[0, 0, CEILING / 2],
            size=[PILLAR_RADIUS, CEILING / 2, 0],
            rgba=[0.78, 0.70, 0.58, 1],
        )


def _draw_pillars(rng: np.random.Generator, pillars: int, start: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where the pillars stand, [pillars, 3] m: one after another at random, where there is room."""
    placed: list[np.ndarray] = []
    taken = [start[:2], target[:2]]
    while len(placed) < pillars:
        place = rng.uniform([-_HALF_LENGTH, -_HALF_WIDTH], [_HALF_LENGTH, _HALF_WIDTH])
        if min(float(np.linalg.norm(place - other)) for other in taken) >= 1.5:
            taken.append(place)
            placed.append(np.array([*place, 0.0]))
    return np.array(placed).reshape(pillars, 3)


@njit(cache=True)
def _score(
    qpos: np.ndarray,
    qvel: np.ndarray,
    target: np.ndarray,
    gap: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    contact: np.ndarray,
    error: np.ndarray,
    terms: np.ndarray,
    crashed: np.ndarray,
) -> None:
    attitude = np.empty(9)
    for n in range(qpos.shape[0]):
        squared = 0.0
        for axis in range(3):
            squared += (qpos[n, axis] - target[n, axis]) ** 2
        error[n] = np.sqrt(squared)
        rotation(qpos[n], attitude)
        crashed[n] = contact[n] or not (error[n] <= 16.0 and qpos[n, 2] <= CEILING)
        terms[n, 0] = 0.45 * tolerance(error[n], 0.5) + 0.45 * tolerance(error[n], 5.0)
        terms[n, 1] = 0.1 * tolerance(np.arctan2(attitude[3], attitude[0]), 0.5)
        terms[n, 2] = -0.5 * tolerance(max(gap[n], 0.0), 0.3)
        terms[n, 3], terms[n, 4] = effort(action[n], action_before[n], qvel[n, 3:])
        terms[n, 5] = -5.0 if crashed[n] else 0.0
