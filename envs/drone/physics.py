"""The quadrotor between MuJoCo's steps: the loops behind each action interface, mixer, battery, drag, ground effect.

Compiled: it runs at the physics rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit

from .vehicle import ROTORS, Vehicle

INTERFACES: Mapping[str, tuple[str, ...]] = {
    "motors": ("rotor_0", "rotor_1", "rotor_2", "rotor_3"),
    "rates": ("thrust", "rate_x", "rate_y", "rate_z"),
    "attitude": ("thrust", "roll", "pitch", "rate_z"),
    "velocity": ("velocity_x", "velocity_y", "velocity_z", "rate_z"),
}
"""The action interfaces, each with the names of its four actions; see `DroneEnv` and `action_ranges`."""
MOTORS, RATES, ATTITUDE, VELOCITY = range(4)

_CONSTANTS = np.dtype(
    [
        *((name, float) for name in ("mass", "weight", "arm", "torque_per_thrust", "max_rotor_thrust", "rotor_radius")),
        *((name, float) for name in ("thrust_coefficient", "linear_drag", "quadratic_drag", "hover_endurance")),
        *((name, float) for name in ("empty_voltage", "thrust_range", "max_tilt", "tilt_gain", "velocity_gain")),
        *((name, float, (3,)) for name in ("inertia", "rotor_drag", "angular_drag", "max_rates", "rate_gains")),
        ("max_velocity", float, (3,)),
        ("rotor_positions", float, (ROTORS, 2)),
        ("mixer", float, (ROTORS, 4)),
    ]
)


def action_ranges(vehicle: Vehicle, interface: str) -> dict[str, tuple[float, float, float, str]]:
    """What each action of an interface asks for at -1, 0 and 1, and its unit.

    Linear from -1 to 0 and from 0 to 1, but for a collective thrust that is cut off at 0 N.
    """
    full, weight = vehicle.weight * (1 + vehicle.thrust_range), vehicle.weight
    thrust = (max(weight - vehicle.thrust_range * weight, 0.0), weight, full, "N")
    tilt = (-vehicle.max_tilt, 0.0, vehicle.max_tilt, "rad")
    rates = [(-rate, 0.0, rate, "rad/s") for rate in vehicle.max_rates]
    velocity = [(-speed, 0.0, speed, "m/s") for speed in vehicle.max_velocity]
    ranges = {
        "motors": [(0.0, vehicle.hover_thrust, vehicle.max_rotor_thrust, "N")] * ROTORS,
        "rates": [thrust, *rates],
        "attitude": [thrust, tilt, tilt, rates[2]],
        "velocity": [*velocity, rates[2]],
    }
    return dict(zip(INTERFACES[interface], ranges[interface], strict=True))


def constants(vehicle: Vehicle) -> np.ndarray:
    """The vehicle's figures as the one-element structured array that `drive` reads."""
    values = np.zeros(1, _CONSTANTS)
    for name in _CONSTANTS.names or ():
        values[name] = getattr(vehicle, name)
    return values


@njit(cache=True)
def rotation(qpos: np.ndarray, out: np.ndarray) -> None:
    """Matrix from body to world, row-major [9], of the pose [7]."""
    w, x, y, z = qpos[3], qpos[4], qpos[5], qpos[6]
    out[0], out[1], out[2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[3], out[4], out[5] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[6], out[7], out[8] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@njit(cache=True)
def drive(
    ids: np.ndarray,
    interface: int,
    actions: np.ndarray,
    vehicle: np.ndarray,
    qpos: np.ndarray,
    qvel: np.ndarray,
    act: np.ndarray,
    plant: np.ndarray,
    air: np.ndarray,
    charge: np.ndarray,
    timestep: float,
    battery: bool,
    ground_effect: bool,
    ctrl: np.ndarray,
    applied: np.ndarray,
) -> None:
    """Rotor commands, and the forces that MuJoCo does not know, for one physics step of the simulations `ids`.

    MuJoCo then adds lag, effectiveness and motion. The flight controller knows the nominal vehicle and the true state.

    Args:
        ids: [n] simulations.
        interface: what the actions mean, MOTORS to VELOCITY.
        actions: [N, 4] in [-1, 1].
        vehicle: from `constants`.
        qpos: [N, 7] position m, world, and attitude quaternion.
        qvel: [N, 6] velocity m/s, world, and body rates rad/s, body.
        act: [N, 4] present rotor thrust, N, at full effectiveness.
        plant: [N] `DronePlant.values`.
        air: [N, 3] velocity of the air, m/s, world.
        charge: [N] state of charge in [0, 1]; written with a battery.
        timestep: s.
        battery: whether the charge falls, and limits the thrust.
        ground_effect: whether the floor raises the thrust.
        ctrl: [N, 4] rotor thrust commands, N; written.
        applied: [N, 6] force N, world, and torque N m, body; written.
    """
    v = vehicle[0]
    wanted, rates, attitude = np.empty(4), np.empty(3), np.empty(9)
    attitude_needed = interface >= ATTITUDE or ground_effect or v.rotor_drag[0] + v.rotor_drag[1] + v.rotor_drag[2] > 0
    for k in range(ids.shape[0]):
        n = ids[k]
        if attitude_needed:
            rotation(qpos[n], attitude)
        limit = v.max_rotor_thrust
        if battery:
            limit *= _discharge(n, v, act[n], charge, timestep)
        if interface == MOTORS:
            _motors(actions[n], v, limit, ctrl[n])
        else:
            wanted[0] = _outer_loops(interface, actions[n], v, attitude, qvel[n], rates)
            for j in range(3):
                wanted[1 + j] = v.inertia[j] * v.rate_gains[j] * (rates[j] - qvel[n, 3 + j])
            _mix(wanted, v, limit, ctrl[n])
        p = plant[n]
        _actuate(p, v.max_rotor_thrust, limit, act[n], ctrl[n])
        _body_drag(v, p.drag, qvel[n], air[n], applied[n])
        for j in range(3):
            applied[n, 3 + j] += p.body_torque[j]
        if attitude_needed:
            _rotor_drag(v, p.drag, attitude, qvel[n], air[n], act[n], applied[n])
            if ground_effect:
                _ground_effect(v, p, attitude, qpos[n, 2], act[n], applied[n])


@njit(cache=True)
def _motors(action: np.ndarray, v: np.record, limit: float, ctrl: np.ndarray) -> None:
    """Action 0 hovers, -1 is off, 1 is full thrust; linear on either side."""
    hover = v.weight / ROTORS
    for i in range(ROTORS):
        reach = hover if action[i] < 0 else v.max_rotor_thrust - hover
        ctrl[i] = min(hover + reach * action[i], limit)


@njit(cache=True)
def _outer_loops(
    interface: int, action: np.ndarray, v: np.record, attitude: np.ndarray, qvel: np.ndarray, rates: np.ndarray
) -> float:
    """Collective thrust, N, returned, and body rates, rad/s, written, that the action asks for."""
    if interface == VELOCITY:
        return _track_velocity(action, v, attitude, qvel, rates)
    thrust = max(v.weight * (1.0 + v.thrust_range * action[0]), 0.0)
    if interface == RATES:
        for j in range(3):
            rates[j] = v.max_rates[j] * action[1 + j]
    else:
        roll, pitch = v.max_tilt * action[1], v.max_tilt * action[2]
        heading = np.arctan2(attitude[3], attitude[0])
        forward, left = np.cos(roll) * np.sin(pitch), -np.sin(roll)
        x = np.cos(heading) * forward - np.sin(heading) * left
        y = np.sin(heading) * forward + np.cos(heading) * left
        _tilt_towards(x, y, np.cos(roll) * np.cos(pitch), v, attitude, rates)
        rates[2] = v.max_rates[2] * action[3]
    return thrust


@njit(cache=True)
def _track_velocity(
    action: np.ndarray, v: np.record, attitude: np.ndarray, qvel: np.ndarray, rates: np.ndarray
) -> float:
    """Force m (k (velocity asked - velocity) + g), its tilt limited, along body z (Lee et al. 2010)."""
    x = v.mass * v.velocity_gain * (v.max_velocity[0] * action[0] - qvel[0])
    y = v.mass * v.velocity_gain * (v.max_velocity[1] * action[1] - qvel[1])
    z = v.weight + v.mass * v.velocity_gain * (v.max_velocity[2] * action[2] - qvel[2])
    # Never less than a fifth of the weight: with no thrust there is no attitude to hold.
    z = max(z, 0.2 * v.weight)
    sideways = np.sqrt(x * x + y * y)
    if sideways > z * np.tan(v.max_tilt):
        x *= z * np.tan(v.max_tilt) / sideways
        y *= z * np.tan(v.max_tilt) / sideways
    _tilt_towards(x, y, z, v, attitude, rates)
    rates[2] = v.max_rates[2] * action[3]
    return max(x * attitude[2] + y * attitude[5] + z * attitude[8], 0.0)


@njit(cache=True)
def _tilt_towards(x: float, y: float, z: float, v: np.record, attitude: np.ndarray, rates: np.ndarray) -> None:
    """Roll and pitch rates that turn body z towards the world direction (x, y, z), by the shortest way."""
    bx = attitude[0] * x + attitude[3] * y + attitude[6] * z
    by = attitude[1] * x + attitude[4] * y + attitude[7] * z
    bz = attitude[2] * x + attitude[5] * y + attitude[8] * z
    off = np.sqrt(bx * bx + by * by)
    angle = np.arctan2(off, bz)
    if off < 1e-12:
        # There already, or on its back, where every way is the shortest: roll.
        bx, by, off = 0.0, -1.0, 1.0
    rates[0] = min(max(-v.tilt_gain * angle * by / off, -v.max_rates[0]), v.max_rates[0])
    rates[1] = min(max(v.tilt_gain * angle * bx / off, -v.max_rates[1]), v.max_rates[1])


@njit(cache=True)
def _mix(wanted: np.ndarray, v: np.record, limit: float, ctrl: np.ndarray) -> None:
    """Rotor thrusts that add up to thrust, N, and torque, N m; each within its limits."""
    for i in range(ROTORS):
        share = (
            v.mixer[i, 0] * wanted[0]
            + (wanted[1] * v.mixer[i, 1] + wanted[2] * v.mixer[i, 2]) / v.arm
            + wanted[3] * v.mixer[i, 3] / v.torque_per_thrust
        )
        ctrl[i] = min(max(share / ROTORS, 0.0), limit)


@njit(cache=True)
def _actuate(p: np.record, full: float, limit: float, act: np.ndarray, ctrl: np.ndarray) -> None:
    """What the rotors are asked for in place of `ctrl`, N: biased, dead near 0, limited, or stuck at what they give."""
    for i in range(ROTORS):
        asked = ctrl[i] + p.actuator_bias[i] * full
        if asked < p.actuator_dead_zone[i] * full:
            asked = 0.0
        ctrl[i] = act[i] if p.actuator_stuck[i] > 0.0 else min(max(asked, 0.0), p.actuator_limit[i] * limit)


@njit(cache=True)
def _discharge(n: int, v: np.record, act: np.ndarray, charge: np.ndarray, timestep: float) -> float:
    """Draw the rotors' power from the battery; returns the share of the full thrust that it still gives.

    Power is the momentum theory's T^1.5 of each rotor (Leishman 2006), scaled so that hovering lasts
    hover_endurance. Voltage falls linearly with the charge; rotor speed follows voltage, so thrust its square.
    """
    power = 0.0
    for i in range(ROTORS):
        power += max(ROTORS * act[i] / v.weight, 0.0) ** 1.5 / ROTORS
    charge[n] = max(charge[n] - power * timestep / v.hover_endurance, 0.0)
    return (v.empty_voltage + (1.0 - v.empty_voltage) * charge[n]) ** 2


@njit(cache=True)
def _body_drag(v: np.record, factor: float, qvel: np.ndarray, air: np.ndarray, applied: np.ndarray) -> None:
    airspeed = 0.0
    for j in range(3):
        airspeed += (qvel[j] - air[j]) ** 2
    drag = factor * (v.linear_drag + v.quadratic_drag * np.sqrt(airspeed))
    for j in range(3):
        applied[j] = -drag * (qvel[j] - air[j])
        applied[3 + j] = -v.angular_drag[j] * qvel[3 + j]


@njit(cache=True)
def _rotor_drag(
    v: np.record,
    factor: float,
    attitude: np.ndarray,
    qvel: np.ndarray,
    air: np.ndarray,
    act: np.ndarray,
    applied: np.ndarray,
) -> None:
    """Blade drag and induced inflow (Förster 2015): proportional to rotor speed and to airspeed, body axes."""
    speed = 0.0
    for i in range(ROTORS):
        speed += factor * np.sqrt(max(act[i], 0.0) / v.thrust_coefficient)
    for axis in range(3):
        along = 0.0
        for j in range(3):
            along += attitude[3 * j + axis] * (qvel[j] - air[j])
        for j in range(3):
            applied[j] -= v.rotor_drag[axis] * speed * along * attitude[3 * j + axis]


@njit(cache=True)
def _ground_effect(
    v: np.record, p: np.record, attitude: np.ndarray, height: float, act: np.ndarray, applied: np.ndarray
) -> None:
    """Each rotor at height z over the floor gives 1 / (1 - (R / 4z)²) of its thrust (Cheeseman & Bennett 1955).

    The formula holds from half a rotor radius up, so lower rotors count as that high; tilted ones get the share of
    their thrust that points up. Only the floor counts.
    """
    for i in range(ROTORS):
        x, y = p.link_length * v.rotor_positions[i, 0], p.link_length * v.rotor_positions[i, 1]
        z = max(height + attitude[6] * x + attitude[7] * y, 0.5 * v.rotor_radius)
        ratio = v.rotor_radius / (4.0 * z)
        extra = p.actuator_gain[i] * act[i] * (1.0 / (1.0 - ratio * ratio) - 1.0) * max(attitude[8], 0.0)
        for j in range(3):
            applied[j] += extra * attitude[3 * j + 2]
        applied[3] += y * extra
        applied[4] -= x * extra
