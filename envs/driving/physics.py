"""The car between MuJoCo's steps: steering servo, drive and brakes, wheels, tyres, wheel loads, air and gravity.

MuJoCo integrates the planar body; everything that pushes it is here, and so are the states that MuJoCo does not know:
steering, pedal, wheel speeds, the tyres' deflection and the lagging wheel loads. Compiled: it runs at the physics rate.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .tyres import roll
from .vehicle import Car

LEAST_FRICTION = 1e-3
"""Friction factor of the most slippery ground there is: a tyre's stiffness goes with one over its root."""

_CONSTANTS = np.dtype(
    [
        *((name, float) for name in ("front_axle", "rear_axle", "wheelbase", "track", "mass_height", "load_lag")),
        *((name, float) for name in ("wheel_radius", "wheel_inertia", "friction_front", "friction_rear")),
        *((name, float) for name in ("stiffness_front", "stiffness_rear", "tyre_shape", "relaxation_length")),
        *((name, float) for name in ("settling_time", "rolling_resistance", "max_steering", "steering_range")),
        *((name, float) for name in ("steering_lag", "steering_rate", "max_drive_force", "max_power", "max_speed")),
        *((name, float) for name in ("drive_front", "max_brake_force", "brake_front", "drag_centre")),
        ("drag", float, (2,)),
        ("wheel_positions", float, (4, 2)),
    ]
)


def constants(car: Car) -> np.ndarray:
    """The car's figures as the one-element structured array that `drive` reads."""
    values = np.zeros(1, _CONSTANTS)
    for name in _CONSTANTS.names or ():
        values[name] = getattr(car, name)
    return values


def action_ranges(car: Car) -> dict[str, tuple[float, float, float, str]]:
    """What each action asks for at -1, 0 and 1, and its unit; linear from -1 to 0 and from 0 to 1."""
    return {
        "steering": (-car.steering_range, 0.0, car.steering_range, "rad"),
        "drive": (-car.max_brake_force, 0.0, car.max_drive_force, "N"),
    }


@njit(cache=True)
def drive(
    ids: np.ndarray,
    car: np.ndarray,
    timestep: float,
    actions: np.ndarray,
    qpos: np.ndarray,
    qvel: np.ndarray,
    plant: np.ndarray,
    friction: np.ndarray,
    uphill: np.ndarray,
    steering: np.ndarray,
    pedal: np.ndarray,
    wheel_speed: np.ndarray,
    deflection: np.ndarray,
    slip: np.ndarray,
    load: np.ndarray,
    load_shift: np.ndarray,
    applied: np.ndarray,
) -> None:
    """The forces on the cars `ids` for one physics step, and the states that MuJoCo does not know one step on.

    Args:
        ids: [n] simulations.
        car: from `constants`.
        timestep: s.
        actions: [N, 2] steering and drive in [-1, 1].
        qpos: [N, 3] x, y, m, and yaw, rad, of the nominal centre of mass.
        qvel: [N, 3] their rates, world frame.
        plant: [N] `CarPlant.values`.
        friction: [N, 4] factor of the tyres' friction under each wheel.
        uphill: [N, 2] sine of the ground's rise along world x and y.
        steering: [N] angle of the front wheels, rad; written.
        pedal: [N] share of the full drive, or where negative of the full brake force, that is applied; written.
        wheel_speed: [N, 4] rad/s; written.
        deflection: [N, 4, 2] of the tyres along and across their wheels, over the relaxation length; written.
        slip: [N, 4] combined slip of the tyres; written.
        load: [N, 4] of each wheel, N; written.
        load_shift: [N, 2] force of all tyres along body x and y that the wheel loads have followed, N; written.
        applied: [N, 3] force, N, world, and torque, N m; written.
    """
    v = car[0]
    torque, resisting, force = np.empty(4), np.empty(4), np.empty(3)
    for k in range(ids.shape[0]):
        n = ids[k]
        p = plant[n]
        steering[n] = _steer(v, p, _asked(p, 0, actions[n, 0]), steering[n], timestep)
        pedal[n] = _press(p, _asked(p, 1, actions[n, 1]), pedal[n], timestep)
        _wheel_loads(v, p, uphill[n], load_shift[n], load[n])
        _wheel_torques(v, p, pedal[n], wheel_speed[n], load[n], torque, resisting)
        cosine, sine = np.cos(qpos[n, 2]), np.sin(qpos[n, 2])
        forward = cosine * qvel[n, 0] + sine * qvel[n, 1]
        left = cosine * qvel[n, 1] - sine * qvel[n, 0]
        force[:] = 0.0
        for i in range(4):
            _pull_of_tyre(
                v, i, steering[n], forward, left, qvel[n, 2], friction[n, i], load[n, i], torque[i], resisting[i],
                timestep, wheel_speed[n], deflection[n, i], slip[n], force,
            )  # fmt: skip
        followed = timestep / (timestep + v.load_lag)
        load_shift[n, 0] += followed * (force[0] - load_shift[n, 0])
        load_shift[n, 1] += followed * (force[1] - load_shift[n, 1])
        _push_of_air(v, p, cosine, sine, forward, left, force)
        # Turned by half of the step's yaw: a force across the way, held while the way turns, would do work.
        yaw = qpos[n, 2] + 0.5 * timestep * qvel[n, 2]
        cosine, sine = np.cos(yaw), np.sin(yaw)
        pull_x, pull_y = -p.mass * p.weight * uphill[n, 0], -p.mass * p.weight * uphill[n, 1]
        applied[n, 0] = cosine * force[0] - sine * force[1] + pull_x
        applied[n, 1] = sine * force[0] + cosine * force[1] + pull_y
        applied[n, 2] = force[2] + p.centre * (cosine * pull_y - sine * pull_x)


@njit(cache=True)
def _asked(p: np.record, i: int, action: float) -> float:
    """What actuator i makes of an action: nothing within its dead zone, no more than its limit."""
    if abs(action) < p.actuator_dead_zone[i]:
        return 0.0
    return min(max(action, -p.actuator_limit[i]), p.actuator_limit[i])


@njit(cache=True)
def _steer(v: np.record, p: np.record, asked: float, angle: float, timestep: float) -> float:
    """The servo follows its command with a time constant and at a limited rate; the linkage stops the wheels."""
    if p.actuator_stuck[0] > 0.0:
        return angle
    wanted = v.steering_range * (p.actuator_gain[0] * asked + p.actuator_bias[0])
    wanted = min(max(wanted, -v.max_steering), v.max_steering)
    lag = v.steering_lag + p.actuator_lag[0]
    change = (wanted - angle) * (1.0 - np.exp(-timestep / lag) if lag > 0.0 else 1.0)
    most = v.steering_rate * timestep
    return angle + min(max(change, -most), most)


@njit(cache=True)
def _press(p: np.record, asked: float, pedal: float, timestep: float) -> float:
    """Drive and brakes follow their command at once, unless they are stuck or lag."""
    if p.actuator_stuck[1] > 0.0:
        return pedal
    wanted = min(max(asked + p.actuator_bias[1], -1.0), 1.0)
    lag = p.actuator_lag[1]
    return pedal + (wanted - pedal) * (1.0 - np.exp(-timestep / lag)) if lag > 0.0 else wanted


@njit(cache=True)
def _wheel_loads(v: np.record, p: np.record, uphill: np.ndarray, shift: np.ndarray, load: np.ndarray) -> None:
    """Load of each wheel, N: static, and shifted by what the tyres' force, at ground level, turns about the centre of mass.

    Along the car that is F h / wheelbase from axle to axle; across it F h / track from side to side, shared by the axles
    as they share the weight. A wheel that would lift bears nothing, its neighbour what is left.
    """
    weight = p.mass * p.weight * np.sqrt(max(1.0 - uphill[0] ** 2 - uphill[1] ** 2, 0.0))
    rear_axle = v.rear_axle + p.centre
    front = (weight * rear_axle - shift[0] * v.mass_height) / v.wheelbase
    front = min(max(front, 0.0), weight)
    tilt = shift[1] * v.mass_height / (v.track * weight)
    tilt = min(max(tilt, -0.5), 0.5)
    rear = weight - front
    load[0], load[1] = front * (0.5 - tilt), front * (0.5 + tilt)
    load[2], load[3] = rear * (0.5 - tilt), rear * (0.5 + tilt)


@njit(cache=True)
def _wheel_torques(
    v: np.record,
    p: np.record,
    pedal: float,
    wheel_speed: np.ndarray,
    load: np.ndarray,
    torque: np.ndarray,
    resisting: np.ndarray,
) -> None:
    """Torque of the drive on each wheel, and what brake and rolling resistance hold against its turning, N m.

    Drive is limited in force, in power, and by the motor's top speed; a differential shares an axle's torque evenly.
    """
    front = 0.5 * (wheel_speed[0] + wheel_speed[1])
    rear = 0.5 * (wheel_speed[2] + wheel_speed[3])
    motor = v.wheel_radius * (v.drive_front * front + (1.0 - v.drive_front) * rear)
    most = v.max_power / max(motor, v.max_power / v.max_drive_force)
    most *= min(max(10.0 * (1.0 - motor / v.max_speed), 0.0), 1.0)
    drive_torque = 0.5 * v.wheel_radius * max(pedal, 0.0) * p.actuator_gain[1] * most
    brake_torque = 0.5 * v.wheel_radius * max(-pedal, 0.0) * p.brake_gain * v.max_brake_force
    for i in range(4):
        torque[i] = drive_torque * (v.drive_front if i < 2 else 1.0 - v.drive_front)
        resistance = v.rolling_resistance * p.rolling_resistance[i] * load[i] * v.wheel_radius
        resisting[i] = resistance + brake_torque * (v.brake_front if i < 2 else 1.0 - v.brake_front)


@njit(cache=True)
def _pull_of_tyre(
    v: np.record,
    i: int,
    steering: float,
    forward: float,
    left: float,
    yaw_rate: float,
    friction: float,
    load: float,
    torque: float,
    resisting: float,
    timestep: float,
    wheel_speed: np.ndarray,
    deflection: np.ndarray,
    slip: np.ndarray,
    force: np.ndarray,
) -> None:
    """Turn wheel i one step on, and add its force along body x and y, N, and its torque, N m, to `force`."""
    x, y = v.wheel_positions[i, 0], v.wheel_positions[i, 1]
    angle = steering if i < 2 else 0.0
    cosine, sine = np.cos(angle), np.sin(angle)
    hub_x, hub_y = forward - yaw_rate * y, left + yaw_rate * x
    along, across = cosine * hub_x + sine * hub_y, cosine * hub_y - sine * hub_x
    factor = max(friction, LEAST_FRICTION)
    peak = factor * load * (v.friction_front if i < 2 else v.friction_rear)
    stiffness = (v.stiffness_front if i < 2 else v.stiffness_rear) / np.sqrt(factor)
    wheel_speed[i], slip[i], pull_along, pull_across = roll(
        v, along, across, wheel_speed[i], torque, resisting, peak, stiffness, timestep, deflection
    )
    force_x = cosine * pull_along - sine * pull_across
    force_y = sine * pull_along + cosine * pull_across
    force[0] += force_x
    force[1] += force_y
    force[2] += x * force_y - y * force_x


@njit(cache=True)
def _push_of_air(
    v: np.record, p: np.record, cosine: float, sine: float, forward: float, left: float, force: np.ndarray
) -> None:
    """Drag along and across the car, quadratic in the airspeed; from the side it acts at drag_centre."""
    head = forward - cosine * p.air[0] - sine * p.air[1]
    side = left - cosine * p.air[1] + sine * p.air[0]
    airspeed = np.sqrt(head * head + side * side)
    across = -p.drag * v.drag[1] * airspeed * side
    force[0] -= p.drag * v.drag[0] * airspeed * head
    force[1] += across
    force[2] += v.drag_centre * across
