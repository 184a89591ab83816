"""Clock: how long each control step really lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .written import from_fields


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A control clock that jitters and misses ticks; the action holds until the next tick.

    A control step lasts as many periods as it takes to catch a tick, a geometric number, and its end jitters uniformly;
    it is rounded to whole physics steps, of which it has at least one.

    Args:
        jitter: half the width of a step's end, as a share of the control period, in [0, 1).
        missed: probability that a tick is missed, in [0, 0.9].

    Raises:
        ValueError: a field is out of range.
    """

    jitter: float = 0.0
    missed: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter < 1:
            raise ValueError(f"Clock.jitter is {self.jitter}: a share of the control period, in [0, 1).")
        if not 0 <= self.missed <= 0.9:
            raise ValueError(f"Clock.missed is {self.missed}: a probability in [0, 0.9].")

    def draw(self, rng: np.random.Generator, steps: int, substeps: int) -> np.ndarray:
        """Physics steps of each of `steps` control steps whose period is `substeps` physics steps, [steps] int."""
        # random() may give 0, which has no logarithm.
        periods = 1 + ticks_missed(self.missed, 1 - rng.random(steps)) + self.jitter * rng.uniform(-1.0, 1.0, steps)
        return np.maximum(np.rint(substeps * periods), 1).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `make_clock` reads them."""
        return asdict(self)


def ticks_missed(probability: float | np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """How many ticks in a row are missed, from uniform numbers in (0, 1]: at least k with probability^k."""
    with np.errstate(divide="ignore"):  # log 0 = -inf is right: none is missed
        return np.floor(np.log(uniform) / np.log(probability))


def make_clock(clock: Clock | Mapping[str, Any] | None) -> Clock | None:
    """A clock, from itself or from its `to_dict`; None is the regular one.

    Raises:
        ValueError: an unknown field, or one out of range.
    """
    return from_fields(Clock, clock, "a clock")
