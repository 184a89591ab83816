"""View: one simulation of a batch as a camera sees it, without a screen and without a GPU."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from .drawing import Canvas

if TYPE_CHECKING:
    from .simulation import BatchEnv

CAMERAS = {"chase": (640, 480), "first_person": (64, 64)}
"""The cameras, by name, with the width and height of their pictures in pixels."""
SKY = (0.55, 0.66, 0.80)

_HORIZON = 60.0  # m, where floor and sky meet
_TILE = 1.0  # m, period of the floor's texture
_TURN_S = 0.6  # time constant with which the chase camera turns
_TRAIL = 100  # pictures
_TRAIL_COLOUR = (1.0, 0.55, 0.15)
_VEHICLE_GROUP = 2  # of the vehicle's visible geoms


class View:
    """Pictures of simulation `index`, now.

    "chase" stays behind and above the vehicle, turns to what comes (the environment's `outlook`), and shows what explains
    the flight as well: what the environment's `draw` adds, and the way flown, as far as it was in the pictures before.
    "first_person" sees the world alone, as a camera on the vehicle does: floor, horizon, obstacles.

    Close it to free the OpenGL context.

    Args:
        env: the batch.
        camera: "chase" or "first_person".
        width: in pixels; None is the camera's own (`CAMERAS`).
        height: likewise.
        index: of the simulation.

    Raises:
        ValueError: an unknown camera, or a size that is none.
        DrawingUnavailable: this machine has no OpenGL; the message says what to install.
    """

    def __init__(
        self, env: BatchEnv, camera: str = "chase", width: int | None = None, height: int | None = None, index: int = 0
    ) -> None:
        self.size = picture_size(camera, width, height)
        self.env, self.camera, self.index = env, camera, index
        self._model = copy.copy(env.model)
        self._floor = _bring_near(self._model)
        # Multisampling triples the time of a large picture, and costs nothing in one so small that it needs it.
        self._canvas = Canvas(self._model, self.size, samples=0 if camera == "chase" else 4)
        self._canvas.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        self._canvas.scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = True
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_VEHICLE_GROUP] = camera == "chase"
        self._data = mujoco.MjData(self._model)
        self._time = 0.0
        self._outlook = np.array([1.0, 0.0])
        self._trail: deque[np.ndarray] = deque(maxlen=_TRAIL)

    def draw(self) -> np.ndarray:
        """The picture: uint8 [height, width, 3]."""
        self.env.batch.get_data(self.index, self._data)
        position = self._data.qpos[:3]
        mujoco.mj_kinematics(self._model, self._data)
        self._data.geom_xpos[self._floor, :2] = _TILE * np.round(position[:2] / _TILE)
        mujoco.mj_camlight(self._model, self._data)
        self._canvas.begin(self._data, self._follow() if self.camera == "chase" else self._first_person(), self._option)
        # A box inside out, for it is seen from within: all of it beyond the fog's end.
        self._canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, [-1.6 * _HORIZON] * 3, position, np.eye(3), (*SKY, 1))
        if self.camera == "chase":
            self._canvas.lines(np.array(self._trail), _TRAIL_COLOUR, np.linspace(0, 1, len(self._trail)), 4.0)
            self.env.draw(self._canvas, self.index)
        return self._canvas.picture()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._canvas.close()

    def _first_person(self) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        camera.fixedcamid = self._model.camera("first_person").id
        return camera

    def _follow(self) -> mujoco.MjvCamera:
        """The chase camera, where the model has it, but about the environment's smoothed outlook instead of the attitude."""
        position, forward = self._data.qpos[:3], self.env.outlook(self.index)
        before, self._time = self._time, float(self.env.time[self.index])
        passed = self._time - before
        if passed < 0 or self._time == 0:
            self._trail.clear()
            self._outlook = forward
        else:
            self._outlook = self._outlook + (1 - np.exp(-passed / _TURN_S)) * (forward - self._outlook)
        self._trail.append(position.copy())
        ahead, left, up = self._model.camera("chase").pos
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
        camera.lookat[:] = position
        camera.distance = np.linalg.norm([ahead, left, up])
        camera.azimuth = np.degrees(np.arctan2(self._outlook[1], self._outlook[0]) + np.arctan2(-left, -ahead))
        camera.elevation = -np.degrees(np.arctan2(up, np.hypot(ahead, left)))
        return camera


def _bring_near(model: mujoco.MjModel) -> np.ndarray:
    """Let the world end at the horizon, in fog; returns the geoms that are its floor.

    An infinite plane and a sky box would cost a software renderer most of each frame.
    """
    floor = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (model.geom_size[:, 0] == 0))
    model.geom_size[floor] = _HORIZON
    model.stat.extent = 1.0  # the unit of the distances that follow, m
    model.vis.map.znear, model.vis.map.zfar = 0.02, 3 * _HORIZON
    model.vis.map.fogstart, model.vis.map.fogend = 0.1 * _HORIZON, 0.8 * _HORIZON
    model.vis.rgba.fog[:] = (*SKY, 1)
    return floor


def picture_size(camera: str, width: int | None, height: int | None) -> tuple[int, int]:
    """Width and height of a camera's pictures.

    Raises:
        ValueError: an unknown camera, or a size that is none.
    """
    if camera not in CAMERAS:
        raise ValueError(f"unknown camera {camera!r}; the cameras are: {', '.join(CAMERAS)}.")
    own = CAMERAS[camera]
    size = (own[0] if width is None else width, own[1] if height is None else height)
    if min(size) < 1:
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels: give a width and a height of at least 1.")
    return size
