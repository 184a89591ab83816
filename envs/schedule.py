"""Schedules: when a shift acts, and how strongly. Times in seconds from the start of the episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class Schedule(ABC):
    """A function of time onto a strength in [0, 1] that scales a shift's magnitude."""

    @abstractmethod
    def strength(self, time: np.ndarray) -> np.ndarray:
        """Strength at `time` [n] s, as [n] in [0, 1]."""

    @property
    @abstractmethod
    def onset(self) -> float:
        """First time at which the shift acts, s; before it the plant is nominal."""


@dataclass(frozen=True)
class Always(Schedule):
    """Full strength from the first step."""

    def strength(self, time: np.ndarray) -> np.ndarray:
        return np.ones_like(time, dtype=float)

    @property
    def onset(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Abrupt(Schedule):
    """Nothing before `at`, full strength from then on."""

    at: float = 5.0
    """Onset in s, at least 0."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.at) and self.at >= 0):
            raise ValueError(f"Abrupt.at is {self.at}: give the onset in seconds from the episode's start, at least 0.")

    def strength(self, time: np.ndarray) -> np.ndarray:
        # Half a nanosecond of slack: step times are multiples of dt in floating point.
        return (np.asarray(time) >= self.at - 5e-10).astype(float)

    @property
    def onset(self) -> float:
        return self.at


SCHEDULES: dict[str, type[Schedule]] = {"always": Always, "abrupt": Abrupt}
