"""Roads through a user's points."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from ..road import Road

COLUMNS = ("x", "y", "half_width", "speed")
"""Of a centreline's file: m, m, m and m/s; the first two are required."""

_FINE = 16  # steps in which the length between two points is measured


def through(
    points: np.ndarray,
    half_width: np.ndarray | float = 0.85,
    speed: np.ndarray | float = np.inf,
    *,
    closed: bool = True,
    spacing: float = 0.1,
) -> Road:
    """A road along the cubic spline through points, whose parameter is the length of the chords between them.

    Args:
        points: [M, 2] m, world; at least 4, each unlike the one before it. A closed road's first point is not repeated.
        half_width: one or [M], m.
        speed: at most, one or [M], m/s; between points linear, as the half-width.
        closed: whether the road comes back to its first point.
        spacing: m between the road's points; rounded so that a whole number of steps makes up its length.

    Raises:
        ValueError: a point repeats the one before it, or a value is out of its range.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 4 or not np.isfinite(points).all():
        raise ValueError(f"a centreline has points of shape {points.shape}: give at least 4, [M, 2], finite.")
    if not spacing > 0:
        raise ValueError(f"spacing is {spacing}: give m above 0.")
    path = np.concatenate([points, points[:1]]) if closed else points
    chords = np.linalg.norm(np.diff(path, axis=0), axis=1)
    if (chords == 0).any():
        repeated = (int(np.argmin(chords)) + 1) % len(points)
        raise ValueError(f"point {repeated} of the centreline repeats its neighbour: leave it out.")
    knots = np.concatenate([[0.0], np.cumsum(chords)])
    spline = CubicSpline(knots, path, bc_type="periodic" if closed else "natural")
    fine = np.interp(np.arange(_FINE * len(chords) + 1) / _FINE, np.arange(len(knots)), knots)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(spline(fine), axis=0), axis=1))])
    steps = max(round(length[-1] / spacing), 4)
    at = np.interp(np.arange(steps + (not closed)) * (length[-1] / steps), length, fine)
    (dx, dy), (ddx, ddy) = spline(at, 1).T, spline(at, 2).T

    def between(values: np.ndarray | float) -> np.ndarray:
        own = np.broadcast_to(np.asarray(values, dtype=np.float64), len(points))
        return np.interp(at, knots, np.append(own, own[:1]) if closed else own)

    return Road(
        position=spline(at),
        heading=np.unwrap(np.arctan2(dy, dx)),
        curvature=(dx * ddy - dy * ddx) / (dx * dx + dy * dy) ** 1.5,
        half_width=between(half_width),
        friction=np.ones(len(at)),
        speed=between(speed),
        spacing=length[-1] / steps,
        closed=closed,
    )


def from_csv(
    path: str | Path,
    *,
    closed: bool = True,
    half_width: float = 0.85,
    spacing: float = 0.1,
) -> Road:
    """A road along a centreline in a CSV file, as `through` lays it.

    The first row names the columns: x, y and, if there are, half_width (m) and speed (m/s, the most that is to be driven).
    On a closed road a last row that repeats the first is left out.

    Args:
        path: the file.
        closed: whether the road comes back to its first point.
        half_width: m, where the file has no such column.
        spacing: m between the road's points.

    Raises:
        ValueError: a column is missing or unknown, a value is no number or not positive, or a point repeats the one before
            it; the message names row and column.
    """
    with open(path, newline="", encoding="utf-8") as file:
        lines = [(row, cells) for row, cells in enumerate(csv.reader(file), start=1) if any(map(str.strip, cells))]
    if not lines:
        raise ValueError(f"{path} is empty: its first row names the columns, {', '.join(COLUMNS)}.")
    names = [cell.strip() for cell in lines[0][1]]
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ValueError(
            f"{path}: unknown column {unknown[0]!r} in row {lines[0][0]}; the columns are {', '.join(COLUMNS)}."
        )
    if missing := [name for name in COLUMNS[:2] if name not in names]:
        raise ValueError(f"{path}: row {lines[0][0]} names no column {missing[0]!r}; x and y are required.")
    values = {name: np.empty(len(lines) - 1) for name in names}
    for i, (row, cells) in enumerate(lines[1:]):
        if len(cells) != len(names):
            raise ValueError(
                f"{path}: row {row} has {len(cells)} values for the {len(names)} columns {', '.join(names)}."
            )
        for name, cell in zip(names, cells, strict=True):
            values[name][i] = _number(cell, name, f"{path}: row {row}, column {name!r}")
    rows = [row for row, _ in lines[1:]]
    points = np.stack([values["x"], values["y"]], axis=1)
    if closed and len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < 4:
        raise ValueError(f"{path} has {len(points)} points: a centreline takes at least 4.")
    if repeats := np.flatnonzero((points[1:] == points[:-1]).all(1)).tolist():
        raise ValueError(f"{path}: row {rows[repeats[0] + 1]} repeats the point of the row before it: leave it out.")
    wide, fast = values.get("half_width", half_width), values.get("speed", np.inf)
    cut = slice(len(points))
    return through(
        points,
        wide[cut] if isinstance(wide, np.ndarray) else wide,
        fast[cut] if isinstance(fast, np.ndarray) else fast,
        closed=closed,
        spacing=spacing,
    )


def _number(cell: str, name: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{where} is {cell.strip()!r}: give a finite number.")
    if name not in COLUMNS[:2] and not value > 0:
        raise ValueError(f"{where} is {value:g}: it must be above 0.")
    return value
