"""The intelligent-driver model: how other vehicles keep their speed and their distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

HARDEST_BRAKING = 9.0
"""m/s²: no driver brakes harder, whatever the model asks for."""


class Driver(NamedTuple):
    """A driver's figures; the defaults are those of Treiber, Hennecke and Helbing (2000)."""

    headway: float = 1.6
    """Safe time headway T, s."""
    jam_gap: float = 2.0
    """Gap s0 to the vehicle ahead when standing, m."""
    acceleration: float = 0.73
    """Largest acceleration a, m/s²."""
    deceleration: float = 1.67
    """Comfortable deceleration b, m/s², positive."""


@njit(cache=True)
def desired_acceleration(driver: Driver, speed: float, wish: float, gap: float, approach: float) -> float:
    """What an intelligent driver does (Treiber, Hennecke and Helbing, Physical Review E 62, 2000), m/s².

        a [1 - (v / v0)⁴ - (s* / s)²],    s* = s0 + max(0, v T + v Δv / (2 sqrt(a b)))

    The maximum, which keeps a driver whose leader pulls away from closing up, and the bound HARDEST_BRAKING are those of
    Treiber and Kesting, Traffic Flow Dynamics (2013), chapter 11.

    Args:
        driver: the figures T, s0, a and b.
        speed: v, m/s, at least 0.
        wish: v0, the speed on a free road, m/s.
        gap: s, from bumper to bumper, m; infinite on a free road. A gap of 0 or less brakes as hard as can be.
        approach: Δv, own speed less the leader's, m/s.
    """
    free = 1.0 - (speed / wish) ** 4
    if gap <= 0.0:
        return -HARDEST_BRAKING
    closing = speed * approach / (2.0 * np.sqrt(driver.acceleration * driver.deceleration))
    desired_gap = driver.jam_gap + max(0.0, speed * driver.headway + closing)
    return max(driver.acceleration * (free - (desired_gap / gap) ** 2), -HARDEST_BRAKING)


@njit(cache=True)
def advance(station: float, speed: float, acceleration: float, duration: float) -> tuple[float, float]:
    """Station m and speed m/s after `duration` s of constant acceleration, which ends where the vehicle stands."""
    after = speed + acceleration * duration
    if after < 0.0:
        return station - 0.5 * speed * speed / acceleration, 0.0
    return station + 0.5 * (speed + after) * duration, after
