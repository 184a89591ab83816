"""Sensors of a flying body: position, velocity, attitude, body rates and specific force, with noise, bias and rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..shift import require

State = dict[str, np.ndarray]
"""Arrays with one row per simulation. A new episode replaces its rows: state[key][ids] = fresh[key]."""

CHANNELS = {"position": 3, "velocity": 3, "attitude": 9, "body_rates": 3, "specific_force": 3}
"""Channels of each sensor, in the order in which they lie side by side."""

AXES = ("x", "y", "z")
NAMES = {
    "position": ("position", AXES),
    "velocity": ("velocity", AXES),
    "attitude": ("rotation", tuple(a + b for a in AXES for b in AXES)),
    "body_rates": ("body_rate", AXES),
    "specific_force": ("specific_force", AXES),
}
"""What the channels of each sensor are called, its stem and its parts: "body_rate_x"."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One sensor: measured = truth + bias + white noise, sampled at a rate and held in between.

    The bias is drawn once per episode and then walks at random. Attitude is measured as a rotation matrix: its noise
    is added to every entry, its bias is a rotation vector in the body frame, R exp([bias]x).

    Args:
        noise: standard deviation of one sample, per channel, in the sensor's unit.
        bias: standard deviation of the constant bias, per axis, in the sensor's unit (attitude: rad).
        bias_walk: random walk of the bias: its standard deviation grows as bias_walk sqrt(t), unit / sqrt(s).
        rate_hz: samples per second, the first at the episode's start, each taken at the first control step at or
            after its time; None samples at every control step.

    Raises:
        ValueError: a field is negative or not finite.
    """

    noise: float = 0.0
    bias: float = 0.0
    bias_walk: float = 0.0
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        for name in ("noise", "bias", "bias_walk"):
            value = getattr(self, name)
            require(bool(np.isfinite(value)) and value >= 0, self, name, value, "finite and at least 0")
        valid = self.rate_hz is None or (bool(np.isfinite(self.rate_hz)) and self.rate_hz > 0)
        require(valid, self, "rate_hz", self.rate_hz, "in Hz, above 0, or None for every control step")

    @staticmethod
    def from_density(density: float, rate_hz: float, bias: float = 0.0, bias_walk: float = 0.0) -> Sensor:
        """A sensor from its data sheet: noise density in unit / sqrt(Hz) is a deviation of density sqrt(rate_hz)."""
        return Sensor(noise=density * float(np.sqrt(rate_hz)), bias=bias, bias_walk=bias_walk, rate_hz=rate_hz)


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """What a vehicle measures itself with. The default is white noise, sampled at every control step.

    Rows are independent: a row of a batch equals a single run to the bit.

    Args:
        position: m, world frame.
        velocity: m/s, world frame.
        attitude: entries of the rotation matrix from body to world.
        body_rates: gyroscope, rad/s, body frame.
        specific_force: accelerometer, m/s², body frame: acceleration less gravity. None: the vehicle has none.
    """

    position: Sensor = Sensor(noise=0.01)
    velocity: Sensor = Sensor(noise=0.03)
    attitude: Sensor = Sensor(noise=0.01)
    body_rates: Sensor = Sensor(noise=0.05)
    specific_force: Sensor | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which `from_dict` builds equal sensors."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Sensors:
        """The sensors that `to_dict` described; what is left out, sensor or field, keeps its default.

        Raises:
            ValueError: an unknown sensor or field; the message lists the valid ones.
        """
        if unknown := sorted(set(values) - set(CHANNELS)):
            raise ValueError(f"there is no sensor {unknown[0]!r}; the sensors are: {', '.join(CHANNELS)}.")
        default, known = Sensors(), sorted(f.name for f in fields(Sensor))
        chosen: dict[str, Any] = {}
        for name, own in values.items():
            if unknown := sorted(set(own or {}) - set(known)):
                raise ValueError(f"sensor {name!r} has no field {unknown[0]!r}; its fields are: {', '.join(known)}.")
            chosen[name] = None if own is None else replace(getattr(default, name) or Sensor(), **own)
        return replace(default, **chosen)

    def __post_init__(self) -> None:
        for name in ("position", "velocity", "attitude", "body_rates"):
            require(getattr(self, name) is not None, self, name, None, "a sensor: every task shows it")

    def scaled(self, factor: float) -> Sensors:
        """The same sensors with noise, bias and bias walk times `factor`; 0 is perfect sensors, rates kept."""

        def scale(sensor: Sensor | None) -> Sensor | None:
            return sensor and replace(
                sensor, noise=factor * sensor.noise, bias=factor * sensor.bias, bias_walk=factor * sensor.bias_walk
            )

        return Sensors(**{name: scale(getattr(self, name)) for name in CHANNELS})  # type: ignore[arg-type]

    @property
    def channels(self) -> int:
        """Channels of the truth and of the error: 18, or 21 with an accelerometer."""
        return len(self._noise)

    @property
    def measured(self) -> dict[str, float]:
        """The channels by name, each with the standard deviation of its white noise."""
        names = [f"{stem}_{part}" for name in self._present for stem, parts in [NAMES[name]] for part in parts]
        return dict(zip(names, self._noise.tolist(), strict=True))

    @property
    def draws(self) -> int:
        """Standard normal numbers that one observation of one simulation takes."""
        return self.channels + (len(self._walk) if self._walk.any() else 0)

    def start(self, n: int, rngs: Sequence[np.random.Generator]) -> State:
        """The state of `n` simulations at the start of an episode; each stream draws where there is a bias to draw."""
        bias = np.zeros((n, len(self._bias)))
        if self._bias.any():
            bias[:] = [self._bias * rng.standard_normal(len(self._bias)) for rng in rngs]
        never = np.full((n, len(self._present)), -1.0)
        return {"bias": bias, "sampled_at": never, "held": np.zeros((n, self.channels))}

    def error(
        self, state: State, ids: np.ndarray, normals: np.ndarray, time: np.ndarray, truth: np.ndarray
    ) -> np.ndarray:
        """Measured less true, to add to what is observed; call it once per observation.

        Args:
            state: what `start` gave, advanced in place.
            ids: the simulations, [n].
            normals: standard normal numbers, [n, draws].
            time: s since the start of the episode, [n].
            truth: position, velocity, rotation matrix (row-major), body rates, then specific force if it is
                measured, [n, channels].

        Returns:
            [n, channels].
        """
        noise = normals[:, : self.channels] * self._noise
        if self._memoryless:
            return noise
        now, before = time[:, None], state["sampled_at"][ids]
        # A control step in floating point may come a rounding before the sample's time.
        due = (self._rate == 0) | (np.floor(now * self._rate + 1e-6) > np.floor(before * self._rate + 1e-6))
        if self._walk.any():
            elapsed = np.where(due & (before >= 0), now - before, 0.0)
            state["bias"][ids] += self._walk * np.repeat(np.sqrt(elapsed), 3, axis=1) * normals[:, self.channels :]
        measured = _biased(truth, state["bias"][ids]) + noise
        state["held"][ids] = np.where(np.repeat(due, self._widths, axis=1), measured, state["held"][ids])
        state["sampled_at"][ids] = np.where(due, now, before)
        return state["held"][ids] - truth

    @cached_property
    def _memoryless(self) -> bool:
        return not (self._bias.any() or self._walk.any() or self._rate.any())

    @cached_property
    def _present(self) -> dict[str, Sensor]:
        return {name: getattr(self, name) for name in CHANNELS if getattr(self, name) is not None}

    @cached_property
    def _widths(self) -> list[int]:
        return [CHANNELS[name] for name in self._present]

    @cached_property
    def _noise(self) -> np.ndarray:
        return np.repeat([sensor.noise for sensor in self._present.values()], self._widths)

    @cached_property
    def _bias(self) -> np.ndarray:
        return np.repeat([sensor.bias for sensor in self._present.values()], 3)

    @cached_property
    def _walk(self) -> np.ndarray:
        return np.repeat([sensor.bias_walk for sensor in self._present.values()], 3)

    @cached_property
    def _rate(self) -> np.ndarray:
        return np.array([sensor.rate_hz or 0.0 for sensor in self._present.values()])


def _biased(truth: np.ndarray, bias: np.ndarray) -> np.ndarray:
    turned = truth[:, 6:15].reshape(-1, 3, 3) @ _rotation(bias[:, 6:9])
    return np.concatenate([truth[:, :6] + bias[:, :6], turned.reshape(-1, 9), truth[:, 15:] + bias[:, 9:]], axis=1)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """exp([v]x), [n, 3, 3], of rotation vectors v [n, 3] in rad (Rodrigues)."""
    angle = np.sqrt((vector**2).sum(1))[:, None, None]
    x, y, z = vector.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    # np.sinc(a) is sin(pi a) / (pi a), so that no angle divides by zero.
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)
