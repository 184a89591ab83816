"""View: one simulation of a batch as a camera sees it, without a screen and without a GPU."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from .appearance import PARAMETERS, Appearance
from .drawing import Canvas

if TYPE_CHECKING:
    from .simulation import BatchEnv

CAMERAS = {
    "chase": (640, 480),
    "orbit": (640, 480),
    "top": (640, 480),
    "first_person": (64, 64),
    "fixed": (640, 480),
}
"""The cameras, by name, with the width and height of their pictures in pixels."""
SKY = (0.55, 0.66, 0.80)

# Lengths at the scale of a drone: `BatchEnv.picture_scale` multiplies them.
_HORIZON = 60.0  # m, where floor and sky meet
_TILE = 1.0  # m, period of the floor's texture
_TURN_S = 0.6  # time constant with which the chase camera turns
_TRAIL = 100  # pictures
_TRAIL_COLOUR = (1.0, 0.55, 0.15)
_OVERVIEW = 3.0  # times as far away as the chase camera is the one on top
_ORBIT_S = 15.0  # in which the camera goes round
_ORBIT_ELEVATION = -0.35  # rad
_STANDS = 8.0  # m, how far a camera that stands lets the vehicle go before it is put down again further on
_VEHICLE_GROUP = 2  # of the vehicle's visible geoms


class View:
    """Pictures of simulation `index`, now.

    "chase" stays behind and above the vehicle and turns to what comes (the environment's `outlook`); "orbit" goes round it
    once in 15 s; "top" looks straight down on it, world y upwards; "fixed" stands beside the way and turns to it, and where
    it has gone too far stands further on. They show what explains the episode as well: what the environment's `draw` adds,
    and the way gone, as far as it was in the pictures before. "first_person" sees the world alone, as a camera on the
    vehicle does: floor, horizon, road, obstacles.

    Close it to free the OpenGL context.

    Args:
        env: the batch.
        camera: one of CAMERAS.
        width: in pixels; None is the camera's own (`CAMERAS`).
        height: likewise.
        index: of the simulation.
        insets: whether the map of a road is shown in a corner.

    Raises:
        ValueError: an unknown camera, or a size that is none.
        DrawingUnavailable: this machine has no OpenGL; the message says what to install.
    """

    def __init__(
        self,
        env: BatchEnv,
        camera: str = "chase",
        width: int | None = None,
        height: int | None = None,
        index: int = 0,
        insets: bool = True,
    ) -> None:
        self.size = picture_size(camera, width, height)
        self.env, self.camera, self.index = env, camera, index
        self._model = copy.copy(env.model)
        self._floor = _bring_near(self._model, env.picture_scale)
        self._explains = camera != "first_person"
        # Multisampling triples the time of a large picture, and costs nothing in one so small that it needs it.
        self._canvas = Canvas(self._model, self.size, samples=0 if self._explains else 4, insets=insets)
        self._canvas.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        self._canvas.scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = True
        self._appearance = Appearance(self._model, [self._model.camera("first_person").id])
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_VEHICLE_GROUP] = self._explains
        self._data = mujoco.MjData(self._model)
        self._time = np.inf  # of the last picture
        self._outlook = np.array([1.0, 0.0])
        self._trail: deque[np.ndarray] = deque(maxlen=_TRAIL)
        self._stand = np.full(3, np.inf)

    def draw(self) -> np.ndarray:
        """The picture: uint8 [height, width, 3]."""
        self.env.batch.get_data(self.index, self._data)
        position, scale = self.env.position(self.index), self.env.picture_scale
        passed = self._pass_time()
        if self._appearance.show({name: self.env.plant[name][self.index] for name in PARAMETERS}):
            self._canvas.renew()
        mujoco.mj_kinematics(self._model, self._data)
        tile = _TILE * scale
        self._data.geom_xpos[self._floor, :2] = tile * np.round(position[:2] / tile)
        mujoco.mj_camlight(self._model, self._data)
        cameras = {
            "chase": self._follow,
            "orbit": self._circle,
            "top": self._overlook,
            "first_person": self._first_person,
            "fixed": self._watch,
        }
        self._canvas.begin(self._data, cameras[self.camera](position, passed), self._option)
        # A box inside out, for it is seen from within: all of it beyond the fog's end.
        self._canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, [-1.6 * _HORIZON * scale] * 3, position, np.eye(3), (*SKY, 1))
        self.env.draw_world(self._canvas, self.index)
        if self._explains:
            self._trail.append(position)
            self._canvas.lines(np.array(self._trail), _TRAIL_COLOUR, np.linspace(0, 1, len(self._trail)), 4.0)
            self.env.draw(self._canvas, self.index)
        return self._canvas.picture()

    def pixel(self, point: np.ndarray) -> tuple[float, float]:
        """Where a world point [3] m is in the last picture of the chase or the top camera: (x, y)."""
        return self._canvas.project(point)

    @property
    def across(self) -> np.ndarray:
        """[2, 3] level unit vectors of the world that point right and up (or away) in the last picture."""
        return self._canvas.across

    def close(self) -> None:
        """Free the OpenGL context."""
        self._canvas.close()

    def _pass_time(self) -> float:
        """Time since the last picture, s; infinite for the first one of an episode, which forgets the ones before."""
        before, self._time = self._time, float(self.env.time[self.index])
        if self._time > 0 and self._time >= before:
            return self._time - before
        self._trail.clear()
        self._stand = np.full(3, np.inf)
        self._canvas.memory.clear()
        return np.inf

    def _first_person(self, position: np.ndarray, passed: float) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        camera.fixedcamid = self._model.camera("first_person").id
        return camera

    def _follow(self, position: np.ndarray, passed: float) -> mujoco.MjvCamera:
        """The chase camera, where the model has it, but about the environment's smoothed outlook instead of the attitude."""
        forward = self.env.outlook(self.index)
        self._outlook = self._outlook + (1 - np.exp(-passed / _TURN_S)) * (forward - self._outlook)
        ahead, left, up = self._model.camera("chase").pos
        azimuth = np.arctan2(self._outlook[1], self._outlook[0]) + np.arctan2(-left, -ahead)
        return _free_camera(
            position, float(np.linalg.norm([ahead, left, up])), azimuth, -np.arctan2(up, np.hypot(ahead, left))
        )

    def _circle(self, position: np.ndarray, passed: float) -> mujoco.MjvCamera:
        azimuth = 2 * np.pi * float(self.env.time[self.index]) / _ORBIT_S
        return _free_camera(position, self._chase_distance, azimuth, _ORBIT_ELEVATION)

    def _overlook(self, position: np.ndarray, passed: float) -> mujoco.MjvCamera:
        return _free_camera(position, _OVERVIEW * self._chase_distance, 0.5 * np.pi, -0.5 * np.pi)

    def _watch(self, position: np.ndarray, passed: float) -> mujoco.MjvCamera:
        reach = _STANDS * self.env.picture_scale
        if np.linalg.norm(position - self._stand) > reach:
            x, y = self.env.outlook(self.index)
            self._stand = position + reach * np.array([0.6 * x + 0.3 * y, 0.6 * y - 0.3 * x, 0.15])
        towards = position - self._stand
        distance = float(np.linalg.norm(towards))
        return _free_camera(
            position, distance, np.arctan2(towards[1], towards[0]), np.arcsin(towards[2] / max(distance, 1e-6))
        )

    @property
    def _chase_distance(self) -> float:
        return float(np.linalg.norm(self._model.camera("chase").pos))


def _free_camera(lookat: np.ndarray, distance: float, azimuth: float, elevation: float) -> mujoco.MjvCamera:
    """A camera so far from what it looks at, in that direction, rad."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
    camera.lookat[:] = lookat
    camera.distance, camera.azimuth, camera.elevation = distance, np.degrees(azimuth), np.degrees(elevation)
    return camera


def _bring_near(model: mujoco.MjModel, scale: float) -> np.ndarray:
    """Let the world end at the horizon, in fog; returns the geoms that are its floor.

    An infinite plane and a sky box would cost a software renderer most of each frame.
    """
    floor = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (model.geom_size[:, 0] == 0))
    model.geom_size[floor] = _HORIZON * scale
    model.mat_texrepeat[model.geom_matid[floor]] /= scale
    model.stat.extent = scale  # the unit of the distances that follow, m
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
