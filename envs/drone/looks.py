"""How drones are drawn beside their model: where they should be, what they carry, weak rotors, wind, the way."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from ..drawing import Canvas, Colour, draw_parcel, draw_wind, parcel_size
from .vehicle import Vehicle

FAULT = (1.0, 0.10, 0.20)
"""Of a dead rotor."""
WAY = (1.0, 1.0, 1.0)
GOAL = (0.35, 0.95, 0.45)
"""Of what comes next: the gate to pass, the point to reach."""

_DISC = (0.55, 0.62, 0.72)  # of a healthy rotor, as in drone.xml


def rotor_colour(healthy: Colour, left: float) -> tuple[float, ...]:
    """RGBA of a rotor's disc with `left` of its effectiveness: translucent while healthy, red at a half and below."""
    fault = np.clip(2 * (1 - left), 0, 1)
    return (*((1 - fault) * np.array(healthy) + fault * np.array(FAULT)), 0.38 + 0.42 * fault)


def draw_payload(canvas: Canvas, vehicle: Vehicle, position: np.ndarray, rotation: np.ndarray, mass: float) -> None:
    """A parcel of a mass in kg, slung under the drone's belly."""
    below = np.array([0, 0, -0.45 * vehicle.arm - parcel_size(mass)])
    draw_parcel(canvas, position + rotation.reshape(3, 3) @ below, rotation, mass)


def draw_air_and_load(canvas: Canvas, vehicle: Vehicle, pose: np.ndarray, moment: Mapping[str, np.ndarray]) -> None:
    """What shifts and wind do to a drone at `pose` [7]: weak rotors, payload, wind arrows.

    `moment` is one row of `DroneEnv.record`.
    """
    for i, left in enumerate(moment["motor_effectiveness"]):
        if left < 1:
            canvas.geom(f"rotor_{i}").rgba[:] = rotor_colour(_DISC, float(left))
    if moment["payload"] > 1e-3:
        draw_payload(canvas, vehicle, pose[:3], _rotation(pose), float(moment["payload"]))
    draw_wind(canvas, moment["wind"], pose[:3], 6 * vehicle.radius)


def draw_ghost(canvas: Canvas, vehicle: Vehicle, pose: np.ndarray, place: np.ndarray) -> None:
    """Where the drone at `pose` [7] should be, [3]: a translucent copy, level and heading along x, but not when it is there."""
    level = _rotation(pose).T
    alpha = 0.4 * min(1.0, float(np.linalg.norm(place - pose[:3])) / vehicle.radius)
    for geom in _geoms_of(canvas, "drone"):
        position, rotation = place + level @ (geom.pos - pose[:3]), level @ geom.mat
        copied = canvas.shape(mujoco.mjtGeom(geom.type), np.zeros(3), position, rotation, (*GOAL, alpha))
        copied.size[:] = geom.size


def light_up(canvas: Canvas, body: str) -> None:
    """Show a body as what comes next."""
    for geom in _geoms_of(canvas, body):
        geom.rgba[:3] = GOAL


def _geoms_of(canvas: Canvas, body: str) -> list[mujoco.MjvGeom]:
    """A body's geoms in the present picture."""
    number, bodies = canvas.model.body(body).id, canvas.model.geom_bodyid
    return [
        geom
        for geom in canvas.scene.geoms[: canvas.scene.ngeom]
        if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and bodies[geom.objid] == number
    ]


def _rotation(pose: np.ndarray) -> np.ndarray:
    """[3, 3] from body to world."""
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, pose[3:7])
    return rotation.reshape(3, 3)
