"""Random closed roads: a circle whose radius is a random Fourier series of the polar angle."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..road import Road

_ORDERS = np.arange(2, 8)
_ROOM = 2.2
"""Half-widths between any two stretches of a circuit, from centreline to centreline, at least."""
_TIGHTEST = (0.7, 0.99)
"""A circuit's tightest bend, as a share of the largest curvature allowed."""
_THINNEST = 0.3
"""A circuit's smallest polar radius, in units of its mean."""
_SAMPLES = 512
_TRIES = 1000


def circuit(
    seed: int | np.random.Generator,
    *,
    length: tuple[float, float] = (30.0, 46.0),
    half_width: float = 0.85,
    max_curvature: float = 1.1,
    points: int = 512,
) -> Road:
    """A random closed road around the origin, that neither crosses nor touches itself.

    The centreline is r(θ) = 1 + a f(θ) in polar coordinates, f a Fourier series of orders 2 to 7 with normally distributed
    coefficients of standard deviation 1/k, scaled to its length; a makes its tightest bend the one drawn. One that is
    too narrow somewhere for its borders is drawn again.

    Args:
        seed: or the generator that is drawn from.
        length: of the lap, m, uniform between these.
        half_width: m.
        max_curvature: 1/m; the tightest bend is uniform in 70 to 99 % of it.
        points: P.

    Raises:
        ValueError: an argument is out of range, or no such circuit was found.
    """
    if not 0 < length[0] <= length[1] < np.inf:
        raise ValueError(f"a circuit's length is {length}: give the least and the greatest length in m.")
    if not 0 < half_width * max_curvature < 1:
        raise ValueError(
            f"half_width is {half_width} m, max_curvature {max_curvature} 1/m: "
            "both are positive, and the inner border needs a radius, so their product is below 1."
        )
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        lap = rng.uniform(*length)
        tightest = max_curvature * rng.uniform(*_TIGHTEST)
        series = rng.standard_normal((2, len(_ORDERS))) / _ORDERS
        side = 1.0 if rng.random() < 0.5 else -1.0
        amplitude = _amplitude(series, lap * tightest)
        if amplitude == 0.0:
            continue
        shape = np.empty((points, 4))
        _lay_out(series, amplitude, lap, shape)
        if not _has_room(shape, lap / points, _ROOM * half_width, np.pi / max_curvature):
            continue
        x, y, heading, curvature = shape.T
        return Road(
            position=np.stack([x, side * y], axis=1),
            heading=side * heading,
            curvature=side * curvature,
            half_width=np.full(points, half_width),
            friction=np.ones(points),
            speed=np.full(points, np.inf),
            spacing=lap / points,
            closed=True,
        )
    raise ValueError(
        f"no circuit of {length[0]:g} to {length[1]:g} m with borders {half_width:g} m to either side and bends of up to "
        f"{max_curvature:g} 1/m in {_TRIES} tries: make it longer or narrower, or allow tighter bends."
    )


@njit(cache=True)
def _deviation(series: np.ndarray, angle: float) -> tuple[float, float, float]:
    """f and its first two derivatives at a polar angle; the series holds cosine and sine coefficients by order."""
    cosine, sine = np.cos(angle), np.sin(angle)
    c, s = cosine, sine
    f = df = ddf = 0.0
    for k in range(series.shape[1]):
        c, s = c * cosine - s * sine, s * cosine + c * sine
        order = k + 2
        even, odd = series[0, k] * c + series[1, k] * s, series[1, k] * c - series[0, k] * s
        f += even
        df += order * odd
        ddf -= order * order * even
    return f, df, ddf


@njit(cache=True)
def _amplitude(series: np.ndarray, turn: float) -> float:
    """The amplitude at which the largest curvature times the length of the lap is `turn`; 0 if there is none.

    That product does not depend on the scale, is 2π for the circle of amplitude 0, and grows with the amplitude until the
    curve comes too near to its centre.
    """
    f = np.empty((_SAMPLES, 3))
    lowest = 0.0
    for i in range(_SAMPLES):
        f[i] = _deviation(series, 2.0 * np.pi * i / _SAMPLES)
        lowest = min(lowest, f[i, 0])
    low, high = 0.0, (1.0 - _THINNEST) / -lowest
    if turn <= 2.0 * np.pi or _largest_turn(f, high) < turn:
        return 0.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        if _largest_turn(f, middle) < turn:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True)
def _largest_turn(f: np.ndarray, amplitude: float) -> float:
    length, largest = 0.0, 0.0
    for i in range(f.shape[0]):
        r, dr, ddr = 1.0 + amplitude * f[i, 0], amplitude * f[i, 1], amplitude * f[i, 2]
        squared = r * r + dr * dr
        speed = np.sqrt(squared)
        length += speed
        largest = max(largest, abs(squared + dr * dr - r * ddr) / (squared * speed))
    return largest * length * 2.0 * np.pi / f.shape[0]


@njit(cache=True)
def _lay_out(series: np.ndarray, amplitude: float, lap: float, shape: np.ndarray) -> None:
    """x m, y m, heading rad and curvature 1/m of points equally far apart along a lap of `lap` m: `shape` [P, 4]."""
    points = shape.shape[0]
    angles = np.linspace(0.0, 2.0 * np.pi, 2 * points + 1)
    length = np.zeros(angles.size)
    before = 0.0
    for i in range(angles.size):
        f, df, _ = _deviation(series, angles[i])
        speed = np.sqrt((1.0 + amplitude * f) ** 2 + (amplitude * df) ** 2)
        if i > 0:
            length[i] = length[i - 1] + 0.5 * (before + speed) * (angles[i] - angles[i - 1])
        before = speed
    scale = lap / length[-1]
    even = np.interp(np.arange(points) * (length[-1] / points), length, angles)
    for i in range(points):
        f, df, ddf = _deviation(series, even[i])
        r, dr, ddr = 1.0 + amplitude * f, amplitude * df, amplitude * ddf
        squared = r * r + dr * dr
        shape[i, 0] = scale * r * np.cos(even[i])
        shape[i, 1] = scale * r * np.sin(even[i])
        shape[i, 2] = even[i] + np.arctan2(r, dr)
        shape[i, 3] = (squared + dr * dr - r * ddr) / (squared * np.sqrt(squared) * scale)


@njit(cache=True)
def _has_room(shape: np.ndarray, spacing: float, room: float, near: float) -> bool:
    """Whether points further than `near` m apart along the lap are at least `room` m apart in the plane.

    Nearer ones are so by Schur's theorem: no arc of bounded curvature has a shorter chord than the circle's.
    """
    points = shape.shape[0]
    for i in range(0, points, 2):
        for j in range(i + int(near / spacing) + 1, points, 2):
            squared = (shape[i, 0] - shape[j, 0]) ** 2 + (shape[i, 1] - shape[j, 1]) ** 2
            if (points - (j - i)) * spacing > near and squared < room * room:
                return False
    return True
