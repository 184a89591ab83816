"""Quantisation: a sensor that resolves less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..shift import Magnitude, World, magnitude
from .channels import ChannelShift


@dataclass(frozen=True, kw_only=True)
class Quantisation(ChannelShift):
    """What is measured is rounded to whole multiples of `step`, as a converter of few bits does.

    Args:
        step: least difference that is told apart, unit of the channel.
        channels: names or stems of channels; empty for all.
        schedule: when. Strength scales the step.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "quantisation"

    step: Magnitude = magnitude(0.1, "unit of the channel", above=0.0)

    @property
    def label(self) -> str:
        return f"steps of {self.text('step')}{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(world) * self.step

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        step = strength[:, None] * memory
        coarse = step > 0
        step = np.where(coarse, step, 1.0)
        return np.where(coarse, np.rint(measured / step) * step, measured)
