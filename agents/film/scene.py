"""The filmed world: the recorded poses on the drone's own model, with path, trails, wind, payload and weak motors."""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

import mujoco
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..episode import Episode
from .take import Take

FROZEN = (1.0, 0.56, 0.16)
ADAPTING = (0.16, 0.84, 0.96)
FAULT = (1.0, 0.10, 0.20)
DARK = (0.09, 0.10, 0.13)
ZENITH = (0.06, 0.11, 0.26)
HORIZON = (0.50, 0.60, 0.74)
FLOOR = (0.045, 0.065, 0.125)
GRID = (0.36, 0.47, 0.64)

LANE = 0.76  # m between the two copies of the path, two drones of 0.4 m and air between them
TRAIL_S = 1.6
AHEAD_S = 0.7
ELEVATION = -17.0  # degrees
FOVY = 46.0  # degrees
PAYLOAD_DENSITY = 320.0  # kg/m³, a parcel
GRID_REACH = 15  # m, where the haze swallows the floor's lines
GRID_STRIDE = 3  # m, each line is drawn in pieces of this length, so that it can fade
STREAKS = 90
STREAK_BOX = 3.2  # m, half the side of the cube of air that carries streaks

INSTALL = {
    "egl": "apt-get install libegl1 libopengl0 libgl1-mesa-dri",
    "osmesa": "apt-get install libosmesa6 libopengl0",
}


class FilmUnavailable(RuntimeError):
    """This machine lacks what a film needs; the message names it and the command that installs it."""


def colours(take: Take) -> tuple[tuple[float, float, float], ...]:
    """An RGB colour in [0, 1] for each episode of a take."""
    if len(take.episodes) == 2:
        return FROZEN, ADAPTING
    return (FROZEN,) if take.labels == ("frozen",) else (ADAPTING,)


class Stage:
    """Draws a take. Close it, or use it as a context manager, to free the OpenGL context.

    Both drones fly the same reference; their copies of it lie ``LANE`` apart across the picture, so that neither
    hides the other. A translucent ghost marks where each drone should be.

    Args:
        take: the episodes.
        size: width and height in pixels.
        samples: multisampling of the picture.

    Raises:
        FilmUnavailable: there is no OpenGL context to be had.
    """

    def __init__(self, take: Take, size: tuple[int, int], samples: int = 4) -> None:
        self.take, self.size = take, size
        self.model = _compile(len(take.episodes))
        self.model.vis.quality.offsamples = samples
        self.model.vis.global_.offwidth, self.model.vis.global_.offheight = size
        self.model.vis.global_.fovy = FOVY
        self.data = mujoco.MjData(self.model)
        self.rotors = [self._paint(i, colour) for i, colour in enumerate(colours(take))]
        self.track = _camera_track(take)
        self.right = np.array([np.sin(self.track.azimuth), -np.cos(self.track.azimuth), 0.0])
        self.across = np.stack([self.right, [np.cos(self.track.azimuth), np.sin(self.track.azimuth), 0.0]])
        self.lanes = [(i - (len(take.episodes) - 1) / 2) * LANE * self.right for i in range(len(take.episodes))]
        self.air = np.random.default_rng(0).uniform(-STREAK_BOX, STREAK_BOX, (STREAKS, 3))
        self.drift = np.cumsum(take.longest.wind.astype(float), axis=0) * take.dt

        self._gl = _gl_context(size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self.scene = mujoco.MjvScene(self.model, maxgeom=2000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            self.scene.flags[flag] = False

    @property
    def vehicle_mass(self) -> float:
        """Mass of the bare drone in kg."""
        return float(self.model.body("0_drone").mass[0])

    def draw(self, step: int) -> np.ndarray:
        """The picture after a control step: uint8 [height, width, 3]."""
        width, height = self.size
        for i, episode in enumerate(self.take.episodes):
            self._pose(i, episode, step)
        mujoco.mj_forward(self.model, self.data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self.model, self.data, mujoco.MjvOption(), None, self._camera(step), everything, self.scene
        )
        self._draw_grid(step)
        for i, episode in enumerate(self.take.episodes):
            self._draw_path(i, step)
            self._draw_flight(i, episode, step)
        self._draw_wind(step)
        pixels = np.empty((height, width, 3), np.uint8)
        viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl.make_current()
        mujoco.mjr_render(viewport, self.scene, self._context)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return pixels[::-1]

    def position(self, index: int, step: int) -> np.ndarray:
        """Where an episode's drone is drawn, world frame, m [3]."""
        episode = self.take.episodes[index]
        return episode.qpos[self.take.row(episode, step), :3].astype(float) + self.lanes[index]

    def tags(self, step: int) -> list[tuple[float, float]]:
        """Pixel (x, y) just above each drone and its ghost, in the picture last drawn."""
        places = []
        for index in range(len(self.take.episodes)):
            here, ghost = self.position(index, step), self.data.joint(f"{index}_ghost_drone").qpos[:3]
            places.append(self.project(here + [0, 0, 0.11 + np.clip(ghost[2] - here[2], 0, 0.2)]))
        return places

    def project(self, point: np.ndarray) -> tuple[float, float]:
        """Pixel (x, y) of a world point in the picture last drawn."""
        cameras = self.scene.camera
        eye = (np.array(cameras[0].pos) + np.array(cameras[1].pos)) / 2
        forward, up = np.array(cameras[0].forward), np.array(cameras[0].up)
        offset = point - eye
        width, height = self.size
        focal = height / 2 / np.tan(np.radians(FOVY) / 2) / max(offset @ forward, 1e-3)
        return width / 2 + focal * (offset @ np.cross(forward, up)), height / 2 - focal * (offset @ up)

    def _paint(self, index: int, colour: tuple[float, float, float]) -> list[Any]:
        """Colour one drone and its ghost; returns the drone's rotor discs, which change colour as motors weaken."""
        self.model.material(f"{index}_accent").rgba = (*colour, 1)
        self.model.material(f"{index}_frame").rgba = (*(0.45 * np.array(colour) + 0.55 * np.array(DARK)), 1)
        for name in ("accent", "frame", "disc"):
            self.model.material(f"{index}_ghost_{name}").rgba = (1, 1, 1, 0.10 if name == "disc" else 0.32)
        discs = [self.model.geom(f"{index}_rotor_{motor}") for motor in range(4)]
        for disc in discs:
            disc.matid = -1
        return discs

    def _pose(self, index: int, episode: Episode, step: int) -> None:
        """Put drone and ghost where the episode has them and tint each rotor by what is left of its motor."""
        row = self.take.row(episode, step)
        qpos = episode.qpos[row].astype(float)
        ghost = np.concatenate([self.take.longest.reference[min(step, self.take.steps - 1)], qpos[3:]])
        for name, pose in ((f"{index}_drone", qpos), (f"{index}_ghost_drone", ghost)):
            joint = self.data.joint(name)
            joint.qpos = pose
            joint.qpos[:3] += self.lanes[index]
        healthy = np.array(colours(self.take)[index])
        for disc, left in zip(self.rotors[index], episode.motor_effectiveness[row], strict=True):
            fault = np.clip(2 * (1 - left), 0, 1)
            disc.rgba = (*((1 - fault) * healthy + fault * np.array(FAULT)), 0.38 + 0.42 * fault)

    def _camera(self, step: int) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
        camera.lookat[:] = self.track.lookat[step]
        camera.distance = self.track.distance[step]
        camera.azimuth, camera.elevation = np.degrees(self.track.azimuth), ELEVATION
        return camera

    def _draw_grid(self, step: int) -> None:
        """The floor's lines, a metre apart, fading into the haze."""
        eye = self.track.lookat[step] - self.track.distance[step] * self.across[1]
        pieces = _grid(np.round(eye[:2]))
        offset = pieces.mean(axis=1) - eye
        clear = 1 - np.linalg.norm(offset, axis=1) / GRID_REACH
        shown = (clear > 0.03) & (offset @ self.across[1] > np.abs(offset @ self.across[0]) - 2 * GRID_STRIDE)
        for piece, alpha in zip(pieces[shown], clear[shown], strict=True):
            self._lines(piece, GRID, np.full(2, alpha), 1.3)

    def _draw_path(self, index: int, step: int) -> None:
        """The reference, from where it was to a little ahead."""
        behind, ahead = round(TRAIL_S / self.take.dt), round(AHEAD_S / self.take.dt)
        steps = self._every(max(step - behind, 0), min(step + ahead, self.take.steps - 1))
        alpha = np.clip(1.2 - np.maximum((step - steps) / behind, (steps - step) / ahead), 0.0, 0.65)
        self._lines(self.take.longest.reference[steps] + self.lanes[index], (1, 1, 1), alpha, 1.6)

    def _draw_flight(self, index: int, episode: Episode, step: int) -> None:
        """The trail, the payload, and the line from where the drone should be to where it is."""
        row = self.take.row(episode, step)
        steps = self._every(max(row - round(TRAIL_S / self.take.dt), 0), row)
        trail = episode.qpos[steps, :3] + self.lanes[index]
        colour = colours(self.take)[index]
        self._lines(trail, colour, np.linspace(0.0, 1.0, len(steps)), 5.0)
        if not self.take.crashed(episode, step):
            ghost = self.data.joint(f"{index}_ghost_drone").qpos[:3]
            self._lines(np.stack([ghost, self.position(index, step)]), colour, np.ones(2), 2.5)
        if episode.payload[row] > 1e-3:
            self._draw_payload(self.data.body(f"{index}_drone"), float(episode.payload[row]))

    def _draw_payload(self, drone: Any, mass: float) -> None:
        """A parcel slung under the drone, its volume in proportion to its mass in kg."""
        half = (mass / PAYLOAD_DENSITY) ** (1 / 3) / 2
        below = drone.xpos + drone.xmat.reshape(3, 3) @ np.array([0, 0, -0.045 - half])
        tape = np.array([1.02, 0.2, 1.02]) * half
        self._geom(mujoco.mjtGeom.mjGEOM_BOX, [half] * 3, below, drone.xmat, (0.80, 0.60, 0.36, 1))
        self._geom(mujoco.mjtGeom.mjGEOM_BOX, tape, below, drone.xmat, (0.93, 0.88, 0.75, 1))

    def _every(self, first: int, last: int) -> np.ndarray:
        """Control steps from first to last that carve a curve finely enough, 40 ms apart; always the same ones, and last."""
        stride = max(1, round(0.04 / self.take.dt))
        return np.append(np.arange(-(-first // stride) * stride, last, stride), last)

    def _draw_wind(self, step: int) -> None:
        """Streaks that drift with the air, as long as its way in 80 ms."""
        wind = self.take.longest.wind[min(step, self.take.steps - 1)].astype(float)
        speed = float(np.linalg.norm(wind))
        if speed < 0.2:
            return
        centre = self.track.lookat[step]
        heads = centre + (self.air + self.drift[step] - centre + STREAK_BOX) % (2 * STREAK_BOX) - STREAK_BOX
        fade = np.clip(1.6 * (1 - np.abs(heads - centre).max(axis=1) / STREAK_BOX), 0, 1) * min(1.0, speed / 5)
        seen = fade > 0.05
        for head, alpha in zip(heads[seen], 0.8 * fade[seen], strict=True):
            points = np.stack([head - 0.08 * wind, head - 0.03 * wind, head])
            self._lines(points, (0.92, 0.97, 1.0), alpha * np.array([0.0, 0.35, 1.0]), 1.7)

    def _lines(self, points: np.ndarray, colour: tuple[float, float, float], alpha: np.ndarray, width: float) -> None:
        """Connect points [N, 3] by lines of a width in pixels at 720 lines; ``alpha`` [N] fades them."""
        pixels = width * self.size[1] / 720
        for start, end, opacity in zip(points[:-1], points[1:], alpha[1:], strict=True):
            geom = self._geom(mujoco.mjtGeom.mjGEOM_LINE, np.zeros(3), np.zeros(3), np.eye(3), (*colour, opacity))
            geom.emission = 1.0
            mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_LINE.value, pixels, start.astype(float), end.astype(float))

    def _geom(self, kind: Any, size: Any, position: np.ndarray, rotation: np.ndarray, rgba: Any) -> mujoco.MjvGeom:
        geom = self.scene.geoms[self.scene.ngeom]
        mujoco.mjv_initGeom(
            geom, kind.value, np.asarray(size, float), position, np.ravel(rotation), np.asarray(rgba, np.float32)
        )
        self.scene.ngeom += 1
        return geom

    def close(self) -> None:
        """Free the OpenGL context."""
        self._context.free()
        self._gl.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Track:
    """A chase camera: ``lookat`` [T, 3] m, ``distance`` [T] m, one ``azimuth`` in rad."""

    lookat: np.ndarray
    distance: np.ndarray
    azimuth: float


def _camera_track(take: Take) -> _Track:
    """Follow the reference smoothly, back off as the drones stray, and look square across the drift of the first drone.

    The first drone's lane is the left one; the azimuth is such that the shift drives it outwards.
    """
    reference = take.longest.reference.astype(float)
    lookat = gaussian_filter1d(reference, 0.25 / take.dt, axis=0, mode="nearest") - [0, 0, 0.08]
    stray = np.zeros(take.steps)
    for episode in take.episodes:
        flown = take.row(episode, take.steps) + 1
        stray[:flown] = np.maximum(stray[:flown], episode.error[:flown])
    near = 1.62 if len(take.episodes) == 2 else 1.3
    distance = near + gaussian_filter1d(np.clip(stray - 0.3, 0, 1.2), 0.4 / take.dt, mode="nearest")
    first = take.episodes[0]
    after = first.time > (0.0 if take.onset_s is None else take.onset_s)
    drift = np.nanmean(first.qpos[after, :2] - first.reference[after, :2], axis=0) if after.any() else np.zeros(2)
    return _Track(lookat, distance, float(np.arctan2(-drift[0], drift[1])))


def _grid(centre: np.ndarray) -> np.ndarray:
    """Pieces of a metre grid on the floor around a point of whole metres: [N, 2 ends, 3] m."""
    along, across = np.meshgrid(
        np.arange(-GRID_REACH, GRID_REACH, GRID_STRIDE), np.arange(-GRID_REACH, GRID_REACH + 1), indexing="ij"
    )
    snapped = GRID_STRIDE * np.floor(centre / GRID_STRIDE)
    starts = np.stack([along, across, np.zeros_like(along)], axis=-1).reshape(-1, 3).astype(float)
    pieces = np.stack([starts, starts + [GRID_STRIDE, 0, 0]], axis=1)
    return np.concatenate([pieces, pieces[..., [1, 0, 2]]]) + [*snapped, 0.0]


def _compile(drones: int) -> mujoco.MjModel:
    """The stage with a drone and its ghost for each episode; elements are prefixed ``0_``, ``0_ghost_``, ``1_`` ..."""
    stage = mujoco.MjSpec.from_string(files(__package__).joinpath("stage.xml").read_text())
    vehicle = files("undrift.envs.drone").joinpath("drone.xml").read_text()
    for index in range(drones):
        for prefix in (f"{index}_", f"{index}_ghost_"):
            drone = mujoco.MjSpec.from_string(vehicle)
            drone.option.timestep = stage.option.timestep  # nothing is stepped here; unequal ones bring a warning
            stage.worldbody.add_frame().attach_body(drone.body("drone"), prefix, "")
    model = stage.compile()
    _paint_sky(model)
    return model


def _paint_sky(model: mujoco.MjModel, eye_height: float = 3.5) -> None:
    """Paint sky and floor as one sky box, for a camera about ``eye_height`` m up.

    A floor of its own would cost a software renderer a third of each frame. The six faces of the box are right, left, up,
    down, front, back.
    """
    texture = model.texture("sky")
    width = int(texture.width[0])
    across, down = np.meshgrid(*[np.linspace(-1, 1, width)] * 2)
    side = np.arctan2(-down, np.hypot(1, across))
    cap = np.arctan2(1, np.hypot(across, down))
    elevation = np.stack([side, side, cap, -cap, side, side])[..., None]
    horizon, zenith, floor = (np.array(colour) for colour in (HORIZON, ZENITH, FLOOR))
    distance = eye_height / np.sin(np.clip(-elevation, 1e-3, None))
    haze = np.clip((distance - 3) / 40, 0, 1) ** 0.7
    height = np.clip(elevation / np.radians(24), 0, 1) ** 0.7
    colour = np.where(elevation > 0, horizon + height * (zenith - horizon), floor + haze * (horizon - floor))
    first = int(texture.adr[0])
    model.tex_data[first : first + colour.size] = np.round(255 * colour).astype(np.uint8).ravel()


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
        raise FilmUnavailable(
            f"no film: this machine gives no OpenGL context ({reason}). Install Mesa's software renderer with "
            f"`{INSTALL[backend]}`, then film the saved episodes with `undrift render`"
        ) from error
