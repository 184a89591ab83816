"""Cars as data: masses and axles, tyres, steering, drive and brakes, and how air pushes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..vehicle import GRAVITY, VehicleData, load, quantity

WHEELS = ("front_left", "front_right", "rear_left", "rear_right")
"""In the order of every array of four."""

CARS = ("f1tenth", "sedan")


@dataclass(frozen=True)
class Car(VehicleData):
    """A car on four wheels, steered in front. SI units; body x forward, y left, z up, origin at the centre of mass.

    The tyre of a wheel that bears N newtons, at combined slip s (see `physics`) on ground of friction factor λ, pulls
    against its sliding with the magic formula μ N sin(C atan(B s)), where μ = λ friction, B = stiffness / √λ and
    C = tyre_shape (Pacejka 2012).

    Raises:
        ValueError: a field is out of its range; the message names the field and its unit.
    """

    mass: float = quantity("kg", above=0)
    yaw_inertia: float = quantity("kg m²", above=0)
    """About the vertical through the centre of mass."""
    front_axle: float = quantity("m", above=0)
    """From the centre of mass forward to the front axle."""
    rear_axle: float = quantity("m", above=0)
    """From the centre of mass back to the rear axle."""
    track: float = quantity("m", above=0)
    """Between the left and the right wheels."""
    mass_height: float = quantity("m", least=0)
    """Of the centre of mass over the road."""
    length: float = quantity("m", above=0)
    width: float = quantity("m", above=0)
    height: float = quantity("m", above=0)
    wheel_radius: float = quantity("m", above=0)
    wheel_inertia: float = quantity("kg m²", above=0)
    """Of one wheel about its axle, with its share of the drive train."""
    friction_front: float = quantity("peak force per load", above=0)
    """Of the front tyres on dry ground."""
    friction_rear: float = quantity("peak force per load", above=0)
    stiffness_front: float = quantity("1", above=0)
    """Stiffness factor B of the front tyres on dry ground."""
    stiffness_rear: float = quantity("1", above=0)
    tyre_shape: float = quantity("1", above=1, most=2)
    """Shape factor C of the magic formula."""
    relaxation_length: float = quantity("m", above=0)
    """Way that a tyre rolls until its force has followed its slip by 63 %."""
    load_lag: float = quantity("s", above=0)
    """Time constant with which wheel loads follow the tyres' forces: that of pitch and roll."""
    rolling_resistance: float = quantity("resistance per load", least=0)
    max_steering: float = quantity("rad", above=0, most=1.2)
    """Largest angle of the front wheels, either way."""
    steering_range: float = quantity("rad", above=0)
    """Angle of the front wheels asked for at action ±1."""
    steering_lag: float = quantity("s", above=0)
    """Time constant of the steering servo."""
    steering_rate: float = quantity("rad/s", above=0)
    """Fastest turn of the front wheels."""
    max_drive_force: float = quantity("N", above=0)
    """Of all driven wheels on the road, at action +1."""
    max_power: float = quantity("W", above=0)
    """At the wheels."""
    max_speed: float = quantity("m/s", above=0)
    """At which the drive gives nothing more; it fades over the last tenth."""
    drive_front: float = quantity("share", least=0, most=1)
    """Of the drive force that goes to the front axle."""
    max_brake_force: float = quantity("N", above=0)
    """Of all wheels on the road, at action -1."""
    brake_front: float = quantity("share", least=0, most=1)
    """Of the brake force that goes to the front axle."""
    drag: tuple[float, ...] = quantity("N s²/m²", (2,), least=0)
    """Force of the air along body x and y, per airspeed and per airspeed along that axis."""
    drag_centre: float = quantity("m")
    """Where side wind acts, forward of the centre of mass."""

    def _check_as_a_whole(self) -> None:
        if self.steering_range > self.max_steering:
            raise ValueError(
                f"steering_range is {self.steering_range} rad: the wheels stop at max_steering, {self.max_steering} rad."
            )
        if self.mass_height >= min(self.front_axle, self.rear_axle, self.track / 2) / max(
            self.friction_front, self.friction_rear
        ):
            raise ValueError(
                f"mass_height is {self.mass_height} m: the car would roll over before its tyres slide. Keep it below "
                "front_axle, rear_axle and half the track (m), each over the larger friction."
            )

    @property
    def weight(self) -> float:
        """N."""
        return self.mass * GRAVITY

    @property
    def wheelbase(self) -> float:
        """Between the axles, m."""
        return self.front_axle + self.rear_axle

    @property
    def wheel_positions(self) -> np.ndarray:
        """[4, 2] m, along body x and y, in the order of WHEELS."""
        front, rear, side = self.front_axle, -self.rear_axle, self.track / 2
        return np.array([[front, side], [front, -side], [rear, side], [rear, -side]])

    @property
    def understeer_gradient(self) -> float:
        """K in steering = wheelbase / radius + K (lateral acceleration), for small slip on dry ground, rad s²/m.

        An axle that carries the mass m_i turns by the slip angle m_i a / (m_i g μ_i B_i C), so
        K = [1 / (μ_f B_f) - 1 / (μ_r B_r)] / (g C).
        """
        front = self.friction_front * self.stiffness_front
        rear = self.friction_rear * self.stiffness_rear
        return (1.0 / front - 1.0 / rear) / (GRAVITY * self.tyre_shape)

    @property
    def settling_time(self) -> float:
        """2 / ω, ω the frequency at which the car at rest swings on its tyres, s: damping them for so long is critical.

        ω² = (tyre stiffness) / mass = g μ B C / relaxation_length, the mean of both axles.
        """
        front, rear = self.friction_front * self.stiffness_front, self.friction_rear * self.stiffness_rear
        return 2.0 / float(np.sqrt(GRAVITY * self.tyre_shape * 0.5 * (front + rear) / self.relaxation_length))


def load_car(vehicle: str | Path | Mapping[str, Any] | Car) -> Car:
    """A car by name (one of CARS), from a JSON file, or from its own `to_dict`.

    Raises:
        ValueError: the name is unknown, the file is not JSON, or a field is unknown, missing or out of range.
    """
    return load(Car, CARS, vehicle)
