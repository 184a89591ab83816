"""Tyres: the magic formula under combined slip, on a carcass that gives, and the wheel that turns with them.

Compiled: it runs at the physics rate.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def magic_formula(slip: float, peak: float, stiffness: float, shape: float) -> float:
    """Force D sin(C atan(B s)), N, of a tyre at combined slip s >= 0 (Bakker, Nyborg and Pacejka 1987).

    Args:
        slip: s.
        peak: D, N: friction coefficient times load.
        stiffness: B.
        shape: C.
    """
    return peak * np.sin(shape * np.arctan(stiffness * slip))


@njit(cache=True)
def roll(
    car: np.record,
    along: float,
    across: float,
    wheel_speed: float,
    torque: float,
    resisting: float,
    peak: float,
    stiffness: float,
    timestep: float,
    deflection: np.ndarray,
) -> tuple[float, float, float, float]:
    """One wheel and its tyre one step on.

    The tyre slides over the ground with velocity -u, u = (wheel_speed radius - along, -across), and rolls with speed V,
    |along| or, where it is faster, |u|: so the steady slip u / V is Pacejka's up to 1, and 1 for a wheel that is locked or
    spins in place. The carcass gives by σ times s, σ ds/dt = u - V s, σ the relaxation length (Pacejka 2012, chapter 7).
    With a damping that is critical for the car at rest, τ = settling_time, the slip that the magic formula sees is
    (σ s + τ u) / (σ + τ V): a damped spring at standstill, and u / V at speeds above σ / τ. The carcass gives until the
    force is largest; from there on the tyre slides.

    The wheel's speed is found implicitly, the tyre's force taken as its secant times the slip, for at low speed the tyre
    is stiff. What resists the turning of a wheel can stop it, and not turn it back.

    Args:
        car: the vehicle's figures, `physics.constants`.
        along: velocity of the hub along the wheel, m/s.
        across: velocity of the hub across it, to its left, m/s.
        wheel_speed: rad/s.
        torque: of the drive, N m.
        resisting: torque of brake and rolling resistance, at least 0, N m.
        peak: D of the magic formula, N.
        stiffness: B of the magic formula.
        timestep: s.
        deflection: [2] s, along and across; written.

    Returns:
        Wheel speed, combined slip, and the force on the car along the wheel and across it, N.
    """
    length, damping, radius, shape = car.relaxation_length, car.settling_time, car.wheel_radius, car.tyre_shape
    sliding = wheel_speed * radius - along
    rolling = max(abs(along), np.sqrt(sliding * sliding + across * across))
    whole = length + damping * rolling
    kept = 1.0 / (1.0 + timestep * rolling / length)

    held, gained = length * kept / whole, (timestep * kept + damping) / whole
    secant = _secant(
        held * deflection[0] + gained * sliding, held * deflection[1] - gained * across, peak, stiffness, shape
    )
    turning = car.wheel_inertia * wheel_speed
    turning += timestep * (torque - radius * secant * (held * deflection[0] - gained * along))
    stopped = timestep * resisting
    turning = max(turning - stopped, 0.0) if turning > 0.0 else min(turning + stopped, 0.0)
    wheel_speed = turning / (car.wheel_inertia + timestep * radius * radius * secant * gained)

    sliding = wheel_speed * radius - along
    deflection[0] = kept * (deflection[0] + timestep / length * sliding)
    deflection[1] = kept * (deflection[1] - timestep / length * across)
    size = np.sqrt(deflection[0] * deflection[0] + deflection[1] * deflection[1])
    most = np.tan(0.5 * np.pi / shape) / stiffness
    if size > most:
        deflection[0] *= most / size
        deflection[1] *= most / size
    slip_along = (length * deflection[0] + damping * sliding) / whole
    slip_across = (length * deflection[1] - damping * across) / whole
    secant = _secant(slip_along, slip_across, peak, stiffness, shape)
    slip = np.sqrt(slip_along * slip_along + slip_across * slip_across)
    return wheel_speed, slip, secant * slip_along, secant * slip_across


@njit(cache=True)
def _secant(along: float, across: float, peak: float, stiffness: float, shape: float) -> float:
    """The magic formula's force per slip, N."""
    slip = np.sqrt(along * along + across * across)
    if slip < 1e-9:
        return peak * stiffness * shape
    return magic_formula(slip, peak, stiffness, shape) / slip
