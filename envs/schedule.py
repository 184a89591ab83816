"""Schedules: when a shift acts, and how strongly. Times in seconds from the start of the episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

_SLACK = 5e-10
"""s: step times are multiples of dt in floating point, so that one may come a rounding before its time."""


@dataclass(frozen=True)
class Schedule(ABC):
    """A function of time onto a strength in [0, 1] that scales a shift's magnitude.

    What a schedule leaves to chance is drawn once per episode and simulation: its `times`, a flat array, always of one length.

    Raises:
        ValueError: a field is out of range; the message names it and what is valid.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def onset(self) -> float:
        """Earliest time at which the shift can act, s; before it the plant is nominal."""

    @abstractmethod
    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Strength [n] in [0, 1] at `time` [n] s, in the episodes that drew `times` [n, k]."""

    def draw(self, rng: np.random.Generator, horizon: float) -> np.ndarray:
        """One episode's times [k] s; it lasts `horizon` s at most."""
        return np.zeros(0)

    def onsets(self, times: np.ndarray) -> np.ndarray:
        """[n] s at which the shift first acts in the episodes that drew `times` [n, k]."""
        return np.full(len(times), self.onset)

    def check(self, horizon: float) -> None:
        """Raise ValueError where the shift would never act in an episode of `horizon` s."""
        if self.onset >= horizon:
            raise ValueError(
                f"{self} sets in at {self.onset:g} s, but an episode lasts {horizon:g} s: give an onset in [0, {horizon:g}) s, "
                "or a longer episode."
            )

    def _require(self, field: str, valid: bool, what: str) -> None:
        if not valid:
            raise ValueError(f"{type(self).__name__}.{field} is {getattr(self, field)!r}: it must be {what}.")

    def _require_time(self, field: str) -> None:
        value = getattr(self, field)
        self._require(field, _finite(value) and value >= 0, "a time in s from the episode's start, at least 0")

    def _require_duration(self, field: str) -> None:
        value = getattr(self, field)
        self._require(field, _finite(value) and value > 0, "a duration in s, above 0")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclass(frozen=True)
class Always(Schedule):
    """Full strength from the first step."""

    name: ClassVar[str] = "always"

    @property
    def onset(self) -> float:
        return 0.0

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.ones(len(time))


@dataclass(frozen=True)
class _From(Schedule):
    """What sets in at a known time."""

    at: float = 5.0
    """Onset, or that of the first of several, s."""

    def __post_init__(self) -> None:
        self._require_time("at")

    @property
    def onset(self) -> float:
        return self.at


@dataclass(frozen=True)
class Abrupt(_From):
    """Nothing before `at`, full strength from then on."""

    name: ClassVar[str] = "abrupt"

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        return (time >= self.at - _SLACK).astype(float)


@dataclass(frozen=True)
class Ramp(_From):
    """Nothing before `at`, then linearly up to full strength within `duration`, which stays."""

    name: ClassVar[str] = "ramp"

    duration: float = 5.0
    """From nothing to full strength, s."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_duration("duration")

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.clip((time - self.at) / self.duration, 0.0, 1.0)


@dataclass(frozen=True)
class Pulse(_From):
    """Full strength from `at` for `duration`, nothing before and after: a step up and down."""

    name: ClassVar[str] = "pulse"

    duration: float = 5.0
    """How long it lasts, s."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_duration("duration")

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        return ((time >= self.at - _SLACK) & (time < self.at + self.duration - _SLACK)).astype(float)


@dataclass(frozen=True)
class Cyclic(_From):
    """A-B-A-B: from `at` on, each `period` begins with full strength for the share `duty` of it, and nothing in the rest."""

    name: ClassVar[str] = "cyclic"

    period: float = 6.0
    """From one onset to the next, s."""
    duty: float = 0.5
    """Share of the period at full strength, in (0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_duration("period")
        self._require("duty", _finite(self.duty) and 0 < self.duty < 1, "a share of the period, in (0, 1)")

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        since = time - self.at + _SLACK
        return ((since >= 0) & (since % self.period < self.duty * self.period)).astype(float)


@dataclass(frozen=True)
class Intermittent(_From):
    """From `at` on it comes and goes: on and off for exponentially distributed times, drawn per episode; on first."""

    name: ClassVar[str] = "intermittent"

    on: float = 1.0
    """Mean time at full strength, s."""
    off: float = 2.0
    """Mean time between, s."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_duration("on")
        self._require_duration("off")

    def draw(self, rng: np.random.Generator, horizon: float) -> np.ndarray:
        """The times of its beginnings and ends, in turn: four times as many as an episode has on average, or 400 pairs."""
        pairs = 400 if np.isinf(horizon) else 10 + int(4 * horizon / (self.on + self.off))
        lasting = rng.exponential(1.0, (pairs, 2)) * [self.on, self.off]
        return self.at + np.concatenate([[0.0], np.cumsum(lasting)[:-1]])

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        passed = (time[:, None] >= times - _SLACK).sum(1)
        return (passed % 2).astype(float)


@dataclass(frozen=True)
class RandomOnset(Schedule):
    """Full strength from an onset on that each episode draws uniformly between `earliest` and `latest`."""

    name: ClassVar[str] = "random_onset"

    earliest: float = 3.0
    """s."""
    latest: float = 9.0
    """s."""

    def __post_init__(self) -> None:
        self._require_time("earliest")
        self._require_time("latest")
        self._require("latest", self.latest >= self.earliest, f"at least the earliest onset, {self.earliest:g} s")

    @property
    def onset(self) -> float:
        return self.earliest

    def draw(self, rng: np.random.Generator, horizon: float) -> np.ndarray:
        return np.array([rng.uniform(self.earliest, self.latest)])

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        return (time >= times[:, 0] - _SLACK).astype(float)

    def onsets(self, times: np.ndarray) -> np.ndarray:
        return times[:, 0]


@dataclass(frozen=True)
class Sequence(Schedule):
    """Steps up and down: strength `strengths[i]` from `times[i]` on, nothing before the first. Any course in steps."""

    name: ClassVar[str] = "sequence"

    times: tuple[float, ...] = (5.0, 8.0, 11.0)
    """Rising, s."""
    strengths: tuple[float, ...] = (0.5, 1.0, 0.0)
    """One for each time, in [0, 1]; the first above 0."""

    def __post_init__(self) -> None:
        for field in ("times", "strengths"):  # lists, as JSON gives them back
            object.__setattr__(self, field, tuple(getattr(self, field)))
        rising = all(map(_finite, self.times)) and all(np.diff((-1e-9, *self.times)) > 0)
        self._require("times", len(self.times) > 0 and bool(rising), "rising times in s, the first at least 0")
        valid = len(self.strengths) == len(self.times) and all(_finite(s) and 0 <= s <= 1 for s in self.strengths)
        what = f"{len(self.times)} numbers in [0, 1], one for each time, the first above 0"
        self._require("strengths", valid and self.strengths[0] > 0, what)

    @property
    def onset(self) -> float:
        return self.times[0]

    def strength(self, time: np.ndarray, times: np.ndarray) -> np.ndarray:
        passed = np.searchsorted(np.array(self.times) - _SLACK, time, side="right")
        return np.array((0.0, *self.strengths))[passed]


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule for schedule in (Always, Abrupt, Ramp, Pulse, Cyclic, Intermittent, RandomOnset, Sequence)
}
