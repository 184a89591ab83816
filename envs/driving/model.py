"""MuJoCo models of cars: the template car.xml with one car's figures in it."""

from __future__ import annotations

from importlib.resources import files

import mujoco
import numpy as np

from .vehicle import WHEELS, Car

_TEMPLATE_LENGTH = 0.5  # m, of the car that the cameras of car.xml are placed for
_SIDEWAYS = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]  # turns a cylinder's axis from z to y


def car_spec(car: Car) -> mujoco.MjSpec:
    """The car on a plane, as an editable model: body "car", joints "x", "y" and "yaw", a visible geom for each of WHEELS.

    Add what else is to be seen, then compile it.
    """
    spec = mujoco.MjSpec.from_string(files(__package__).joinpath("car.xml").read_text(encoding="utf-8"))
    body = spec.body("car")
    # Only the third of them acts; equal ones are a valid inertia.
    body.mass, body.inertia = car.mass, [car.yaw_inertia] * 3
    middle = 0.5 * (car.front_axle - car.rear_axle)
    ground, roof = car.wheel_radius, car.height
    waist = 0.6 * (ground + roof)
    tread = 0.7 * car.wheel_radius
    centre, thickness = 0.5 * (ground + waist), waist - ground
    # The wheels stand free, so that their steering is seen.
    _box(spec.geom("chassis"), middle, centre, car.length, car.track - 1.2 * tread, thickness)
    _box(spec.geom("sides"), middle, centre, car.wheelbase - 2.6 * car.wheel_radius, car.width, thickness)
    _box(
        spec.geom("cabin"),
        middle - 0.05 * car.length,
        0.5 * (waist + roof),
        0.5 * car.length,
        car.track - 1.6 * tread,
        roof - waist,
    )
    for name, (x, y) in zip(WHEELS, car.wheel_positions, strict=True):
        wheel = spec.geom(name)
        wheel.pos, wheel.quat = [x, y, car.wheel_radius], _SIDEWAYS
        wheel.size = [car.wheel_radius, 0.5 * tread, 0]
    for camera in body.cameras:
        camera.pos = np.asarray(camera.pos) * car.length / _TEMPLATE_LENGTH
    spec.camera("first_person").pos = [middle, 0, roof]
    return spec


def _box(geom: mujoco.MjsGeom, x: float, z: float, length: float, width: float, height: float) -> None:
    geom.pos, geom.size = [x, 0, z], [length / 2, width / 2, height / 2]
