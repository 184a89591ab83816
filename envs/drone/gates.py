"""DroneGates: fly through gates in order, lap after lap, heading along world x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numba import njit

from ..drawing import Canvas
from ..reward import tolerance
from .base import AXES, BODY_RATES, ROTATION, DroneEnv, effort, state_signals
from .looks import WAY, light_up
from .physics import rotation

RADIUS = 6.0
"""Of the ring on which the gates stand, m."""
HEIGHT = 2.5
"""Of the gates' centres, m."""
BAR = 0.08
"""Thickness of a gate's frame, m."""
ACROSS = 2.0
"""How much more than along the axis of a gate the distance across it counts: a gate is to be met straight."""

_TERMS = ("progress", "gate", "heading", "smoothness", "body_rates", "crash")
_GATE = ("gate", "second_gate")


def _channels(actions: tuple[str, ...]) -> dict[str, float]:
    return {
        **{f"velocity_{a}": 4.0 for a in AXES},
        **dict.fromkeys(ROTATION, 1.0),
        **dict.fromkeys(BODY_RATES, 4.0),
        **{f"previous_action_{a}": 1.0 for a in actions},
        **{
            f"{gate}_{what}_{a}": size
            for gate in _GATE
            for what, size in (("position", 5.0), ("axis", 1.0))
            for a in AXES
        },
    }


class DroneGates(DroneEnv):
    """A quadrotor flies through square gates in order, around a ring, lap after lap, heading along world x.

    Observation (31, SI units, world frame unless said): velocity, attitude as the rotation matrix from body to world
    (row-major), body rates (body frame), the previous action, and of the next gate and the one after it the centre relative
    to the drone and the axis, a unit vector along which to pass. An accelerometer and a clock add their channels.

    Action: see `DroneEnv`. By default collective thrust and body rates.

    Reward: 0.4 x (way made towards the next gate in this step / way at `pace`, within ±1), where distance across the gate's
    axis counts twice, + exp(-offset / 0.5 m) for passing a gate that far from its centre + 0.1 exp(-|heading| / 0.5 rad),
    less 0.04 |change of action|² and 0.004 |body rates|² (capped at 0.4); -5 on a crash.

    An episode draws where the gates stand (each within `displacement` of its place on a ring of 6 m, turned by up to
    0.2 rad from the ring's tangent) and starts on the way from one gate to the next, at up to `pace`, off by 0.3 m, 0.5 m/s,
    0.2 rad of tilt and 0.4 rad of heading (one standard deviation per axis). A gate counts when the drone passes its plane
    along its axis, inside the opening.

    Terminated: the drone touches anything, or is further than 15 m from the next gate. Truncated: after `episode_s`.
    `info["gates"]`: gates passed so far; `info["success"]`: a whole lap of them.

    Args:
        num_envs: simulations in the batch.
        gates: how many there are, 3 to 12.
        opening: inner width and height of a gate, m.
        displacement: the gates stand up to so far from their place on the ring, in each direction, m.
        motion: the gates swing sideways by so much, m, each with a period drawn between 4 and 8 s.
        pace: flying towards the next gate at this speed earns the whole reward, faster no more, m/s.
        episode_s: time limit, s.
        shared: what all drone tasks share; see `DroneEnv`.

    Raises:
        ValueError: an argument is out of range.
    """

    id = "undrift/DroneGates-v0"

    def __init__(
        self,
        num_envs: int = 1,
        *,
        gates: int = 6,
        opening: float = 1.6,
        displacement: float = 0.6,
        motion: float = 0.0,
        pace: float = 4.0,
        episode_s: float = 18.0,
        **shared: Any,
    ) -> None:
        if not 3 <= gates <= 12:
            raise ValueError(f"gates is {gates}: a ring takes 3 to 12.")
        if not 0 <= displacement <= 1.0:
            raise ValueError(f"displacement is {displacement}: the gates stand within 0 to 1 m of their place.")
        if not 0 <= motion <= 1.5:
            raise ValueError(f"motion is {motion}: the gates swing by 0 to 1.5 m.")
        if not pace > 0:
            raise ValueError(f"pace is {pace}: give a speed in m/s above 0.")
        super().__init__(
            num_envs,
            channels=_channels,
            signals=state_signals,
            task={"gates": gates, "opening": opening, "displacement": displacement, "motion": motion, "pace": pace},
            build=lambda spec: _add_gates(spec, gates, opening),
            episode_s=episode_s,
            **shared,
        )
        if not opening >= 3 * self.vehicle.radius:
            raise ValueError(
                f"opening is {opening} m: the {self.vehicle.name} needs 3 times its radius of {self.vehicle.radius:.2f} m."
            )
        self.gates, self.opening, self.displacement = gates, opening, displacement
        self.motion, self.pace = motion, pace
        self.passed = np.zeros(num_envs, dtype=np.int64)
        """[N] gates passed in the episode."""
        self._first = np.zeros(num_envs, dtype=np.int64)
        self.gate_centre = self.batch.bind("mocap_pos")
        """[N, gates, 3] m, world."""
        self.gate_axis = np.zeros((num_envs, gates, 3))
        """[N, gates, 3] unit vectors along which to pass, world."""
        self._quaternion = self.batch.bind("mocap_quat")
        self._home = np.zeros((num_envs, gates, 3))
        self._swing = np.zeros((num_envs, gates, 2))  # angular frequency rad/s, phase rad
        self._before = np.zeros((num_envs, 3))

    @property
    def next_gate(self) -> np.ndarray:
        """[N] the number of the gate to pass next."""
        return (self._first + self.passed) % self.gates

    def record(self) -> dict[str, np.ndarray]:
        return super().record() | {"passed": self.passed.copy()}

    def recall(self, began: float, time: float, moment: Mapping[str, np.ndarray]) -> None:
        super().recall(began, time, moment)
        self.passed[0] = moment["passed"]
        self._move_gates(self._all, np.full(1, began))

    def draw(self, canvas: Canvas, index: int) -> None:
        super().draw(canvas, index)
        next_gate = self.next_gate[index]
        light_up(canvas, f"gate_{next_gate}")
        second = (next_gate + 1) % self.gates
        way = np.stack([self.qpos[index, :3], *self.gate_centre[index, [next_gate, second]]])
        canvas.lines(way, WAY, np.array([1.0, 0.6, 0.3]), 3.0)

    def outlook(self, index: int) -> np.ndarray:
        towards = self.gate_centre[index, self.next_gate[index]] - self.qpos[index, :3]
        return towards[:2] / max(2.0, float(np.linalg.norm(towards)))

    def _start(self, index: int, rng: np.random.Generator) -> None:
        angle = 2 * np.pi * np.arange(self.gates) / self.gates
        ring = np.stack([RADIUS * np.cos(angle), RADIUS * np.sin(angle), np.full(self.gates, HEIGHT)], axis=1)
        self._home[index] = ring + rng.uniform(-self.displacement, self.displacement, ring.shape)
        heading = angle + np.pi / 2 + rng.uniform(-0.2, 0.2, self.gates)
        self.gate_axis[index] = np.stack([np.cos(heading), np.sin(heading), np.zeros(self.gates)], axis=1)
        self._quaternion[index] = _about_z(heading)
        self._swing[index] = np.stack(
            [2 * np.pi / rng.uniform(4, 8, self.gates), rng.uniform(0, 2 * np.pi, self.gates)], 1
        )
        first = int(rng.integers(self.gates))
        self._first[index], self.passed[index] = first, 0
        self._move_gates(np.array([index]), np.zeros(1))
        behind, ahead = self.gate_centre[index, first - 1], self.gate_centre[index, first]
        direction = (ahead - behind) / np.linalg.norm(ahead - behind)
        offset, drift = rng.normal(0.0, [[0.3, 0.5]] * 3).T
        position = behind + rng.uniform(0.1, 0.7) * (ahead - behind) + offset
        tilt = np.array([1.0, *rng.normal(0.0, 0.1, 2), rng.normal(0.0, 0.2)])
        self.place(index, position, rng.uniform(0.0, self.pace) * direction + drift, tilt, rng.normal(0.0, 0.2, 3))
        self._before[index] = position

    def _move_gates(self, ids: np.ndarray, time: np.ndarray) -> None:
        sideways = self.gate_axis[ids][..., [1, 0, 2]] * [-1.0, 1.0, 0.0]
        phase = self._swing[ids, :, 0] * time[:, None] + self._swing[ids, :, 1]
        self.gate_centre[ids] = self._home[ids] + self.motion * np.sin(phase)[..., None] * sideways

    def _advance(self, actions: np.ndarray, lengths: np.ndarray) -> None:
        self._before[:] = self.qpos[:, :3]
        if self.motion:
            self._move_gates(self._all, self.time)
        super()._advance(actions, lengths)

    def _observe_task(self, ids: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
        seen = truth[:, :18] + error[:, :18]
        shown = [seen[:, 3:], self.action[ids]]
        for k in range(2):
            gate = (self.next_gate[ids] + k) % self.gates
            shown += [self.gate_centre[ids, gate] - seen[:, :3], self.gate_axis[ids, gate]]
        return np.concatenate(shown, axis=1, dtype=np.float32)

    def _score(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        n = self.num_envs
        error, terms, crashed = np.empty(n), np.empty((n, len(_TERMS))), np.empty(n, dtype=np.bool_)
        target = self.gate_centre[self._all, self.next_gate]
        _score(
            self.qpos,
            self.qvel,
            self._before,
            target,
            self.gate_axis[self._all, self.next_gate],
            self.opening / 2,
            self.pace * self.step_duration,
            self.action,
            self.action_before,
            self.contact,
            self.passed,
            error,
            terms,
            crashed,
        )
        info = {
            "position_error": error,
            "reference_position": target,
            "gates": self.passed.copy(),
            "success": self.passed >= self.gates,
        }
        return self._scored(_TERMS, terms, crashed, info)


def _add_gates(spec: mujoco.MjSpec, gates: int, opening: float) -> None:
    """Square frames on mocap bodies "gate_0", ...; to be passed along their x."""
    middle, half = opening / 2 + BAR / 2, BAR / 2
    for i in range(gates):
        body = spec.worldbody.add_body(name=f"gate_{i}", mocap=True)
        for side, (y, z) in enumerate(((middle, 0), (-middle, 0), (0, middle), (0, -middle))):
            length = opening / 2 + (BAR if y == 0 else 0)
            size = [half, length, half] if y == 0 else [half, half, length]
            body.add_geom(
                name=f"gate_{i}_{side}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=[0, y, z],
                size=size,
                rgba=[0.95, 0.55, 0.1, 1],
            )


def _about_z(angle: np.ndarray | float) -> np.ndarray:
    half = np.asarray(angle) / 2
    return np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=-1)


@njit(cache=True)
def _distance(offset: np.ndarray, along: float) -> float:
    """From the centre of a gate, where what lies across its axis counts ACROSS times."""
    squared = offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2
    return np.sqrt(along**2 + ACROSS**2 * max(squared - along**2, 0.0))


@njit(cache=True)
def _score(
    qpos: np.ndarray,
    qvel: np.ndarray,
    before: np.ndarray,
    centre: np.ndarray,
    axis: np.ndarray,
    half: float,
    expected: np.ndarray,
    action: np.ndarray,
    action_before: np.ndarray,
    contact: np.ndarray,
    passed: np.ndarray,
    error: np.ndarray,
    terms: np.ndarray,
    crashed: np.ndarray,
) -> None:
    attitude = np.empty(9)
    for n in range(qpos.shape[0]):
        then, now = before[n] - centre[n], qpos[n, :3] - centre[n]
        along_then = then[0] * axis[n, 0] + then[1] * axis[n, 1]
        along_now = now[0] * axis[n, 0] + now[1] * axis[n, 1]
        error[n] = np.sqrt(now[0] ** 2 + now[1] ** 2 + now[2] ** 2)
        way = _distance(then, along_then) - _distance(now, along_now)
        crashed[n] = contact[n] or not error[n] <= 15.0
        terms[n, 0] = 0.4 * min(max(way / expected[n], -1.0), 1.0)
        terms[n, 1] = 0.0
        if along_then < 0.0 <= along_now:
            share = along_then / (along_then - along_now)
            crossing = then + share * (now - then)
            sideways = crossing[1] * axis[n, 0] - crossing[0] * axis[n, 1]
            if max(abs(sideways), abs(crossing[2])) < half:
                passed[n] += 1
                terms[n, 1] = tolerance(np.sqrt(sideways**2 + crossing[2] ** 2), 0.5)
        rotation(qpos[n], attitude)
        terms[n, 2] = 0.1 * tolerance(np.arctan2(attitude[3], attitude[0]), 0.5)
        terms[n, 3], terms[n, 4] = effort(action[n], action_before[n], qvel[n, 3:])
        terms[n, 5] = -5.0 if crashed[n] else 0.0
