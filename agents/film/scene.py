"""The filmed world: the recorded poses on the drone's own model, with path, trails, wind, payload and weak motors."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

import mujoco
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ...envs.drawing import Canvas, Colour, DrawingUnavailable
from ...envs.drone.looks import draw_payload, rotor_colour
from ...envs.drone.model import drone_spec
from ...envs.drone.vehicle import Vehicle, load_vehicle
from ..episode import Episode
from .take import Take

FROZEN = (1.0, 0.56, 0.16)
ADAPTING = (0.16, 0.84, 0.96)
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
GRID_REACH = 15  # m, where the haze swallows the floor's lines
GRID_STRIDE = 3  # m, each line is drawn in pieces of this length, so that it can fade
STREAKS = 90
STREAK_BOX = 3.2  # m, half the side of the cube of air that carries streaks


class FilmUnavailable(RuntimeError):
    """This machine lacks what a film needs; the message names it and the command that installs it."""


def colours(take: Take) -> tuple[Colour, ...]:
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

    legend = "white ghost: where it should be"

    def __init__(self, take: Take, size: tuple[int, int], samples: int = 4) -> None:
        self.take, self.size = take, size
        self.vehicles = [
            load_vehicle(episode.meta.get("env_kwargs", {}).get("vehicle", "racer")) for episode in take.episodes
        ]
        self.model = _compile(self.vehicles)
        self.model.vis.global_.fovy = FOVY
        self.data = mujoco.MjData(self.model)
        self.rotors = [self._paint(i, colour) for i, colour in enumerate(colours(take))]
        self.track = _camera_track(take)
        self.right = np.array([np.sin(self.track.azimuth), -np.cos(self.track.azimuth), 0.0])
        self.across = np.stack([self.right, [np.cos(self.track.azimuth), np.sin(self.track.azimuth), 0.0]])
        self.lanes = [(i - (len(take.episodes) - 1) / 2) * LANE * self.right for i in range(len(take.episodes))]
        self.air = np.random.default_rng(0).uniform(-STREAK_BOX, STREAK_BOX, (STREAKS, 3))
        self.drift = np.cumsum(take.longest.wind.astype(float), axis=0) * take.dt

        try:
            self.canvas = Canvas(self.model, size, samples)
        except DrawingUnavailable as error:
            raise FilmUnavailable(f"no film: {error}, then film the saved episodes with `undrift render`") from error

    def draw(self, step: int) -> np.ndarray:
        """The picture after a control step: uint8 [height, width, 3]."""
        for i, episode in enumerate(self.take.episodes):
            self._pose(i, episode, step)
        mujoco.mj_forward(self.model, self.data)
        self.canvas.begin(self.data, self._camera(step))
        self._draw_grid(step)
        for i, episode in enumerate(self.take.episodes):
            self._draw_path(i, step)
            self._draw_flight(i, episode, step)
        self._draw_wind(step)
        return self.canvas.picture()

    def position(self, index: int, step: int) -> np.ndarray:
        """Where an episode's drone is drawn, world frame, m [3]."""
        episode = self.take.episodes[index]
        return episode.qpos[self.take.row(episode, step), :3].astype(float) + self.lanes[index]

    def tags(self, step: int) -> list[tuple[float, float]]:
        """Pixel (x, y) just above each drone and its ghost, in the picture last drawn."""
        places = []
        for index in range(len(self.take.episodes)):
            here, ghost = self.position(index, step), self.data.joint(f"{index}_ghost_drone").qpos[:3]
            places.append(self.canvas.project(here + [0, 0, 0.11 + np.clip(ghost[2] - here[2], 0, 0.2)]))
        return places

    def _paint(self, index: int, colour: Colour) -> list[Any]:
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
        healthy = colours(self.take)[index]
        for disc, left in zip(self.rotors[index], episode.motor_effectiveness[row], strict=True):
            disc.rgba = rotor_colour(healthy, left)

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
            self.canvas.lines(piece, GRID, np.full(2, alpha), 1.3)

    def _draw_path(self, index: int, step: int) -> None:
        """The reference, from where it was to a little ahead."""
        behind, ahead = round(TRAIL_S / self.take.dt), round(AHEAD_S / self.take.dt)
        steps = self._every(max(step - behind, 0), min(step + ahead, self.take.steps - 1))
        alpha = np.clip(1.2 - np.maximum((step - steps) / behind, (steps - step) / ahead), 0.0, 0.65)
        self.canvas.lines(self.take.longest.reference[steps] + self.lanes[index], (1, 1, 1), alpha, 1.6)

    def _draw_flight(self, index: int, episode: Episode, step: int) -> None:
        """The trail, the payload, and the line from where the drone should be to where it is."""
        row = self.take.row(episode, step)
        steps = self._every(max(row - round(TRAIL_S / self.take.dt), 0), row)
        trail = episode.qpos[steps, :3] + self.lanes[index]
        colour = colours(self.take)[index]
        self.canvas.lines(trail, colour, np.linspace(0.0, 1.0, len(steps)), 5.0)
        if not self.take.crashed(episode, step):
            ghost = self.data.joint(f"{index}_ghost_drone").qpos[:3]
            self.canvas.lines(np.stack([ghost, self.position(index, step)]), colour, np.ones(2), 2.5)
        if episode.payload[row] > 1e-3:
            drone = self.data.body(f"{index}_drone")
            draw_payload(self.canvas, self.vehicles[index], drone.xpos, drone.xmat, float(episode.payload[row]))

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
            self.canvas.lines(points, (0.92, 0.97, 1.0), alpha * np.array([0.0, 0.35, 1.0]), 1.7)

    def close(self) -> None:
        """Free the OpenGL context."""
        self.canvas.close()

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


def _compile(vehicles: list[Vehicle]) -> mujoco.MjModel:
    """The stage with each vehicle and its ghost; elements are prefixed ``0_``, ``0_ghost_``, ``1_`` ..."""
    stage = mujoco.MjSpec.from_string(files(__package__).joinpath("stage.xml").read_text())
    for index, vehicle in enumerate(vehicles):
        for prefix in (f"{index}_", f"{index}_ghost_"):
            drone = drone_spec(vehicle)
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
