"""A live view: a controller at work in MuJoCo's own viewer, where there is a display."""

from __future__ import annotations

import copy
import os
import sys
import time
from typing import Any

import mujoco
import numpy as np

from ...envs import Scenario, make_batch
from ...envs.drawing import Canvas, paint_texture, reshape_mesh
from ..controller import Controller

_AWAY = 7.0  # m from which the viewer looks on at first, at the scale of a drone


class NoDisplay(RuntimeError):
    """There is no screen to open a window on; the message says what to do instead."""


class LiveCanvas(Canvas):
    """What an environment draws, into the scene of a viewer: what is beside the model, and the road. The model's own
    geoms are the viewer's, and keep their looks.

    Args:
        viewer: what `mujoco.viewer.launch_passive` returned.
    """

    def __init__(self, viewer: Any) -> None:
        self.model, self.scene, self.viewer = viewer.m, viewer.user_scn, viewer
        self.size, self.insets, self.memory = (1280, 720), False, {}
        self._unseen = mujoco.MjvGeom()
        self._meshes: list[int] = []
        self._textures: list[int] = []

    def clear(self) -> None:
        """Begin a new picture."""
        self.scene.ngeom = 0

    def upload(self) -> None:
        """Hand what has changed of the road to the viewer; not while its lock is held, which it needs for that."""
        while self._meshes:
            self.viewer.update_mesh(self._meshes.pop())
        while self._textures:
            self.viewer.update_texture(self._textures.pop())

    def geom(self, name: str) -> mujoco.MjvGeom:
        return self._unseen

    def reshape(self, mesh: str, vertices: np.ndarray) -> None:
        self._meshes.append(reshape_mesh(self.model, mesh, vertices))

    def paint(self, texture: str, colours: np.ndarray) -> None:
        self._textures.append(paint_texture(self.model, texture, colours))


def watch(scenario: Scenario, controller: Controller, seed: int, episodes: int | None = None) -> int:
    """Show episodes in real time, one after the other, until the window is closed.

    Args:
        scenario: what is flown.
        controller: it is reset at every episode.
        seed: of the first episode; the others count up.
        episodes: at most so many; None: no end.

    Returns:
        How many episodes were begun.

    Raises:
        NoDisplay: there is no screen.
    """
    require_display()
    import mujoco.viewer  # opens a connection to the screen

    env = make_batch(scenario.env_id, 1, shifts=scenario.shifts, **scenario.env_kwargs)
    model = copy.copy(env.model)
    model.stat.extent, model.vis.map.zfar = env.picture_scale, 1000.0
    data = mujoco.MjData(model)
    begun = 0
    with mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False) as viewer:
        canvas = LiveCanvas(viewer)
        while viewer.is_running() and begun != episodes:
            observation = env.reset([seed + begun])
            controller.reset(1)
            begun, done = begun + 1, False
            _aim(viewer, env.position(0), _AWAY * env.picture_scale)
            due = time.perf_counter()
            while viewer.is_running() and not done:
                observation, reward, terminated, truncated, _ = env.step(controller.act(observation, env.step_duration))
                controller.learn(observation, reward, terminated, truncated)
                done = bool(terminated[0] | truncated[0])
                with viewer.lock():
                    env.batch.get_data(0, data)
                    mujoco.mj_kinematics(model, data)
                    viewer.cam.lookat[:] = env.position(0)
                    canvas.clear()
                    env.draw_world(canvas, 0)
                    env.draw(canvas, 0)
                canvas.upload()
                viewer.sync()
                due += float(env.step_duration[0])
                time.sleep(max(0.0, due - time.perf_counter()))
    return begun


def require_display() -> None:
    """Raise NoDisplay where no window can be opened."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoDisplay(
            "there is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set). "
            "Film the episode instead: undrift render --run RUN --scenario SHIFT --out film.mp4"
        )


def _aim(viewer: Any, position: np.ndarray, distance: float) -> None:
    viewer.cam.lookat[:] = position
    viewer.cam.distance, viewer.cam.elevation = distance, -20.0
