"""Range scan in the plane: what a level scanner sees of the road's borders and of boxes, and what a car touches.

A road's borders join its cross-sections to a strip of convex cells. A ray walks from cell to cell until it leaves the
strip through a border: exact for the polylines, and its cost is that of the cells passed, not of the whole road.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .road import HALF_WIDTH, HEADING, Roads, X, Y
from .vehicle import Car

BOX = ("x", "y", "yaw", "half_length", "half_width")
"""Columns of a box: centre m, direction of its length rad, world frame; half sizes m. Of half length 0 it is absent."""


class Borders:
    """The left and right borders of several roads, `half_width` to each side of their centrelines.

    Raises:
        ValueError: a border folds over itself inside a bend.
    """

    def __init__(self, roads: Roads) -> None:
        self._roads = roads
        self.left, self.right = np.empty((2, *roads.table.shape[:2], 2))
        for index in range(len(roads)):
            self.lay(index)

    def lay(self, index: int) -> None:
        """Lay the borders of `roads[index]` anew.

        Raises:
            ValueError: one folds over itself inside a bend.
        """
        road = self._roads.table[index]
        normal = np.stack([-np.sin(road[:, HEADING]), np.cos(road[:, HEADING])], axis=1)
        centre, side = road[:, [X, Y]], road[:, HALF_WIDTH, None] * normal
        self.left[index], self.right[index] = centre + side, centre - side
        point = _first_fold(self.left[index], self.right[index], self._roads.closed)
        if point >= 0:
            raise ValueError(
                f"the border of road {index} folds over itself at point {point}: "
                "half_width must stay below the radius of the bend."
            )

    def scan(
        self,
        ids: np.ndarray,
        road_index: np.ndarray,
        nearest: np.ndarray,
        qpos: np.ndarray,
        angles: np.ndarray,
        limit: float,
        boxes: np.ndarray,
    ) -> np.ndarray:
        """Distances [n, B] m that the scanners of the simulations `ids` [n] read to the nearest border or box.

        At most `limit`, which is also what a ray reads that leaves through the end of an open road; 0 inside a box and,
        outwards, beyond a border.

        Args:
            ids: [n].
            road_index: [N] each simulation's road.
            nearest: [N] index of a point of that road near the scanner.
            qpos: [N, 3] x m, y m, yaw rad of the scanner.
            angles: [B] the beams' directions, counterclockwise from straight ahead, rad.
            limit: of the range, m.
            boxes: [N, K, 5] what else stands there, columns as in BOX.
        """
        out = np.empty((len(ids), len(angles)))
        road = self.left, self.right, self._roads.closed, road_index, nearest
        _scan(ids, *road, qpos, np.cos(angles), np.sin(angles), limit, boxes, out)
        return out

    def touched(self, road_index: np.ndarray, nearest: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """[N] whether the simulations' boxes [N, 5] (columns as in BOX) reach a border; the rest as in `scan`."""
        out = np.empty(len(boxes), dtype=np.bool_)
        _touched(self.left, self.right, self._roads.closed, road_index, nearest, boxes, out)
        return out


def fan(beams: int, field_of_view: float) -> np.ndarray:
    """[beams] directions within a field of view about straight ahead, from right to left, rad.

    field_of_view / 2 s |s|, s in the middle of each of `beams` equal parts of -1 to 1: what is ahead is looked at from
    further away, and so more closely.

    Raises:
        ValueError: fewer than 2 beams, or a field of view of more than a full turn.
    """
    if beams < 2:
        raise ValueError(f"beams is {beams}: a scan has at least 2.")
    if not 0 < field_of_view <= 2 * np.pi:
        raise ValueError(f"field_of_view is {field_of_view}: an angle in rad, above 0 and at most 2 pi.")
    s = (2.0 * np.arange(beams) + 1.0) / beams - 1.0
    return 0.5 * field_of_view * s * np.abs(s)


def outline(car: Car, angles: np.ndarray) -> np.ndarray:
    """[B] how far the car itself reaches from its centre of mass in the directions `angles` [B], m."""
    cosine, sine = np.cos(angles), np.sin(angles)
    middle = 0.5 * (car.front_axle - car.rear_axle)
    ahead = np.where(cosine > 0, 0.5 * car.length + middle, 0.5 * car.length - middle)
    with np.errstate(divide="ignore"):
        return np.minimum(ahead / np.abs(cosine), 0.5 * car.width / np.abs(sine))


def car_boxes(car: Car, qpos: np.ndarray) -> np.ndarray:
    """[N, 5] the boxes, columns as in BOX, of cars at `qpos` [N, 3]: their length is centred between the axles."""
    middle = 0.5 * (car.front_axle - car.rear_axle)
    out = np.empty((len(qpos), 5))
    _place_boxes(qpos, middle, 0.5 * car.length, 0.5 * car.width, out)
    return out


def hits(own: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """[N] whether the boxes `own` [N, 5] overlap any of their simulation's `boxes` [N, K, 5]."""
    out = np.empty(len(own), dtype=np.bool_)
    _hits(own, boxes, out)
    return out


@njit(cache=True)
def _first_fold(left: np.ndarray, right: np.ndarray, closed: bool) -> int:
    """The first cell whose corners, clockwise from left rear, do not all turn right; -1 if all cells are convex."""
    points = left.shape[0]
    for cell in range(points if closed else points - 1):
        after = (cell + 1) % points
        if not (
            _side(left[cell], left[after], right[after, 0], right[after, 1]) < 0.0
            and _side(left[after], right[after], right[cell, 0], right[cell, 1]) < 0.0
            and _side(right[after], right[cell], left[cell, 0], left[cell, 1]) < 0.0
            and _side(right[cell], left[cell], left[after, 0], left[after, 1]) < 0.0
        ):
            return cell
    return -1


@njit(cache=True)
def overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two boxes, each [5] as in BOX, overlap: no side of either separates them (separating axes)."""
    if first[3] <= 0.0 or second[3] <= 0.0:
        return False
    x, y = second[0] - first[0], second[1] - first[1]
    c, s = np.cos(first[2]), np.sin(first[2])
    other_c, other_s = np.cos(second[2]), np.sin(second[2])
    # Cosine and sine of the angle between them project one box's half sizes on the other's axes.
    along, across = abs(c * other_c + s * other_s), abs(c * other_s - s * other_c)
    return (
        abs(c * x + s * y) <= first[3] + along * second[3] + across * second[4]
        and abs(c * y - s * x) <= first[4] + across * second[3] + along * second[4]
        and abs(other_c * x + other_s * y) <= second[3] + along * first[3] + across * first[4]
        and abs(other_c * y - other_s * x) <= second[4] + across * first[3] + along * first[4]
    )


@njit(cache=True)
def _hits(own: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> None:
    for n in range(own.shape[0]):
        out[n] = False
        for k in range(boxes.shape[1]):
            out[n] = out[n] or overlap(own[n], boxes[n, k])


@njit(cache=True)
def _place_boxes(qpos: np.ndarray, middle: float, half_length: float, half_width: float, out: np.ndarray) -> None:
    for n in range(qpos.shape[0]):
        out[n, 0] = qpos[n, 0] + middle * np.cos(qpos[n, 2])
        out[n, 1] = qpos[n, 1] + middle * np.sin(qpos[n, 2])
        out[n, 2], out[n, 3], out[n, 4] = qpos[n, 2], half_length, half_width


@njit(cache=True)
def _scan(
    ids: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    nearest: np.ndarray,
    qpos: np.ndarray,
    cosine: np.ndarray,
    sine: np.ndarray,
    limit: float,
    boxes: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(ids.shape[0]):
        n = ids[row]
        on_left, on_right = left[road_index[n]], right[road_index[n]]
        x, y = qpos[n, 0], qpos[n, 1]
        c, s = np.cos(qpos[n, 2]), np.sin(qpos[n, 2])
        start = _locate(on_left, on_right, closed, nearest[n], x, y)
        for b in range(cosine.shape[0]):
            dx, dy = c * cosine[b] - s * sine[b], s * cosine[b] + c * sine[b]
            out[row, b] = _walk(on_left, on_right, closed, start, x, y, dx, dy, limit)
        for k in range(boxes.shape[1]):
            box = boxes[n, k]
            far = limit + box[3] + box[4]
            if box[3] <= 0.0 or (x - box[0]) ** 2 + (y - box[1]) ** 2 > far * far:
                continue
            # In the box's own frame.
            turn_c, turn_s = np.cos(qpos[n, 2] - box[2]), np.sin(qpos[n, 2] - box[2])
            box_c, box_s = np.cos(box[2]), np.sin(box[2])
            along = box_c * (x - box[0]) + box_s * (y - box[1])
            across = box_c * (y - box[1]) - box_s * (x - box[0])
            for b in range(cosine.shape[0]):
                dx, dy = turn_c * cosine[b] - turn_s * sine[b], turn_s * cosine[b] + turn_c * sine[b]
                out[row, b] = min(out[row, b], _to_box(along, across, dx, dy, box[3], box[4]))


@njit(cache=True)
def _touched(
    left: np.ndarray,
    right: np.ndarray,
    closed: bool,
    road_index: np.ndarray,
    nearest: np.ndarray,
    boxes: np.ndarray,
    out: np.ndarray,
) -> None:
    """Walk around each box: it touches where a border ends a side before its corner."""
    for n in range(boxes.shape[0]):
        on_left, on_right = left[road_index[n]], right[road_index[n]]
        c, s = np.cos(boxes[n, 2]), np.sin(boxes[n, 2])
        half_length, half_width = boxes[n, 3], boxes[n, 4]
        x, y = boxes[n, 0] + c * half_length - s * half_width, boxes[n, 1] + s * half_length + c * half_width
        dx, dy = -c, -s  # from the front left corner backwards, then counterclockwise
        start = nearest[n]
        out[n] = False
        for side in range(4):
            length = 2 * (half_width if side % 2 else half_length)
            start = _locate(on_left, on_right, closed, start, x, y)
            if _walk(on_left, on_right, closed, start, x, y, dx, dy, length) < length:
                out[n] = True
                break
            x, y = x + length * dx, y + length * dy
            dx, dy = -dy, dx


@njit(cache=True)
def _locate(left: np.ndarray, right: np.ndarray, closed: bool, cell: int, x: float, y: float) -> int:
    """The cell near `cell` between whose cross-sections the point lies; an open road's end cells go on for ever."""
    points = left.shape[0]
    last = points - 1 if closed else points - 2
    cell = min(max(cell, 0), last)
    for _ in range(points):
        after = (cell + 1) % points
        if _side(right[cell], left[cell], x, y) > 0.0:
            if not closed and cell == 0:
                break
            cell = cell - 1 if cell > 0 else last
        elif _side(left[after], right[after], x, y) > 0.0:
            if not closed and cell == last:
                break
            cell = cell + 1 if cell < last else 0
        else:
            break
    return cell


@njit(cache=True)
def _walk(
    left: np.ndarray,
    right: np.ndarray,
    closed: bool,
    cell: int,
    x: float,
    y: float,
    dx: float,
    dy: float,
    limit: float,
) -> float:
    """Distance from a point in `cell` along the unit direction (dx, dy) to the border, at most `limit`."""
    points = left.shape[0]
    last = points - 1 if closed else points - 2
    for _ in range(points):  # a line passes a convex cell once
        after = (cell + 1) % points
        border = min(
            _leave(left[cell], left[after], x, y, dx, dy),
            _leave(right[after], right[cell], x, y, dx, dy),
        )
        ahead = _leave(left[after], right[after], x, y, dx, dy)
        behind = _leave(right[cell], left[cell], x, y, dx, dy)
        if border <= min(ahead, behind):
            return min(max(border, 0.0), limit)
        if min(ahead, behind) >= limit:
            return limit
        if ahead < behind:
            if not closed and cell == last:
                return limit
            cell = cell + 1 if cell < last else 0
        else:
            if not closed and cell == 0:
                return limit
            cell = cell - 1 if cell > 0 else last
    return limit


@njit(cache=True)
def _side(start: np.ndarray, end: np.ndarray, x: float, y: float) -> float:
    """Positive where the point is to the left of the directed edge: outside of a cell, whose edges run clockwise."""
    return (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0])


@njit(cache=True)
def _leave(start: np.ndarray, end: np.ndarray, x: float, y: float, dx: float, dy: float) -> float:
    """Distance along the direction at which a ray crosses the edge's line from right to left; inf if it does not."""
    across = (end[0] - start[0]) * dy - (end[1] - start[1]) * dx
    return -_side(start, end, x, y) / across if across > 0.0 else np.inf


@njit(cache=True)
def _to_box(x: float, y: float, dx: float, dy: float, half_length: float, half_width: float) -> float:
    """Distance along a ray, in the frame of a box, to it; 0 from inside, inf where it is missed (slabs)."""
    enter, leave = 0.0, np.inf
    for position, direction, half in ((x, dx, half_length), (y, dy, half_width)):
        if direction == 0.0:
            if abs(position) > half:
                return np.inf
            continue
        first, second = (-half - position) / direction, (half - position) / direction
        enter = max(enter, min(first, second))
        leave = min(leave, max(first, second))
    return enter if enter <= leave else np.inf
