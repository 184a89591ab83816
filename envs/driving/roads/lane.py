"""Random open roads, laid out as highways are: straights, and bends of clothoid, arc and clothoid."""

from __future__ import annotations

import numpy as np

from ..road import Road

_STEEPEST = 1.2  # rad, so that x grows along the whole road and it cannot meet itself


def lane(
    seed: int | np.random.Generator,
    *,
    length: float = 1200.0,
    half_width: float = 1.75,
    min_radius: float = 120.0,
    points: int = 1201,
) -> Road:
    """A random open road that begins at the origin, along world x, and never crosses itself.

    Straights of up to one `min_radius` alternate with bends that turn the road to a heading uniform within ±1.2 rad. A
    bend's radius R is log-uniform from 1 to 8 `min_radius`; its curvature rises and falls linearly (a clothoid) over R/9 to
    R each, as road design has it (FGSV, Richtlinien für die Anlage von Landstraßen, 2012: R/3 <= A <= R), and is constant
    between. A turn too small for that keeps the clothoids and bends less.

    Args:
        seed: or the generator that is drawn from.
        length: m.
        half_width: m.
        min_radius: m, of the tightest bends.
        points: P.

    Raises:
        ValueError: an argument is out of range.
    """
    for name, value in (("length", length), ("half_width", half_width)):
        if not 0 < value < np.inf:
            raise ValueError(f"a lane's {name} is {value}: give m above 0.")
    if not half_width < min_radius < np.inf:
        raise ValueError(f"min_radius is {min_radius} m: a bend's radius is above the half-width of {half_width} m.")
    rng = np.random.default_rng(seed)
    stations, curvatures = _knots(rng, length, min_radius)
    spacing = length / (points - 1)
    # Simpson's rule over each step of the direction, which is exact at its ends and in its middle.
    half_steps = np.arange(2 * points - 1) * (0.5 * spacing)
    heading = _heading(half_steps, stations, curvatures)
    direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    steps = (direction[:-1:2] + 4.0 * direction[1::2] + direction[2::2]) * (spacing / 6.0)
    return Road(
        position=np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]),
        heading=heading[::2],
        curvature=np.interp(half_steps[::2], stations, curvatures),
        half_width=np.full(points, half_width),
        friction=np.ones(points),
        speed=np.full(points, np.inf),
        spacing=spacing,
        closed=False,
    )


def _knots(rng: np.random.Generator, length: float, min_radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Stations, m, and curvatures, 1/m, between which the curvature is linear, to beyond `length`."""
    stations, curvatures, heading = [0.0], [0.0], 0.0
    while stations[-1] < length:
        turn = rng.uniform(-_STEEPEST, _STEEPEST) - heading
        heading += turn
        radius = min_radius * np.exp(rng.uniform(0.0, np.log(8.0)))
        clothoid = rng.uniform(1.0 / 9.0, 1.0)  # radii: the angle by which two of them turn the road
        arc = max(abs(turn) - clothoid, 0.0)
        straight = min_radius * rng.uniform()
        parts = straight, clothoid * radius, arc * radius, clothoid * radius
        stations += (stations[-1] + np.cumsum(parts)).tolist()
        bend = turn / (clothoid + arc) / radius
        curvatures += [0.0, bend, bend, 0.0]
    return np.array(stations), np.array(curvatures)


def _heading(station: np.ndarray, knots: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
    """The integral of the curvature from 0 to each station, rad."""
    lengths = np.diff(knots)
    at_knots = np.concatenate([[0.0], np.cumsum(0.5 * (curvatures[:-1] + curvatures[1:]) * lengths)])
    leg = np.searchsorted(knots, station, side="right") - 1
    within = station - knots[leg]
    return at_knots[leg] + 0.5 * within * (curvatures[leg] + np.interp(station, knots, curvatures))
