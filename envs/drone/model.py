"""MuJoCo models of vehicles: the template drone.xml with one vehicle's figures in it."""

from __future__ import annotations

from importlib.resources import files

import mujoco
import numpy as np

from .vehicle import GRAVITY, Vehicle

_TEMPLATE_ARM = 0.1  # m, rotor offset that drone.xml is drawn for


def drone_spec(vehicle: Vehicle) -> mujoco.MjSpec:
    """The vehicle over a floor, as an editable model: body "drone", actuators and geoms "rotor_0" to "rotor_3".

    Add what else the world holds, then compile it. The vehicle's collision geom is "hull".
    """
    spec = mujoco.MjSpec.from_string(files(__package__).joinpath("drone.xml").read_text(encoding="utf-8"))
    spec.option.gravity = [0, 0, -GRAVITY]
    body = spec.body("drone")
    body.mass, body.inertia = vehicle.mass, vehicle.inertia
    _scale_looks(body, vehicle.arm / _TEMPLATE_ARM)
    spec.geom("hull").size = [vehicle.radius, vehicle.height / 2, 0]
    for i, ((x, y), spin) in enumerate(zip(vehicle.rotor_positions, vehicle.rotor_spin, strict=True)):
        spec.site(f"rotor_{i}").pos = [x, y, 0]
        spec.geom(f"arm_{i}").fromto = [0, 0, 0, x, y, 0]
        disc = spec.geom(f"rotor_{i}")
        disc.pos[:2] = x, y
        disc.size[0] = vehicle.rotor_radius
        rotor = spec.actuator(f"rotor_{i}")
        rotor.gear = [0, 0, 1, 0, 0, spin * vehicle.torque_per_thrust]
        rotor.ctrlrange = [0, vehicle.max_rotor_thrust]
        rotor.dynprm[0] = vehicle.motor_time_constant
    return spec


def _scale_looks(body: mujoco.MjsBody, scale: float) -> None:
    for item in (*body.geoms, *body.cameras):
        item.pos = np.asarray(item.pos) * scale
    for geom in body.geoms:
        geom.size = np.asarray(geom.size) * scale
