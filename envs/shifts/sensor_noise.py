"""Sensor noise: measurements that are less exact than they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..shift import Magnitude, World, magnitude, require
from .channels import ChannelShift


@dataclass(frozen=True, kw_only=True)
class SensorNoise(ChannelShift):
    """White Gaussian noise on what is measured: the sensors' own, of deviation s, becomes one of ((factor s)² + std²)^½.

    What is added is independent of the sensors' own, with the variance that is lacking; variances of several shifts add.

    Args:
        factor: of the sensors' own noise, at least 1.
        std: deviation of noise beside that, unit of the channel.
        channels: names or stems of channels; empty for all.
        schedule: when. Strength scales factor - 1, and std.

    Raises:
        ValueError: a field is out of range; there is no such channel; or there is a factor alone, where the sensors have no
            noise of their own.
    """

    name: ClassVar[str] = "sensor_noise"

    factor: Magnitude = magnitude(3.0, "factor", least=1.0)
    std: Magnitude = magnitude(0.0, "unit of the channel", least=0.0)

    @property
    def label(self) -> str:
        more = "" if self.std == 0 else f" + {self.text('std')}"
        return f"sensor noise x{self.text('factor')}{more}{self.where}"

    def check(self, world: World) -> None:
        super().check(world)
        has_own = bool((self.chosen(world) * world.measured_noise).any())
        valid = "above 0: these sensors have no noise of their own that a factor could scale"
        require(has_own or self.std != 0, self, "std", self.std, valid)

    def width(self, world: World) -> int:
        return len(world.measured_names)

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        chosen = self.chosen(world)
        return np.concatenate([[self.factor - 1], chosen * world.measured_noise, chosen * self.std])

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        factor = 1 + strength * memory[:, 0]
        own, more = np.split(memory[:, 1:], 2, axis=1)
        variance = (factor**2 - 1)[:, None] * own**2 + (strength[:, None] * more) ** 2
        return measured + np.sqrt(variance) * normals
