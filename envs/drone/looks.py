"""How drones are drawn beside their model: where they should be, what they carry, weak rotors, wind, the way."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from ..drawing import Canvas, Colour
from .vehicle import Vehicle

FAULT = (1.0, 0.10, 0.20)
"""Of a dead rotor."""
WAY = (1.0, 1.0, 1.0)
AIR = (0.30, 0.92, 1.0)
GOAL = (0.35, 0.95, 0.45)
"""Of what comes next: the gate to pass, the point to reach."""

_DISC = (0.55, 0.62, 0.72)  # of a healthy rotor, as in drone.xml
_PAYLOAD_DENSITY = 320.0  # kg/m³, a parcel
_ARROW_S = 0.05  # a wind arrow is as long as the air's way in this time
_ARROWS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 2, [-0.5, 0.5], indexing="ij"), axis=-1).reshape(-1, 3)


def rotor_colour(healthy: Colour, left: float) -> tuple[float, ...]:
    """RGBA of a rotor's disc with `left` of its effectiveness: translucent while healthy, red at a half and below."""
    fault = np.clip(2 * (1 - left), 0, 1)
    return (*((1 - fault) * np.array(healthy) + fault * np.array(FAULT)), 0.38 + 0.42 * fault)


def draw_payload(canvas: Canvas, vehicle: Vehicle, position: np.ndarray, rotation: np.ndarray, mass: float) -> None:
    """A parcel slung under the drone's belly, its volume in proportion to its mass in kg."""
    half = (mass / _PAYLOAD_DENSITY) ** (1 / 3) / 2
    centre = position + rotation.reshape(3, 3) @ np.array([0, 0, -0.45 * vehicle.arm - half])
    tape = np.array([1.02, 0.2, 1.02]) * half
    canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, [half] * 3, centre, rotation, (0.80, 0.60, 0.36, 1))
    canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, tape, centre, rotation, (0.93, 0.88, 0.75, 1))


def draw_air_and_load(canvas: Canvas, vehicle: Vehicle, pose: np.ndarray, moment: Mapping[str, np.ndarray]) -> None:
    """What shifts and wind do to a drone at `pose` [7]: weak rotors, payload, wind arrows.

    `moment` is one row of `DroneEnv.record`.
    """
    for i, left in enumerate(moment["motor_effectiveness"]):
        if left < 1:
            _geom(canvas, f"rotor_{i}").rgba[:] = rotor_colour(_DISC, float(left))
    if moment["payload"] > 1e-3:
        draw_payload(canvas, vehicle, pose[:3], _rotation(pose), float(moment["payload"]))
    speed = float(np.linalg.norm(moment["wind"]))
    if speed > 0.2:
        spacing = 6 * vehicle.radius
        way = 0.5 * _ARROW_S * moment["wind"]
        for place in spacing * (np.round(pose[:3] / spacing) + _ARROWS):
            canvas.arrow(place - way, place + way, (*AIR, 0.45), 0.015 * spacing)


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


def _geom(canvas: Canvas, name: str) -> mujoco.MjvGeom:
    number = canvas.model.geom(name).id
    return next(g for g in canvas.scene.geoms if g.objtype == mujoco.mjtObj.mjOBJ_GEOM and g.objid == number)


def _rotation(pose: np.ndarray) -> np.ndarray:
    """[3, 3] from body to world."""
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, pose[3:7])
    return rotation.reshape(3, 3)
