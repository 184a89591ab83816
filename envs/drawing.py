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

AIR = (0.30, 0.92, 1.0)
"""Of arrows that show the wind."""

_MAP, _HERE = (10, 15, 28), (255, 140, 38)  # a map's ground, and its dot
_PARCEL_DENSITY = 320.0  # kg/m³
_ORIGIN, _UPRIGHT = np.zeros(3), np.eye(3)
_ARROWS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 2, [-0.5, 0.5], indexing="ij"), axis=-1).reshape(-1, 3)


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
        insets: whether maps are shown; their corner may be wanted for something else.

    Raises:
        DrawingUnavailable: there is no OpenGL context to be had.
    """

    def __init__(self, model: mujoco.MjModel, size: tuple[int, int], samples: int = 4, insets: bool = True) -> None:
        self.model, self.size, self.insets = model, size, insets
        model.vis.quality.offsamples = samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        self._gl = _gl_context(size)
        atexit.register(_free, weakref.ref(self._gl))
        self._gl.make_current()
        self._context = _make_context(model)
        self.scene = mujoco.MjvScene(model, maxgeom=2000)
        self.memory: dict[str, Any] = {}
        """What those who draw remember from one picture of an episode to the next; `View` empties it."""
        self._insets: list[tuple[np.ndarray, np.ndarray, Colour]] = []
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            self.scene.flags[flag] = False

    def renew(self) -> None:
        """Read what of the model is read but once anew: the fog of its `vis` settings."""
        self._gl.make_current()
        self._context.free()
        self._context = _make_context(self.model)

    def begin(self, data: mujoco.MjData, camera: mujoco.MjvCamera, option: mujoco.MjvOption | None = None) -> None:
        """A new picture, with the model's own geoms in it; `data` holds their poses, `option` hides groups of them."""
        self._insets.clear()
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

    def geom(self, name: str) -> mujoco.MjvGeom:
        """A geom of the model, as it is in the present picture."""
        number, kind = self.model.geom(name).id, mujoco.mjtObj.mjOBJ_GEOM
        return next(g for g in self.scene.geoms if g.objtype == kind and g.objid == number)

    def reshape(self, mesh: str, vertices: np.ndarray) -> None:
        """Move the vertices of a level mesh, whose geom has its name, to `vertices` [V, 3] m in the world."""
        number = reshape_mesh(self.model, mesh, vertices)
        shown = self.geom(mesh)
        shown.pos[:], shown.mat[:] = 0, np.eye(3)
        self._gl.make_current()
        mujoco.mjr_uploadMesh(self.model, self._context, number)

    def paint(self, texture: str, colours: np.ndarray) -> None:
        """Give a texture of the model its colours: [pixels, 3] in [0, 1]."""
        number = paint_texture(self.model, texture, colours)
        self._gl.make_current()
        mujoco.mjr_uploadTexture(self.model, self._context, number)

    def inset(self, curve: np.ndarray, place: np.ndarray, colour: Colour) -> None:
        """A map in the upper right corner of the present picture: a curve [K, 2] m and a dot at `place` [2] m, y upwards."""
        if self.insets:
            self._insets.append((curve, place, colour))

    def project(self, point: np.ndarray) -> tuple[float, float]:
        """Pixel (x, y) of a world point [3] in the present picture, if it is a free camera's."""
        cameras = self.scene.camera
        eye = (np.array(cameras[0].pos) + np.array(cameras[1].pos)) / 2
        forward, up = np.array(cameras[0].forward), np.array(cameras[0].up)
        offset = point - eye
        width, height = self.size
        focal = height / 2 / np.tan(np.radians(self.model.vis.global_.fovy) / 2) / max(offset @ forward, 1e-3)
        return width / 2 + focal * (offset @ np.cross(forward, up)), height / 2 - focal * (offset @ up)

    @property
    def across(self) -> np.ndarray:
        """[2, 3] level unit vectors of the world that point right and up (or away) in the present picture."""
        camera = self.scene.camera[0]
        forward, up = np.array(camera.forward), np.array(camera.up)
        across = np.stack([np.cross(forward, up), forward + up]) * [1.0, 1.0, 0.0]
        return across / np.linalg.norm(across, axis=1, keepdims=True)

    def picture(self) -> np.ndarray:
        """The present picture: uint8 [height, width, 3]."""
        width, height = self.size
        pixels = np.empty((height, width, 3), np.uint8)
        viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl.make_current()
        mujoco.mjr_render(viewport, self.scene, self._context)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        picture = np.ascontiguousarray(pixels[::-1])
        for inset in self._insets:
            _stamp_map(picture, *inset)
        return picture

    def _connector(self, kind: mujoco.mjtGeom, start: Any, end: Any, rgba: Any, width: float) -> None:
        geom = self.shape(kind, _ORIGIN, _ORIGIN, _UPRIGHT, rgba)
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


def reshape_mesh(model: mujoco.MjModel, mesh: str, vertices: np.ndarray) -> int:
    """Give a level mesh of a model, whose geom has its name, its `vertices` [V, 3] m in the world; returns its number."""
    number, geom = model.mesh(mesh).id, model.geom(mesh).id
    first, count = model.mesh_vertadr[number], model.mesh_vertnum[number]
    model.mesh_vert[first : first + count] = vertices
    normal, normals = model.mesh_normaladr[number], model.mesh_normalnum[number]
    model.mesh_normal[normal : normal + normals] = (0, 0, 1)
    # MuJoCo had turned the mesh into the frame of its inertia, and its geom back.
    model.geom_pos[geom], model.geom_quat[geom] = 0, (1, 0, 0, 0)
    return number


def paint_texture(model: mujoco.MjModel, texture: str, colours: np.ndarray) -> int:
    """Give a texture of a model its `colours` [pixels, 3] in [0, 1]; returns its number."""
    number = model.texture(texture).id
    first = model.tex_adr[number]
    model.tex_data[first : first + colours.size] = np.round(255 * colours).astype(np.uint8).ravel()
    return number


def _make_context(model: mujoco.MjModel) -> mujoco.MjrContext:
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    return context


def _stamp_map(picture: np.ndarray, curve: np.ndarray, place: np.ndarray, colour: Colour) -> None:
    side = picture.shape[0] // 4
    margin = side // 12
    panel = picture[margin : margin + side, -margin - side : -margin]
    panel[:] = 0.45 * panel + 0.55 * np.array(_MAP)
    middle, scale = (curve.max(axis=0) + curve.min(axis=0)) / 2, side / (1.2 * np.ptp(curve, axis=0).max())

    def pixels(points: np.ndarray) -> np.ndarray:
        """Row and column, [2, K]."""
        return np.stack([side / 2 - scale * (points[:, 1] - middle[1]), side / 2 + scale * (points[:, 0] - middle[0])])

    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    fine = np.linspace(0.0, length[-1], 1 + int(2 * scale * length[-1]))
    rows, columns = pixels(np.stack([np.interp(fine, length, axis) for axis in curve.T], axis=1)).astype(int)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        panel[rows + down, columns + right] = 255 * np.array(colour)
    across = np.indices((side, side)) - pixels(place[None])[:, :, None]
    panel[np.hypot(*across) < side / 28] = _HERE


def draw_wind(canvas: Canvas, wind: np.ndarray, position: np.ndarray, spacing: float, duration: float = 0.05) -> None:
    """Arrows around a position, so far apart, m, and as long as the air's way in `duration` s; none in calm air."""
    if np.linalg.norm(wind) > 0.2:
        way = 0.5 * duration * wind
        for place in spacing * (np.round(position / spacing) + _ARROWS):
            canvas.arrow(place - way, place + way, (*AIR, 0.45), 0.015 * spacing)


def draw_parcel(canvas: Canvas, centre: np.ndarray, rotation: np.ndarray, mass: float) -> None:
    """A parcel, its volume in proportion to its mass in kg."""
    half = parcel_size(mass)
    tape = np.array([1.02, 0.2, 1.02]) * half
    canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, [half] * 3, centre, rotation, (0.80, 0.60, 0.36, 1))
    canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, tape, centre, rotation, (0.93, 0.88, 0.75, 1))


def parcel_size(mass: float) -> float:
    """Half the side of a parcel of a mass in kg, m."""
    return float((mass / _PARCEL_DENSITY) ** (1 / 3)) / 2


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
