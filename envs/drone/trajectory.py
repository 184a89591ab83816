"""Smooth random trajectories in three axes: sums of sinusoids, bounded in speed and acceleration."""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_SPEED = 4.0
"""No trajectory is faster, m/s."""
MAX_ACCELERATION = 6.0
"""No trajectory accelerates harder, m/s²."""
TERMS = 3
"""Sinusoids per axis."""
_LOWEST_POINT = 1.0
_MINIMUM_ALTITUDE = 3.0


def draw_trajectory(rng: np.random.Generator) -> np.ndarray:
    """A trajectory's coefficients, [3, 3 * TERMS + 1]: per axis amplitudes m, angular frequencies rad/s, phases, offset m.

    Frequencies are uniform in 0.4 to 2.2 rad/s. The bound on acceleration is drawn uniformly from 10 to 100 % of
    MAX_ACCELERATION, so gentle and hard trajectories are equally frequent; speed is bounded by MAX_SPEED. Both bounds
    hold for the sum of the amplitudes, so that they hold at every time. The lowest point is 1 m above the ground.
    """
    frequency = rng.uniform(0.4, 2.2, (3, TERMS))
    phase = rng.uniform(0.0, 2 * np.pi, (3, TERMS))
    amplitude = rng.uniform(-1.0, 1.0, (3, TERMS)) / frequency**1.3
    amplitude[2] *= 0.5
    peak_speed = np.linalg.norm((np.abs(amplitude) * frequency).sum(1))
    peak_acceleration = np.linalg.norm((np.abs(amplitude) * frequency**2).sum(1))
    amplitude *= min(rng.uniform(0.1, 1.0) * MAX_ACCELERATION / peak_acceleration, MAX_SPEED / peak_speed)
    offset = np.zeros((3, 1))
    offset[2] = max(_MINIMUM_ALTITUDE, _LOWEST_POINT + np.abs(amplitude[2]).sum())
    return np.concatenate([amplitude, frequency, phase, offset], axis=1)


@njit(cache=True)
def position(coefficients: np.ndarray, time: float, axis: int) -> float:
    """Reference position along one axis, m."""
    value = coefficients[axis, 3 * TERMS]
    for k in range(TERMS):
        value += coefficients[axis, k] * np.sin(
            coefficients[axis, TERMS + k] * time + coefficients[axis, 2 * TERMS + k]
        )
    return value


@njit(cache=True)
def velocity(coefficients: np.ndarray, time: float, axis: int) -> float:
    """Reference velocity along one axis, m/s."""
    value = 0.0
    for k in range(TERMS):
        frequency = coefficients[axis, TERMS + k]
        value += coefficients[axis, k] * frequency * np.cos(frequency * time + coefficients[axis, 2 * TERMS + k])
    return value
