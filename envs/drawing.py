"""Canvas: pictures of a MuJoCo model with lines, arrows and shapes drawn into them, without a screen and without a GPU."""

from __future__ import annotations

import atexit
import ctypes.util
import importlib
import os
import sys
import weakref
from typing import Any, Self

import mujoco
import numpy as np

INSTALL = {
    "egl": "apt-get install libegl1 libopengl0 libgl1-mesa-dri",
    "osmesa": "apt-get install libosmesa6 libopengl0",
}

Colour = tuple[float, float, float]


class DrawingUnavailable(RuntimeError):
    """This machine lacks what drawing needs; the message names it and the command that installs it."""


class Canvas:
    """Draws one picture after another: `begin`, then what else it shows, then `picture`.

    Close it, or use it as a context manager, to free the OpenGL context. Shadows, reflections and haze, which cost a
    software renderer most of a frame, are off.

    Args:
        model: what is drawn. Its `vis` settings are read, and its picture size and multisampling set, once and here.
        size: width and height in pixels.
        samples: multisampling, 0 for none.

    Raises:
        DrawingUnavailable: there is no OpenGL context to be had.
    """

    def __init__(self, model: mujoco.MjModel, size: tuple[int, int], samples: int = 4) -> None:
        self.model, self.size = model, size
        model.vis.quality.offsamples = samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        self._gl = _gl_context(size)
        atexit.register(_free, weakref.ref(self._gl))
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self.scene = mujoco.MjvScene(model, maxgeom=2000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            self.scene.flags[flag] = False

    def begin(self, data: mujoco.MjData, camera: mujoco.MjvCamera, option: mujoco.MjvOption | None = None) -> None:
        """A new picture, with the model's own geoms in it; `data` holds their poses, `option` hides groups of them."""
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, data, option or mujoco.MjvOption(), None, camera, everything, self.scene)

    def lines(self, points: np.ndarray, colour: Colour, alpha: np.ndarray, width: float) -> None:
        """Connect points [N, 3] by lines of a width in pixels at 720 lines; `alpha` [N] fades them."""
        pixels = width * self.size[1] / 720
        for start, end, opacity in zip(points[:-1], points[1:], alpha[1:], strict=True):
            self._connector(mujoco.mjtGeom.mjGEOM_LINE, start, end, (*colour, opacity), pixels)

    def arrow(self, start: np.ndarray, end: np.ndarray, rgba: tuple[float, ...], width: float) -> None:
        """An arrow between two points [3], its shaft `width` m thick."""
        tip = 2 * end - start  # MuJoCo's arrow covers half the way
        self._connector(mujoco.mjtGeom.mjGEOM_ARROW, start, tip, rgba, width)

    def shape(self, kind: mujoco.mjtGeom, size: Any, position: Any, rotation: Any, rgba: Any) -> mujoco.MjvGeom:
        """A geom: half sizes [3] and position [3] in m, rotation matrix [9] or [3, 3], colour in [0, 1]."""
        geom = self.scene.geoms[self.scene.ngeom]
        mujoco.mjv_initGeom(
            geom, kind.value, np.asarray(size, float), position, np.ravel(rotation), np.asarray(rgba, np.float32)
        )
        geom.objtype, geom.objid = mujoco.mjtObj.mjOBJ_UNKNOWN.value, -1  # what was in its place an earlier time stays
        self.scene.ngeom += 1
        return geom

    def project(self, point: np.ndarray) -> tuple[float, float]:
        """Pixel (x, y) of a world point [3] in the present picture, if it is a free camera's."""
        cameras = self.scene.camera
        eye = (np.array(cameras[0].pos) + np.array(cameras[1].pos)) / 2
        forward, up = np.array(cameras[0].forward), np.array(cameras[0].up)
        offset = point - eye
        width, height = self.size
        focal = height / 2 / np.tan(np.radians(self.model.vis.global_.fovy) / 2) / max(offset @ forward, 1e-3)
        return width / 2 + focal * (offset @ np.cross(forward, up)), height / 2 - focal * (offset @ up)

    def picture(self) -> np.ndarray:
        """The present picture: uint8 [height, width, 3]."""
        width, height = self.size
        pixels = np.empty((height, width, 3), np.uint8)
        viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl.make_current()
        mujoco.mjr_render(viewport, self.scene, self._context)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def _connector(self, kind: mujoco.mjtGeom, start: Any, end: Any, rgba: Any, width: float) -> None:
        geom = self.shape(kind, np.zeros(3), np.zeros(3), np.eye(3), rgba)
        geom.emission = 1.0
        mujoco.mjv_connector(geom, kind.value, width, np.asarray(start, float), np.asarray(end, float))

    def close(self) -> None:
        """Free the OpenGL context."""
        self._context.free()
        self._gl.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _free(context: weakref.ref[Any]) -> None:
    """At exit, while there still is OpenGL to free it with."""
    if (left := context()) is not None:
        left.free()


def _gl_context(size: tuple[int, int]) -> Any:
    """An OpenGL context without a screen: EGL, or OSMesa where MUJOCO_GL asks for it.

    Independent of the back end mujoco chose when it was imported.
    """
    if sys.platform != "linux":
        return mujoco.gl_context.GLContext(*size)
    backend = "osmesa" if os.environ.get("MUJOCO_GL", "").lower() == "osmesa" else "egl"
    try:
        return importlib.import_module(f"mujoco.{backend}").GLContext(*size)
    except Exception as error:  # what is raised depends on which library is missing
        wanted = (("EGL",), ("OpenGL", "GL")) if backend == "egl" else (("OSMesa",), ("OpenGL", "GL"))
        missing = [f"lib{names[0]}" for names in wanted if not any(map(ctypes.util.find_library, names))]
        reason = f"{' and '.join(missing)} not found" if missing else f"{backend.upper()} answers: {error}"
        raise DrawingUnavailable(
            f"this machine gives no OpenGL context ({reason}). "
            f"Install Mesa's software renderer with `{INSTALL[backend]}`"
        ) from error
