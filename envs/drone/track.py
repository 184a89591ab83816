"""DroneTrack: follow a smooth random trajectory in three axes, heading along world x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from ..reward import tolerance
from ..shift import Shift
from ..signals import Signals
from ..simulation import BatchEnv
from . import physics
from .trajectory import TERMS, draw_trajectory, position, velocity

PREVIEW_S = np.array([0.15, 0.30, 0.60])
"""The reference is shown this far ahead, s."""

# One standard deviation of the sensors' white noise: position m, velocity m/s, attitude matrix, body rates rad/s.
_NOISE = np.array([0.01] * 3 + [0.03] * 3 + [0.01] * 9 + [0.05] * 3)

_AXES = ("x", "y", "z")
_POSITION_ERROR = tuple(f"position_error_{a}" for a in _AXES)
_VELOCITY_ERROR = tuple(f"velocity_error_{a}" for a in _AXES)
_ROTATION = tuple(f"rotation_{a}{b}" for a in _AXES for b in _AXES)
_BODY_RATE = tuple(f"body_rate_{a}" for a in _AXES)
_ACTION = ("thrust", "rate_x", "rate_y", "rate_z")
_PREVIOUS_ACTION = tuple(f"previous_action_{a}" for a in _ACTION)
_REFERENCE_VELOCITY = tuple(f"reference_velocity_{a}" for a in _AXES)
_PREVIEW = tuple(f"preview_{s:.2f}_{a}" for s in PREVIEW_S for a in _AXES)


class DroneTrack(BatchEnv):
    """A quadrotor follows a trajectory of up to 4 m/s and 6 m/s² under sensor noise.

    Observation (34, SI units, world frame unless said): position and velocity error (state minus reference), attitude
    as the rotation matrix from body to world (row-major), body rates (body frame), the previous action, reference
    velocity, and the reference position 0.15, 0.30 and 0.60 s ahead relative to the present one. The sensors add white
    noise: 1 cm, 3 cm/s, 0.01 per matrix entry, 0.05 rad/s.

    Action (4, in [-1, 1]): collective thrust (0 hovers the nominal mass, 1 is 2.5 times its weight) and body rates
    (8, 8 and 3 rad/s at 1), tracked by a 250 Hz inner loop.

    Reward: 0.45 exp(-e / 6 cm) + 0.45 exp(-e / 40 cm) + 0.1 exp(-|heading| / 0.5 rad), less 0.04 |change of action|²
    and 0.004 |body rates|² (capped at 0.4); -5 on a crash.

    An episode starts off its reference: by 0.3 m, 0.4 m/s, 0.2 rad of tilt, 0.4 rad of heading and 0.2 rad/s (one
    standard deviation per axis), so that the way back is part of what is learned.

    Terminated: further than `crash_distance` from the reference, or tipped more than 107° from upright.
    Truncated: after `episode_s`.

    Args:
        num_envs: simulations in the batch.
        seed: of the simulations' random streams; None takes entropy from the system.
        shifts: what changes during each episode.
        episode_s: time limit, s.
        crash_distance: m.
        noise: scale of the sensor noise, 0 turns it off.
        control_hz: control rate; physics runs at 250 Hz.
        threads: MuJoCo's threads for the batch.
    """

    id = "undrift/DroneTrack-v0"
    observation_names = (
        *_POSITION_ERROR,
        *_VELOCITY_ERROR,
        *_ROTATION,
        *_BODY_RATE,
        *_PREVIOUS_ACTION,
        *_REFERENCE_VELOCITY,
        *_PREVIEW,
    )
    action_names = _ACTION
    signals = Signals(
        rates={
            **{f"velocity_{a}": (f"velocity_error_{a}", f"reference_velocity_{a}") for a in _AXES},
            **{channel: (channel,) for channel in _BODY_RATE},
        },
        context=_ROTATION,
        tracking={f"velocity_{a}": f"position_error_{a}" for a in _AXES},
        preview=tuple((float(s), tuple(f"preview_{s:.2f}_{a}" for a in _AXES)) for s in PREVIEW_S),
        previous_action=_PREVIOUS_ACTION,
    )
    observation_scale = np.array(
        [0.5] * 3 + [1.4] * 3 + [1.0] * 9 + [4.0] * 3 + [1.0] * 4 + [3.0] * 3 + [1.0] * 9, dtype=np.float32
    )

    def __init__(
        self,
        num_envs: int = 1,
        *,
        seed: int | None = None,
        shifts: Sequence[Shift] = (),
        episode_s: float = 18.0,
        crash_distance: float = 2.5,
        noise: float = 1.0,
        control_hz: int = 50,
        threads: int = 1,
    ) -> None:
        if not crash_distance > 0:
            raise ValueError(f"crash_distance is {crash_distance}: give a distance in m above 0.")
        if not (np.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise is {noise}: give a scale of at least 0 (1 is the documented noise).")
        kwargs: dict[str, Any] = {
            "episode_s": episode_s,
            "crash_distance": crash_distance,
            "noise": noise,
            "control_hz": control_hz,
        }
        super().__init__(
            physics.load_model(),
            "drone",
            num_envs,
            seed=seed,
            shifts=shifts,
            episode_s=episode_s,
            control_hz=control_hz,
            sensors=len(_NOISE),
            threads=threads,
            kwargs=kwargs,
        )
        self.crash_distance = crash_distance
        self._noise_scale = noise * _NOISE
        self._act, self._ctrl = self.batch.bind("act"), self.batch.bind("ctrl")
        self._applied = self.batch.bind("qfrc_applied")
        self._trajectory = np.zeros((num_envs, 3, 3 * TERMS + 1))
        self._action = np.zeros((num_envs, 4))
        self._action_before = np.zeros((num_envs, 4))

    def _start(self, index: int, rng: np.random.Generator) -> None:
        trajectory = draw_trajectory(rng)
        self._trajectory[index] = trajectory
        for axis in range(3):
            self.qpos[index, axis] = position(trajectory, 0.0, axis) + rng.normal(0.0, 0.3)
            self.qvel[index, axis] = velocity(trajectory, 0.0, axis) + rng.normal(0.0, 0.4)
        quaternion = np.array([1.0, *rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.2)])
        self.qpos[index, 3:7] = quaternion / np.linalg.norm(quaternion)
        self.qvel[index, 3:6] = rng.normal(0.0, 0.2, 3)
        self._act[index] = self._ctrl[index] = 0.25 * physics.MASS * physics.GRAVITY
        self._action[index] = self._action_before[index] = 0.0

    def _advance(self, actions: np.ndarray) -> None:
        self._action_before[:] = self._action
        self._action[:] = actions
        for _ in range(self.substeps):
            physics.drive(actions, self.qvel, self.plant.wind, self._ctrl, self._applied)
            self.batch.step()

    def _observe(self, ids: np.ndarray) -> np.ndarray:
        noise = self._sensor_noise(ids) * self._noise_scale
        observation = np.empty((len(ids), len(self.observation_names)), dtype=np.float32)
        _observe(ids, self.qpos, self.qvel, self.elapsed * self.dt, self._trajectory, self._action, noise, observation)
        return observation

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        n = self.num_envs
        error, reference, terms = np.empty(n), np.empty((n, 3)), np.empty((n, 5))
        crashed = np.empty(n, dtype=np.bool_)
        _score(
            self.qpos,
            self.qvel,
            self.elapsed * self.dt,
            self._trajectory,
            self._action,
            self._action_before,
            self.crash_distance,
            error,
            reference,
            terms,
            crashed,
        )
        info = {"position_error": error, "reference_position": reference}
        for k, name in enumerate(("tracking", "heading", "smoothness", "body_rates", "crash")):
            info[f"reward/{name}"] = terms[:, k]
        return terms.sum(axis=1), crashed, info

    def record(self) -> dict[str, np.ndarray]:
        return {
            "qpos": self.qpos.copy(),
            "wind": self.plant.wind.copy(),
            "payload": self.plant.mass - self.plant.nominal_mass,
            "motor_effectiveness": self.plant.actuator_gain.copy(),
        }


@njit(cache=True)
def _rotation(qpos: np.ndarray, out: np.ndarray) -> None:
    w, x, y, z = qpos[3], qpos[4], qpos[5], qpos[6]
    out[0], out[1], out[2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[3], out[4], out[5] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[6], out[7], out[8] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@njit(cache=True)
def _observe(
    ids: np.ndarray,
    qpos: np.ndarray,
    qvel: np.ndarray,
    time: np.ndarray,
    trajectory: np.ndarray,
    action: np.ndarray,
    noise: np.ndarray,
    out: np.ndarray,
) -> None:
    rotation = np.empty(9)
    for row in range(ids.shape[0]):
        n = ids[row]
        _rotation(qpos[n], rotation)
        for j in range(9):
            out[row, 6 + j] = rotation[j] + noise[row, 6 + j]
        for axis in range(3):
            here = position(trajectory[n], time[n], axis)
            speed = velocity(trajectory[n], time[n], axis)
            out[row, axis] = qpos[n, axis] - here + noise[row, axis]
            out[row, 3 + axis] = qvel[n, axis] - speed + noise[row, 3 + axis]
            out[row, 15 + axis] = qvel[n, 3 + axis] + noise[row, 15 + axis]
            out[row, 22 + axis] = speed
            for k in range(PREVIEW_S.shape[0]):
                out[row, 25 + 3 * k + axis] = position(trajectory[n], time[n] + PREVIEW_S[k], axis) - here
        for j in range(4):
            out[row, 18 + j] = action[n, j]


@njit(cache=True)
def _score(
    qpos: np.ndarray,
    qvel: np.ndarray,
    time: np.ndarray,
    trajectory: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    crash_distance: float,
    error: np.ndarray,
    reference: np.ndarray,
    terms: np.ndarray,
    crashed: np.ndarray,
) -> None:
    rotation = np.empty(9)
    for n in range(qpos.shape[0]):
        squared = 0.0
        for axis in range(3):
            reference[n, axis] = position(trajectory[n], time[n], axis)
            squared += (qpos[n, axis] - reference[n, axis]) ** 2
        error[n] = np.sqrt(squared)
        _rotation(qpos[n], rotation)
        heading = np.arctan2(rotation[3], rotation[0])
        # A simulation that diverges has crashed as well: no comparison with NaN is true.
        crashed[n] = not (error[n] <= crash_distance and rotation[8] >= -0.3)
        change = 0.0
        for j in range(4):
            change += (action[n, j] - action_before[n, j]) ** 2
        rates = qvel[n, 3] ** 2 + qvel[n, 4] ** 2 + qvel[n, 5] ** 2
        terms[n, 0] = 0.45 * tolerance(error[n], 0.06) + 0.45 * tolerance(error[n], 0.4)
        terms[n, 1] = 0.1 * tolerance(heading, 0.5)
        terms[n, 2] = -0.04 * change
        terms[n, 3] = -min(0.004 * rates, 0.4)
        terms[n, 4] = -5.0 if crashed[n] else 0.0
