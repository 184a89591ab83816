"""The quadrotor between MuJoCo's steps: body-rate loop, mixer and drag. Compiled: it runs at the physics rate."""

from __future__ import annotations

import importlib.resources

import mujoco
import numpy as np
from numba import njit

GRAVITY = 9.81
MASS = 0.64
"""Nominal mass, kg: what the flight controller believes."""
INERTIA = np.array([2.5e-3, 2.5e-3, 4.5e-3])
"""Nominal inertia, kg m²."""
ARM = 0.1
"""Rotor offset along body x and y, m."""
TORQUE_PER_THRUST = 0.02
"""Reaction torque per thrust, m."""
MAX_ROTOR_THRUST = 4.0
"""Command limit of one rotor, N; thrust to weight is 2.55."""
MAX_RATES = np.array([8.0, 8.0, 3.0])
"""Body rates asked for at action ±1, rad/s."""
RATE_GAINS = np.array([20.0, 20.0, 8.0])
"""Inner loop: angular acceleration per rate error, 1/s."""
LINEAR_DRAG = 0.10
"""N s/m."""
QUADRATIC_DRAG = 0.02
"""N s²/m²."""
ANGULAR_DRAG = 0.05 * INERTIA
"""Roll, pitch and yaw damping, N m s."""

# Rotor positions relative to the arm (x forward, y left) and direction of the reaction torque, as in drone.xml.
_X = np.array([1.0, -1.0, -1.0, 1.0])
_Y = np.array([1.0, 1.0, -1.0, -1.0])
_SPIN = np.array([-1.0, 1.0, -1.0, 1.0])


def load_model() -> mujoco.MjModel:
    """The drone's MJCF, compiled."""
    return mujoco.MjModel.from_xml_string(importlib.resources.files(__package__).joinpath("drone.xml").read_text())


@njit(cache=True)
def drive(actions: np.ndarray, qvel: np.ndarray, wind: np.ndarray, ctrl: np.ndarray, applied: np.ndarray) -> None:
    """Rotor commands and drag for one physics step.

    The inner loop asks for the torque I k (rates asked - rates measured) of the nominal vehicle; the mixer splits
    thrust and torque over the rotors, each within its limits. MuJoCo then adds lag, effectiveness and motion.

    Args:
        actions: [N, 4] in [-1, 1]: collective thrust (0 hovers the nominal mass, 1 is 2.5 times that) and body rates.
        qvel: [N, 6] velocity in the world, m/s, and body rates, rad/s.
        wind: [N, 3] m/s, world.
        ctrl: [N, 4] rotor thrust commands, N; written.
        applied: [N, 6] force in the world, N, and torque in the body, N m; written.
    """
    torque = np.empty(3)
    for n in range(actions.shape[0]):
        thrust = max(MASS * GRAVITY * (1.0 + 1.5 * actions[n, 0]), 0.0)
        for j in range(3):
            error = MAX_RATES[j] * actions[n, 1 + j] - qvel[n, 3 + j]
            torque[j] = INERTIA[j] * RATE_GAINS[j] * error
        for i in range(4):
            share = thrust + (torque[0] * _Y[i] - torque[1] * _X[i]) / ARM + torque[2] * _SPIN[i] / TORQUE_PER_THRUST
            ctrl[n, i] = min(max(0.25 * share, 0.0), MAX_ROTOR_THRUST)
        airspeed = 0.0
        for j in range(3):
            airspeed += (qvel[n, j] - wind[n, j]) ** 2
        drag = LINEAR_DRAG + QUADRATIC_DRAG * np.sqrt(airspeed)
        for j in range(3):
            applied[n, j] = -drag * (qvel[n, j] - wind[n, j])
            applied[n, 3 + j] = -ANGULAR_DRAG[j] * qvel[n, 3 + j]
