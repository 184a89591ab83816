"""Dryden turbulence of MIL-F-8785C (3.7.2.3 and 3.7.3) below 1000 ft: its filters, discretised exactly.

Along the wind u, across it v and upwards w have the one-sided spectra over the spatial frequency W (rad/m)

    u:  sigma^2 2 L / pi / (1 + (L W)^2)        v, w:  sigma^2 L / pi (1 + 3 (L W)^2) / (1 + (L W)^2)^2

at the altitude h in ft, with the mean wind `speed` at 20 ft:

    sigma_w = 0.1 speed, sigma_u = sigma_v = sigma_w / (0.177 + 0.000823 h)^0.4
    L_w = h,             L_u = L_v = h / (0.177 + 0.000823 h)^1.2

A vehicle flies through the frozen field at an airspeed V, so W = angular frequency / V. White noise goes through the filters
1 / (1 + T s) and (1 + sqrt(3) T s) / (1 + T s)^2, T = L / V; variance and spectrum do not depend on the time step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FOOT = 0.3048
"""m: MIL-F-8785C counts in feet."""
LOWEST, HIGHEST = 10 * FOOT, 1000 * FOOT
"""Altitudes between which the low-altitude model holds, m; beyond them it is held at the nearer end."""
NORMALS = 5
"""Standard normal numbers per step, and states of the filters, of each simulation."""


def start(normals: np.ndarray) -> np.ndarray:
    """States of the filters [n, NORMALS] in their stationary distribution, from as many standard normal numbers."""
    filters = normals.copy()
    for k in (1, 3):
        # The two states of `_second_order` have the variances 1/2 and 1/4 and the covariance 1/4.
        filters[:, k] = np.sqrt(0.5) * normals[:, k]
        filters[:, k + 1] = np.sqrt(0.125) * (normals[:, k] + normals[:, k + 1])
    return filters


def advance(
    filters: np.ndarray,
    normals: np.ndarray,
    speed: np.ndarray,
    altitude: np.ndarray,
    travelled: np.ndarray,
    along: np.ndarray,
) -> np.ndarray:
    """Velocity of the turbulent air, world frame, [n, 3] m/s, once the vehicles have flown on through it.

    Args:
        filters: [n, NORMALS] states, advanced in place.
        normals: [n, NORMALS] standard normal numbers.
        speed: [n] mean wind at 20 ft, m/s.
        altitude: [n] m.
        travelled: [n] m through the air since the call before.
        along: [n, 2 or more] the mean wind's horizontal direction, of length 1.
    """
    air = np.empty((len(filters), 3))
    _advance(filters, normals, speed, altitude, travelled, along, air)
    return air


@njit(cache=True)
def _advance(
    filters: np.ndarray,
    normals: np.ndarray,
    speed: np.ndarray,
    altitude: np.ndarray,
    travelled: np.ndarray,
    along: np.ndarray,
    out: np.ndarray,
) -> None:
    for n in range(filters.shape[0]):
        normal, x = normals[n], filters[n]
        feet = min(max(altitude[n], LOWEST), HIGHEST) / FOOT
        ratio = 0.177 + 0.000823 * feet
        length_u, length_w = FOOT * feet / ratio**1.2, FOOT * feet
        sigma_w = 0.1 * speed[n]
        sigma_u = sigma_w / ratio**0.4
        decay = np.exp(-travelled[n] / length_u)
        x[0] = decay * x[0] + np.sqrt(1.0 - decay * decay) * normal[0]
        u = sigma_u * x[0]
        v = sigma_u * _second_order(x[1:3], travelled[n] / length_u, normal[1:3])
        out[n, 0] = along[n, 0] * u - along[n, 1] * v
        out[n, 1] = along[n, 1] * u + along[n, 0] * v
        out[n, 2] = sigma_w * _second_order(x[3:5], travelled[n] / length_w, normal[3:5])


@njit(cache=True)
def _second_order(x: np.ndarray, step: float, normal: np.ndarray) -> float:
    """(1 + sqrt(3) s) / (1 + s)^2 in units of T, of unit variance: x0' = -x0 + white noise, x1' = x0 - x1.

    Over `step` (dt / T) the noise adds the covariance q = integral of e^(-2 s) (1, s; s, s^2) from 0 to `step`.
    """
    decay = np.exp(-step)
    q00 = 0.5 * (1.0 - decay * decay)
    q01 = 0.25 - decay * decay * (0.5 * step + 0.25)
    q11 = 0.25 - decay * decay * (0.5 * step * step + 0.5 * step + 0.25)
    first = np.sqrt(q00)
    second = q01 / first if first > 0.0 else 0.0
    third = np.sqrt(max(q11 - second * second, 0.0))
    x[1] = decay * (x[1] + step * x[0]) + second * normal[0] + third * normal[1]
    x[0] = decay * x[0] + first * normal[0]
    return np.sqrt(3.0) * x[0] + (1.0 - np.sqrt(3.0)) * x[1]
