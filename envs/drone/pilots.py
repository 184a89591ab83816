"""Pilots: experts for the tasks that show no reference to follow. They see the true state of the environment.

A pilot follows a field of velocities, by the geometric controller with no position to hold:

    F = m (-drag(v) - k_v (v - v*(state)) + augmentation + g)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from ..reference import batch_of
from .base import DroneEnv
from .controllers import Gains, GeometricController, Reader, Seen
from .gates import DroneGates
from .reach import PILLAR_RADIUS, DroneReach

Task = TypeVar("Task", bound=DroneEnv)


class Pilot(GeometricController, Generic[Task]):
    """A velocity for every simulation of the environment, flown by `GeometricController`.

    Privileged: `predict` looks at the environment itself, so it answers for all its simulations, in their present state;
    of the observation only the number of rows counts.

    Args:
        env: the task, or its Gymnasium or vectorised face. Interface "rates" or "motors".
        pace: speed where nothing is in the way, m/s, above 0.
        augmentation: None, "integral" or "l1".
        gains: None takes `Gains.of` the vehicle.

    Raises:
        ValueError: another task, a pace that is not above 0, or what `GeometricController` refuses.
    """

    task: type[Task]

    def __init__(self, env: Any, pace: float, augmentation: str | None = None, gains: Gains | None = None) -> None:
        if not pace > 0:
            raise ValueError(f"pace is {pace}: give a speed in m/s above 0.")
        super().__init__(env, augmentation, gains)
        self.pace = pace

    @abstractmethod
    def velocity(self, env: Task) -> np.ndarray:
        """The velocity to fly with now, [N, 3] m/s, world."""

    def _look(self, drone: DroneEnv) -> Reader:
        return _Sight(batch_of(drone, self.task), self.velocity)


class _Sight(Reader, Generic[Task]):
    """What a pilot sees: the true state, and the velocity that it wants as its reference."""

    def __init__(self, env: Task, velocity: Callable[[Task], np.ndarray]) -> None:
        self._env, self._velocity = env, velocity
        self.ahead = np.zeros(0)

    def read(self, rows: np.ndarray) -> Seen:
        env, n = self._env, len(rows)
        if n != env.num_envs:
            raise ValueError(f"{n} observations of {env.num_envs} simulations: a pilot flies all of its environment.")
        truth, wanted = env.true_state(np.arange(n)), self._velocity(env)
        return Seen(
            error=np.zeros((n, 3)),
            error_rate=truth[:, 3:6] - wanted,
            rotation=truth[:, 6:15].reshape(n, 3, 3),
            body_rates=truth[:, 15:18],
            reference_velocity=wanted,
            bend=np.zeros((n, 0, 3)),
            dt=env.step_duration,
        )


class GatePilot(Pilot[DroneGates]):
    """Flies through gates by pursuit of the next gate's axis.

    With d the way to its centre and a its axis, it flies towards d + (LEAD - LOOK max(d . a, 0)) a, at `pace`: a point on
    the axis, on this side of the gate while it is far, past it when it is near.
    """

    LEAD = 0.8
    """How far past the gate it aims when it is at the gate, m."""
    LOOK = 0.6
    """By how much of the way to the gate it aims short of it."""

    task = DroneGates

    def __init__(
        self, env: Any, pace: float = 4.0, augmentation: str | None = None, gains: Gains | None = None
    ) -> None:
        super().__init__(env, pace, augmentation, gains)

    def velocity(self, env: DroneGates) -> np.ndarray:
        gate = np.arange(env.num_envs), env.next_gate
        axis, way = env.gate_axis[gate], env.gate_centre[gate] - env.qpos[:, :3]
        along = (way * axis).sum(axis=1, keepdims=True)
        aim = way + (self.LEAD - self.LOOK * np.maximum(along, 0.0)) * axis
        return self.pace * aim / _length(aim)


class PillarPilot(Pilot[DroneReach]):
    """Flies to a target around pillars, which it sees all: a straight field, bent by modulation around each of them.

    Straight is GAIN (target - position), at most `pace`. Pillars bend it by modulation (Khansari-Zadeh & Billard 2012, A
    dynamical system approach to realtime obstacle avoidance): of one whose axis is at distance r,

        s = w / G,   G = (r / (pillar's radius + vehicle's radius + clearance))²

    leaves 1 - s of the part towards the axis and makes 1 + s of the part across; w goes to 1 for a pillar as it is reached
    and to 0 for the others. Such a field never enters a pillar. Unlike in the paper, what leads away is not held back, and
    nothing becomes faster than straight. r is taken where the drone will be when it has answered to a new velocity.

    Args:
        clearance: how far from the pillars the vehicle's rim is to stay, m.
    """

    ANSWER = 1.5
    """How long the vehicle takes to answer to a new velocity, in 1 / k_v."""
    GAIN = 1.2
    """Of the approach to the target, 1/s."""

    task = DroneReach

    def __init__(
        self,
        env: Any,
        pace: float = 2.0,
        clearance: float = 0.35,
        augmentation: str | None = None,
        gains: Gains | None = None,
    ) -> None:
        super().__init__(env, pace, augmentation, gains)
        self.margin = PILLAR_RADIUS + self.vehicle.radius + clearance
        self.answer_s = self.ANSWER / (2 * self.gains.position_damping * self.gains.position_bandwidth)

    def velocity(self, env: DroneReach) -> np.ndarray:
        straight = self.GAIN * (env.target - env.qpos[:, :3])
        straight *= np.minimum(1.0, self.pace / _length(straight))
        ahead = env.qpos[:, :2] + self.answer_s * env.qvel[:, :2]
        return np.concatenate(
            [self._bend(straight[:, :2], ahead[:, None] - env.pillar_centre[:, :, :2]), straight[:, 2:]], 1
        )

    def _bend(self, velocity: np.ndarray, away: np.ndarray) -> np.ndarray:
        """The level velocity [N, 2] around pillars from which it is `away` [N, K, 2] m to the drone."""
        distance = _length(away)
        outwards = away / distance
        nearness = np.maximum((distance[:, :, 0] / self.margin) ** 2, 1.001)
        outside = nearness - 1
        share = outside[:, None, :] / (outside[:, None, :] + outside[:, :, None])
        share[:, np.arange(share.shape[1]), np.arange(share.shape[1])] = 1.0
        strength = share.prod(axis=2) / nearness
        bent, rows = velocity, np.arange(len(velocity))
        for k in np.argsort(-nearness, axis=1).T:  # the nearest last
            s, normal = strength[rows, k, None], outwards[rows, k]
            towards = (bent * normal).sum(axis=1, keepdims=True)
            tangential = bent - towards * normal
            bent = np.where(towards < 0, 1 - s, 1.0) * towards * normal + (1 + s) * tangential
        return bent * np.minimum(1.0, _length(velocity) / _length(bent))


def _length(vectors: np.ndarray) -> np.ndarray:
    """[..., 1], never zero."""
    return np.maximum(np.sqrt((vectors**2).sum(axis=-1, keepdims=True)), 1e-9)
