"""Shifts of the control clock: steps that jitter, ticks that are missed, another rate.

Each makes a control step longer or shorter by a number of physics steps, counted in nominal control periods, so that several
add up; at least one physics step is left. The action holds meanwhile. `info["dt"]` and the channel "step_duration" of an
environment that has one tell how long the step was; an episode's time limit counts control steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from ..clock import ticks_missed
from ..shift import ClockShift, Magnitude, World, magnitude


@dataclass(frozen=True, kw_only=True)
class ClockJitter(ClockShift):
    """The end of a control step comes early or late, by up to a share of the control period, uniformly distributed.

    Args:
        share: half the width of the distribution.
        schedule: when. Strength scales the share.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "clock_jitter"
    noises: ClassVar[int] = 1

    share: Magnitude = magnitude(0.3, "share of the control period", least=0.0, below=1.0)

    @property
    def label(self) -> str:
        return f"clock jitter {self.text('share', '.0%')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.share * world.substeps])

    def ticks(self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        late = strength * memory[:, 0] * (2 * ndtr(normals[:, 0]) - 1)
        return lengths + np.rint(late).astype(lengths.dtype)


@dataclass(frozen=True, kw_only=True)
class MissedTicks(ClockShift):
    """The controller misses ticks of its clock: each adds a control period to the step, and may be followed by another.

    Args:
        probability: that a tick is missed.
        schedule: when. Strength scales the probability.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "missed_ticks"
    noises: ClassVar[int] = 1

    probability: Magnitude = magnitude(0.2, "probability", least=0.0, most=0.9)

    @property
    def label(self) -> str:
        return f"{self.text('probability', '.0%')} of ticks missed"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([self.probability, world.substeps])

    def ticks(self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        missed = ticks_missed(strength * memory[:, 0], ndtr(normals[:, 0]))
        return lengths + (missed * memory[:, 1]).astype(lengths.dtype)


@dataclass(frozen=True, kw_only=True)
class ControlRate(ClockShift):
    """The controller runs at another rate: its period is `period` times the nominal one, rounded to whole physics steps.

    Args:
        period: factor of the control period; 2 is half the rate.
        schedule: when. Strength scales period - 1.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "control_rate"

    period: Magnitude = magnitude(2.0, "factor of the control period", least=0.2, most=10.0)

    @property
    def label(self) -> str:
        return f"control period x{self.text('period')}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.array([(self.period - 1) * world.substeps])

    def ticks(self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return lengths + np.rint(strength * memory[:, 0]).astype(lengths.dtype)
