"""How cars and their roads are drawn: the road as a mesh of the canvas's model, the rest as shapes and lines beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from ..drawing import Canvas, draw_parcel, draw_wind, parcel_size
from .road import FRICTION, HALF_WIDTH, HEADING, Roads, X, Y, pose_at
from .vehicle import WHEELS, Car

WAY = (1.0, 1.0, 1.0)
"""Of the line to follow."""
RUBBER = (0.02, 0.02, 0.02)
RAY = (1.0, 0.25, 0.25)
DRY = (0.30, 0.31, 0.34)
SLIPPERY = (0.45, 0.68, 0.88)
"""Of ground of friction factor SLICK and below; between it and DRY, the colour is between theirs."""
GRIPPY = (0.40, 0.26, 0.20)
"""Of ground of factor 2 - SLICK and above."""
SLICK = 0.35

_OTHERS = ((0.20, 0.45, 0.75), (0.75, 0.72, 0.68), (0.55, 0.16, 0.18), (0.22, 0.42, 0.30))
_CARDBOARD = (0.80, 0.60, 0.36)
_GLASS = (0.14, 0.17, 0.22)
_MARK_WIDTH = 0.12  # of a line on the road, in widths of the car
_PLANNED_S = 1.5  # the line to follow is shown so far ahead
_SKIDS = 200  # pictures


def add_road(spec: mujoco.MjSpec, car: Car, roads: Roads) -> None:
    """Give a car's model a road to be seen: meshes "road" and "lines", which `lay_road` shapes. They touch nothing.

    The floor is lowered beneath them.
    """
    cells = roads.table.shape[1] - (not roads.closed)
    spec.geom("floor").pos = [0, 0, -0.04 * car.length]
    spec.add_texture(
        name="road", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        width=cells + 1, height=1, rgb1=DRY, nchannel=3,
    )  # fmt: skip
    paint = spec.add_material(name="road", rgba=[1, 1, 1, 1], specular=0)
    paint.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "road"
    spec.add_material(name="lines", rgba=[0.92, 0.92, 0.90, 1], specular=0, emission=0.3)
    for name, strips in (("road", 1), ("lines", 2)):
        faces = np.concatenate([_strip(cells + 1) + k * 2 * (cells + 1) for k in range(strips)])
        rows = np.tile(np.arange(cells + 1.0), 2 * strips)
        sides = np.repeat(np.arange(2.0 * strips), cells + 1)
        spec.add_mesh(
            name=name,
            uservert=np.stack([rows, -sides, np.zeros_like(rows)], axis=1).ravel(),
            userface=faces.ravel(),
            usertexcoord=np.stack([(rows + 0.5) / (cells + 1), np.full_like(rows, 0.5)], axis=1).ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        spec.worldbody.add_geom(
            name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, contype=0, conaffinity=0, mass=0
        )


def lay_road(canvas: Canvas, car: Car, road: np.ndarray, closed: bool) -> None:
    """Put a road, [P, 7] as in `Roads.table`, into the meshes of `add_road`."""
    if closed:
        road = np.concatenate([road, road[:1]])
    left = np.stack([-np.sin(road[:, HEADING]), np.cos(road[:, HEADING])], axis=1)
    line = _MARK_WIDTH * car.width

    def beside(offset: np.ndarray) -> np.ndarray:
        return road[:, [X, Y]] + offset[:, None] * left

    border = road[:, HALF_WIDTH]
    _shape_mesh(canvas, "road", [beside(border), beside(-border)])
    _shape_mesh(canvas, "lines", [beside(border + line), beside(border), beside(-border), beside(-border - line)])
    canvas.paint("road", _ground_colour(road[:, FRICTION]))


def draw_line_to_follow(canvas: Canvas, roads: Roads, road: int, station: float, speed: float) -> None:
    """The road's centreline, from a little behind a car at `station` m to where `speed` m/s takes it."""
    length = _PLANNED_S * max(speed, 1.0)
    ahead = np.linspace(-0.2 * length, length, 60)
    points = along(roads, road, station + ahead)
    canvas.lines(points, WAY, 1.0 - np.maximum(ahead / length, -5 * ahead / length), 3.0)


def along(roads: Roads, road: int, stations: np.ndarray, lateral: float = 0.0) -> np.ndarray:
    """[K, 3] points `lateral` m left of the centreline, just above the ground."""
    table = roads.table, roads.spacing, roads.closed
    return np.array([(*pose_at(*table, road, s, lateral)[:2], 0.01) for s in stations])


def draw_lane_marks(canvas: Canvas, car: Car, roads: Roads, road: int, station: float, laterals: np.ndarray) -> None:
    """Dashes between the lanes around a car at `station` m, so many m left of the centreline."""
    dash = 0.8 * car.length
    first = np.floor(station / (3 * dash)) - 5
    for k in range(22):
        for lateral in laterals:
            place = roads.table, roads.spacing, roads.closed, road, (first + k) * 3 * dash, lateral
            x, y, heading = pose_at(*place)
            half = [dash / 2, _MARK_WIDTH * car.width / 2, 0.002]
            canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, half, [x, y, 0.003], turn_about_up(heading), (0.92, 0.92, 0.90, 1))


class Traces:
    """What the pictures of a car remember from one to the next: how far its wheels have turned, and where they slid."""

    def __init__(self) -> None:
        self.turned = np.zeros(len(WHEELS))
        self.skids: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_SKIDS)
        self.time = 0.0

    def draw(self, canvas: Canvas, car: Car, moment: Mapping[str, np.ndarray], time: float) -> None:
        """The wheels, and the marks they have left. `moment` is one row of `CarEnv.record`, `time` its, s."""
        self.turned = np.fmod(self.turned + moment["wheel_speed"] * (time - self.time), 2 * np.pi)
        self.time = time
        position, body = np.array([*moment["qpos"][:2], 0.0]), turn_about_up(float(moment["qpos"][2]))
        hubs = position + np.column_stack([car.wheel_positions, np.full(len(WHEELS), car.wheel_radius)]) @ body.T
        self._leave_marks(canvas, car, hubs, _sliding(car, moment))
        for i, name in enumerate(WHEELS):
            steered = body @ turn_about_up(float(moment["steering"])) if i < 2 else body
            cosine, sine = np.cos(self.turned[i]), np.sin(self.turned[i])
            rolled = steered @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
            canvas.geom(name).mat[:] = rolled @ _LYING
            for spoke in ([0.7, 0.37, 0.1], [0.1, 0.37, 0.7]):
                half = np.array(spoke) * car.wheel_radius
                canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, half, hubs[i], rolled, (0.75, 0.76, 0.80, 1))

    def _leave_marks(self, canvas: Canvas, car: Car, hubs: np.ndarray, sliding: np.ndarray) -> None:
        ground = hubs - [0, 0, 0.98 * car.wheel_radius]
        self.skids.append((ground, sliding))
        for i in range(len(WHEELS)):
            alpha = np.array([slid[i] for _, slid in self.skids])
            for first, last in _runs(alpha > 0):
                points = np.array([places[i] for places, _ in list(self.skids)[first:last]])
                canvas.lines(points, RUBBER, 0.75 * alpha[first:last], 5.0)


def _runs(shown: np.ndarray) -> list[tuple[int, int]]:
    """Where stretches of True begin and end, each with the place before it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(int)))
    return [(max(int(first) - 1, 0), int(last)) for first, last in edges.reshape(-1, 2)]


def _sliding(car: Car, moment: Mapping[str, np.ndarray]) -> np.ndarray:
    """[4] from 0 where a tyre slips by at most 0.6 of the slip of its largest force, to 1 at that slip and beyond."""
    stiffness = np.array([car.stiffness_front] * 2 + [car.stiffness_rear] * 2)
    largest = np.tan(np.pi / (2 * car.tyre_shape)) / stiffness * np.sqrt(np.maximum(moment["friction"], 1e-3))
    return np.clip((moment["slip"] / largest - 0.6) / 0.4, 0, 1)


def draw_air_and_load(canvas: Canvas, car: Car, moment: Mapping[str, np.ndarray]) -> None:
    """What shifts do to a car: wind arrows, and a payload on its roof."""
    x, y, yaw = moment["qpos"]
    draw_wind(canvas, moment["wind"], np.array([x, y, 0.0]), 2 * car.length, 0.1 * car.length)
    if (mass := float(moment["payload"])) > 1e-3:
        draw_parcel(canvas, np.array([x, y, car.height + parcel_size(mass)]), turn_about_up(yaw), mass)


def draw_map(canvas: Canvas, road: np.ndarray, closed: bool, position: np.ndarray) -> None:
    """The road, [P, 7] as in `Roads.table`, and the car's place on it, in a corner."""
    line = road[::4, [X, Y]]
    line = np.concatenate([line, road[:1, [X, Y]] if closed else road[-1:, [X, Y]]])
    canvas.inset(line, position[:2], WAY)


def draw_boxes(canvas: Canvas, boxes: np.ndarray, height: float) -> None:
    """Obstacles: `boxes` [K, 5] with columns as in `scan.BOX`, so high, m."""
    for x, y, yaw, length, width in boxes[boxes[:, 3] > 0]:
        half = [length, width, height / 2]
        canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, half, [x, y, height / 2], turn_about_up(yaw), (*_CARDBOARD, 1))


def draw_cars(canvas: Canvas, boxes: np.ndarray, height: float) -> None:
    """Other cars: `boxes` [K, 5] with columns as in `scan.BOX`, so high, m."""
    for k, (x, y, yaw, length, width) in enumerate(boxes):
        rotation = turn_about_up(yaw)
        if length > 0:
            for size, centre, colour in (
                ([length, width, 0.22 * height], [0.0, 0.0, 0.38 * height], _OTHERS[k % len(_OTHERS)]),
                ([0.5 * length, 0.82 * width, 0.2 * height], [-0.1 * length, 0.0, 0.8 * height], _GLASS),
                ([0.86 * length, 0.95 * width, 0.08 * height], [0.0, 0.0, 0.08 * height], RUBBER),
            ):
                canvas.shape(mujoco.mjtGeom.mjGEOM_BOX, size, rotation @ centre + [x, y, 0.0], rotation, (*colour, 1))


def draw_rays(canvas: Canvas, pose: np.ndarray, angles: np.ndarray, ranges: np.ndarray, height: float) -> None:
    """The beams of a scan from a car at `pose` [3], faintly, `height` m over the ground."""
    start = np.array([*pose[:2], height])
    directions = pose[2] + angles
    ends = start + ranges[:, None] * np.stack([np.cos(directions), np.sin(directions), np.zeros_like(angles)], axis=1)
    for end in ends:
        canvas.lines(np.stack([start, end]), RAY, np.full(2, 0.3), 1.2)


def turn_about_up(angle: float) -> np.ndarray:
    """[3, 3] the rotation by `angle` about world z."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _strip(rows: int) -> np.ndarray:
    """[F, 3] the triangles, facing up, between a line of `rows` vertices and the one to its right that follows it."""
    here = np.arange(rows - 1)
    return np.concatenate(
        [np.stack([here, here + rows, here + 1], axis=1), np.stack([here + 1, here + rows, here + rows + 1], axis=1)]
    )


def _shape_mesh(canvas: Canvas, name: str, lines: Sequence[np.ndarray]) -> None:
    """Give a mesh of `add_road` its places: lines [rows, 2] from left to right."""
    flat = np.concatenate(lines)
    canvas.reshape(name, np.column_stack([flat, np.zeros(len(flat))]))


def _ground_colour(friction: np.ndarray) -> np.ndarray:
    """[P, 3] of ground of these friction factors."""
    share = (friction - 1.0)[:, None] / (1.0 - SLICK)
    towards = np.where(share < 0, SLIPPERY, GRIPPY)
    return np.array(DRY) + np.clip(np.abs(share), 0, 1) * (towards - np.array(DRY))


_LYING = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # a cylinder's axis from z to -y
