"""Sensor bias and drift: measurements that are off by a constant, or by more and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..shift import Magnitude, World, magnitude, require
from .channels import ChannelShift

DISTRIBUTIONS = ("uniform", "sign", "fixed")


@dataclass(frozen=True, kw_only=True)
class _Offset(ChannelShift):
    """What bias and drift share: the field `distribution`, how an episode gets a value for each channel from a size."""

    distribution: str = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = f"one of {', '.join(DISTRIBUTIONS)}"
        require(self.distribution in DISTRIBUTIONS, self, "distribution", self.distribution, valid)

    def _values(self, rng: np.random.Generator, world: World, size: float) -> np.ndarray:
        """[C] of one episode; 0 for channels that are not meant."""
        chosen = self.chosen(world)
        if self.distribution == "uniform":
            return chosen * rng.uniform(-size, size, len(chosen)) if size >= 0 else -self._values(rng, world, -size)
        if self.distribution == "sign":
            return chosen * size * rng.choice([-1.0, 1.0])
        return chosen * size


@dataclass(frozen=True, kw_only=True)
class SensorBias(_Offset):
    """A constant error of what is measured, in the channel's own unit (of attitude: of the rotation matrix's entries).

    Args:
        size: of the error, unit of the channel.
        distribution: "uniform", each episode and channel draws its own from [-size, size]; "sign", an episode draws one
            sign for all; "fixed", it is `size`.
        channels: names or stems of channels; empty for all.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "sensor_bias"

    size: Magnitude = magnitude(0.1, "unit of the channel")

    @property
    def label(self) -> str:
        return f"sensor bias {self.text('size')}{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return self._values(rng, world, self.size)

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        return measured + strength[:, None] * memory


@dataclass(frozen=True, kw_only=True)
class SensorDrift(_Offset):
    """An error of what is measured that grows steadily from the onset on: rate x the time that it has been on.

    A strength below 1 makes it grow more slowly; once it is off, the error is gone and the next onset begins at 0.

    Args:
        rate: of the error, unit of the channel per second.
        distribution: as `SensorBias.distribution`.
        channels: names or stems of channels; empty for all.
        schedule: when.

    Raises:
        ValueError: a field is out of range, or there is no such channel.
    """

    name: ClassVar[str] = "sensor_drift"

    rate: Magnitude = magnitude(0.05, "unit of the channel per s")

    @property
    def label(self) -> str:
        return f"sensor drift {self.text('rate')}/s{self.where}"

    def draw(self, rng: np.random.Generator, world: World) -> np.ndarray:
        return np.concatenate([np.zeros(2), self._values(rng, world, self.rate)])

    def measure(
        self, memory: np.ndarray, strength: np.ndarray, normals: np.ndarray, time: np.ndarray, measured: np.ndarray
    ) -> np.ndarray:
        before, grown, rate = memory[:, 0], memory[:, 1], memory[:, 2:]
        memory[:, 1] = np.where(strength > 0, grown + strength * (time - before), 0.0)
        memory[:, 0] = time
        return measured + memory[:, 1, None] * rate
