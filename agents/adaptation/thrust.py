"""Thrust along body z, and what its effectiveness makes of the nominal accelerations."""

from __future__ import annotations

from ...envs.drone.vehicle import GRAVITY
from ...policies.kernels.arithmetic import fill
from .compiled import helper


@helper
def thrust_acceleration(f, attitude, velocity):  # type: ignore[no-untyped-def]
    """a_T in m/s²: what accelerations f [R], velocities from `velocity` on, need along body z of the attitude matrix [9]."""
    thrust = 0.0
    for i in range(3):
        thrust += (f[velocity + i] + (GRAVITY if i == 2 else 0.0)) * attitude[3 * i + 2]
    return thrust


@helper
def lost_thrust(effectiveness, f, attitude, velocity, explained):  # type: ignore[no-untyped-def]
    """explained [R] = rho a_T b, b being body z; of an effectiveness rho = 0 that is nothing, of whatever vehicle."""
    fill(explained, 0.0)
    if effectiveness != 0.0:
        lost = effectiveness * thrust_acceleration(f, attitude, velocity)
        for i in range(3):
            explained[velocity + i] = lost * attitude[3 * i + 2]
