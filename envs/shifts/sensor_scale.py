"""Sensor scale: a sensor whose scale factor is off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..shift import Magnitude, World, magnitude
from .channels import ChannelShift


@dataclass(frozen=True, kw_only=True)
class SensorScale(ChannelShift):
    """What is measured is `factor` times what it was; 0 is a dead sensor, a negative one has its sign the wrong way round.

    Args:
        factor: of what is measured.
        channels: names or stems of channels; empty for all.
        schedule: when. Strength scales factor - 1.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "sensor_scale"

    factor: Magnitude = magnitude(1.2, "factor")

    @property
    def label(self) -> str:
        return f"sensor scale x{self.text('factor')}{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self.chosen(world) * (self.factor - 1)

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        return measured * (1 + strength[:, None] * memory)
