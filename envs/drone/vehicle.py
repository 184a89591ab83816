"""Vehicles as data: what a quadrotor weighs, where its rotors sit, what they give, and how its flight controller is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..vehicle import GRAVITY, VehicleData, load, quantity

ROTORS = 4

VEHICLES = ("crazyflie", "racer", "x500")


@dataclass(frozen=True)
class Vehicle(VehicleData):
    """A quadrotor. SI units; body x forward, y left, z up, the origin at the centre of mass.

    Rotor i turns thrust T_i (N, along body z) into the torque spin_i * torque_per_thrust * T_i about body z, and follows
    its command with dT/dt = (command - T) / motor_time_constant. Air of velocity w pushes a body of velocity v with
    -(linear_drag + quadratic_drag |v - w|) (v - w), and the rotors, in body axes, with
    -rotor_drag * (v - w) * sum_i omega_i, omega_i = sqrt(T_i / thrust_coefficient) (Förster 2015).

    Raises:
        ValueError: a field is out of its range; the message names the field and its unit.
    """

    mass: float = quantity("kg", above=0)
    inertia: tuple[float, ...] = quantity("kg m²", (3,), above=0)
    """About body x, y and z, principal."""
    rotor_positions: tuple[tuple[float, ...], ...] = quantity("m", (ROTORS, 2))
    """Along body x and y, counterclockwise from front left."""
    rotor_spin: tuple[float, ...] = quantity("+1 or -1", (ROTORS,))
    """Sign of the reaction torque about body z: +1 for a rotor that turns clockwise seen from above."""
    rotor_radius: float = quantity("m", above=0)
    height: float = quantity("m", above=0)
    """Of the cylinder around body and rotors that collides."""
    max_rotor_thrust: float = quantity("N", above=0)
    """Of one rotor, on a full battery."""
    thrust_coefficient: float = quantity("N s²/rad²", above=0)
    """Thrust per squared rotor speed."""
    torque_per_thrust: float = quantity("m", above=0)
    motor_time_constant: float = quantity("s", above=0)
    linear_drag: float = quantity("N s/m", least=0)
    quadratic_drag: float = quantity("N s²/m²", least=0)
    rotor_drag: tuple[float, ...] = quantity("kg/rad", (3,), least=0)
    """Along body x, y and z."""
    angular_drag: tuple[float, ...] = quantity("N m s/rad", (3,), least=0)
    hover_endurance: float = quantity("s", above=0)
    """Hovering time from a full battery to an empty one."""
    empty_voltage: float = quantity("share of the full voltage", above=0)
    """Open-circuit voltage of the empty battery."""
    thrust_range: float = quantity("weights", above=0)
    """Collective thrust asked for at action +1, above the one weight of action 0."""
    max_rates: tuple[float, ...] = quantity("rad/s", (3,), above=0)
    """Body rates asked for at action ±1."""
    rate_gains: tuple[float, ...] = quantity("1/s", (3,), above=0)
    """Angular acceleration asked for, per error in body rate."""
    max_tilt: float = quantity("rad", above=0)
    """Roll and pitch asked for at action ±1, and the steepest tilt of the velocity loop."""
    tilt_gain: float = quantity("1/s", above=0)
    """Body rate asked for, per error in tilt."""
    max_velocity: tuple[float, ...] = quantity("m/s", (3,), above=0)
    """Velocity asked for at action ±1, along world x, y and z."""
    velocity_gain: float = quantity("1/s", above=0)
    """Acceleration asked for, per error in velocity."""

    def _check_as_a_whole(self) -> None:
        if set(self.rotor_spin) - {1.0, -1.0}:
            raise ValueError(f"rotor_spin is {list(self.rotor_spin)}: each is +1 or -1.")
        if not self.empty_voltage <= 1:
            raise ValueError(f"empty_voltage is {self.empty_voltage}: a share of the full voltage, at most 1.")
        if not self.max_tilt < np.pi / 2:
            raise ValueError(f"max_tilt is {self.max_tilt} rad: below pi/2, or thrust cannot carry the weight.")
        if self.thrust_to_weight < 1:
            raise ValueError(
                f"max_rotor_thrust is {self.max_rotor_thrust} N: {ROTORS} rotors lift {self.thrust_to_weight:.2f} times "
                f"the weight of {self.mass} kg, and a vehicle that flies needs more than 1."
            )
        if np.linalg.cond(self._allocation) > 1e6:
            raise ValueError(
                "rotor_positions (m) and rotor_spin cannot turn the vehicle about every axis: "
                "place two rotors each side of body x and of body y, with neighbours of opposite spin."
            )

    @property
    def weight(self) -> float:
        """N."""
        return self.mass * GRAVITY

    @property
    def hover_thrust(self) -> float:
        """Of each rotor, N."""
        return self.weight / ROTORS

    @property
    def thrust_to_weight(self) -> float:
        return ROTORS * self.max_rotor_thrust / self.weight

    @property
    def arm(self) -> float:
        """Largest rotor offset along body x or y, m."""
        return float(np.abs(self.rotor_positions).max())

    @property
    def radius(self) -> float:
        """Of the circle around all rotor discs, m."""
        return float(np.linalg.norm(self.rotor_positions, axis=1).max()) + self.rotor_radius

    @property
    def _allocation(self) -> np.ndarray:
        """[4, 4]: thrust, roll and pitch torque over the arm, and yaw torque over torque_per_thrust, per rotor thrust."""
        x, y = np.array(self.rotor_positions).T / self.arm
        return np.stack([np.ones(ROTORS), y, -x, self.rotor_spin])

    @property
    def mixer(self) -> np.ndarray:
        """[4, 4]: the inverse of the allocation, times the number of rotors. All ±1 for a square X."""
        return ROTORS * np.linalg.inv(self._allocation)


def load_vehicle(vehicle: str | Path | Mapping[str, Any] | Vehicle) -> Vehicle:
    """A vehicle by name (one of VEHICLES), from a JSON file, or from its own `to_dict`.

    Raises:
        ValueError: the name is unknown, the file is not JSON, or a field is unknown, missing or out of range.
    """
    return load(Vehicle, VEHICLES, vehicle)
