"""Delays: what is measured, or what is commanded, arrives late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..shift import CommandShift, Magnitude, World, magnitude
from .channels import ChannelShift

LONGEST_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SensorDelay(ChannelShift):
    """What is measured is seen `seconds` later: the observation's delay.

    It is rounded to whole control periods. Before that time has passed in an episode, its first sample is seen. What the
    environment adds to an observation, such as the reference and the previous action, is not late.

    Args:
        seconds: of delay.
        channels: names or stems of channels; empty for all.
        schedule: when. Strength scales the delay.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "sensor_delay"

    seconds: Magnitude = magnitude(0.04, "s", least=0.0, most=LONGEST_S)

    @property
    def label(self) -> str:
        return f"sensor delay {self.text('seconds')} s{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        chosen = self.chosen(world)
        return np.concatenate([chosen, _history(self.seconds / world.dt, len(chosen))])

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        chosen, history = memory[:, : measured.shape[1]], memory[:, measured.shape[1] :]
        return np.where(chosen > 0, _late(history, strength, measured), measured)


@dataclass(frozen=True, kw_only=True)
class ActionDelay(CommandShift):
    """An action arrives `seconds` after it was sent, rounded to whole control periods.

    Before an episode's first action has arrived, 0 does. The previous action that is observed, and the effort that is
    charged, are of what was sent.

    Args:
        seconds: of delay.
        schedule: when. Strength scales the delay.

    Raises:
        ValueError: a field is out of range.
    """

    name: ClassVar[str] = "action_delay"
    site: ClassVar[str] = "timing"

    seconds: Magnitude = magnitude(0.04, "s", least=0.0, most=LONGEST_S)

    @property
    def label(self) -> str:
        return f"action delay {self.text('seconds')} s"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return _history(self.seconds / world.dt, len(world.action_names), before=0.0)

    def command(self, memory: np.ndarray, strength: np.ndarray, actions: np.ndarray) -> np.ndarray:
        return _late(memory, strength, actions)


def _history(periods: float, width: int, before: float = np.nan) -> np.ndarray:
    """Memory of a delay by so many control periods of what is `width` wide: the delay, and the rows that came `before`.

    NaN stands for the first that comes. The newest is in front, so that rows of one batch may remember longer than others.
    """
    return np.concatenate([[periods], np.full((round(periods) + 1) * width, before)])


def _late(history: np.ndarray, strength: np.ndarray, newest: np.ndarray) -> np.ndarray:
    """What arrives [n, width] when the rows `newest` are sent; `history` [n, k], as `_history` made it, moves on in place."""
    width, past = newest.shape[1], history[:, 1:]
    first = np.isnan(past[:, 0])
    if first.any():
        past[first] = np.tile(newest[first], past.shape[1] // width)
    past[:, width:] = past[:, :-width]
    past[:, :width] = newest
    late = np.rint(strength * history[:, 0]).astype(int)
    return np.take_along_axis(past, late[:, None] * width + np.arange(width), axis=1)
