"""Governor: lowers the speed asked for to what the tyres still hold.

Lateral force goes as speed squared, so of a grip l, a share of the nominal, the speed is scaled by √l; a little less than
that, for what else the tyres are to do. The rear axle counts in full, because without it the car spins; a front axle that has
lost grip alone only runs wide, and is given away a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit

from ..written import from_fields

TRUSTED = 0.9
"""A grip of at least this share of the nominal asks for nothing."""
GOVERNED_SHARE = 0.85
"""Of the friction limit, that the speed asked for uses where this is so (CarTrack's)."""
LEAST_SCALE = 0.5
"""The speed is never scaled by less."""
DOWN_S, UP_S = 0.08, 1.0
"""Time constants with which the speed is lowered and raised, s."""
_FRONT_SPARED, _EXPONENT = 0.15, 0.65
_OFF = (0.0, DOWN_S, np.inf, 1.0)


@dataclass(frozen=True, kw_only=True)
class Governor:
    """A governor that knows the grip under the wheels: as it is, or for training wrong, late, and not always there.

    A policy trained under one that is always right learns to trust it, and crashes behind one that has to estimate; so of
    training's episodes a share has none, and the others one that errs.

    Args:
        share: probability that an episode has it.
        error: it takes the grip for up to this share more or less than it is, drawn by each episode.
        lag_s: time constant with which it lowers the speed, s; each episode draws its own from this range.
        false_alarms: probability that from some moment of an episode on it believes the grip to be no more than a random one.

    Raises:
        ValueError: a field is out of range; the message names it and what is valid.
    """

    share: float = 1.0
    error: float = 0.0
    lag_s: tuple[float, float] = (DOWN_S, DOWN_S)
    false_alarms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("share", "false_alarms"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Governor.{name} is {getattr(self, name)}: give a probability, 0 to 1.")
        if not 0 <= self.error < 1:
            raise ValueError(f"Governor.error is {self.error}: give a share of the grip, at least 0 and below 1.")
        object.__setattr__(self, "lag_s", tuple(np.atleast_1d(self.lag_s).tolist()))  # a list, as JSON gives it back
        lag = np.asarray(self.lag_s, dtype=float)
        if lag.shape != (2,) or not (np.isfinite(lag).all() and 0 < lag[0] <= lag[1]):
            raise ValueError(f"Governor.lag_s is {self.lag_s!r}: give a range (low, high) of seconds above 0.")

    def draw(self, rng: np.random.Generator, horizon: float) -> tuple[float, float, float, float]:
        """One episode's errors, a row for `govern`; it lasts `horizon` s at most."""
        there, alarmed = rng.random(2) < (self.share, self.false_alarms)
        factor = 1.0 + rng.uniform(-self.error, self.error)
        lag, moment = rng.uniform(*self.lag_s), rng.uniform(0.0, horizon)
        believed = rng.uniform(LEAST_SCALE ** (1 / _EXPONENT), 1.0)
        return (factor, lag, moment if alarmed else np.inf, believed) if there else _OFF

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `make_governor` reads them."""
        return asdict(self) | {"lag_s": list(self.lag_s)}


def make_governor(governor: Governor | Mapping[str, Any] | None) -> Governor | None:
    """A governor, from itself or from its `to_dict`; None is none.

    Raises:
        ValueError: an unknown field, or one out of range.
    """
    return from_fields(Governor, governor, "a governor")


@njit(cache=True)
def limiting_grip(front: float, rear: float) -> float:
    """The grip to drive by where the axles have these shares of their nominal one."""
    return min(rear, front + _FRONT_SPARED)


@njit(cache=True)
def safe_scale(front: float, rear: float) -> float:
    """What the speed is to be scaled by where the axles have these shares of their nominal grip."""
    grip = limiting_grip(front, rear)
    return 1.0 if grip >= TRUSTED else max(max(grip, 0.0) ** _EXPONENT, LEAST_SCALE)


@njit(cache=True)
def approach(scale: float, wanted: float, dt: float, down_s: float, up_s: float) -> float:
    """The scale dt s later, on its way to the one that is wanted: with one time constant down, with another up."""
    return wanted + (scale - wanted) * np.exp(-dt / (down_s if wanted < scale else up_s))


@njit(cache=True)
def govern(drawn: np.ndarray, time: np.ndarray, friction: np.ndarray, dt: np.ndarray, scale: np.ndarray) -> None:
    """Bring the speed's scale [N] to what the governors make of the true grip, dt [N] s later.

    Args:
        drawn: [N, 4] from `Governor.draw`.
        time: [N] s since the start of the episode.
        friction: [N, 4] factor of the tyres' friction under each wheel.
        dt: [N] s.
        scale: [N]; written.
    """
    for n in range(scale.shape[0]):
        factor, lag, alarm, believed = drawn[n]
        if factor == 0.0:  # this episode has none
            continue
        most = believed if time[n] >= alarm else np.inf
        front = min(0.5 * factor * (friction[n, 0] + friction[n, 1]), most)
        rear = min(0.5 * factor * (friction[n, 2] + friction[n, 3]), most)
        scale[n] = approach(scale[n], safe_scale(front, rear), dt[n], lag, UP_S)
